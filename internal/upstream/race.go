package upstream

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A race connects to one of several addresses (happy eyeballs): each begins when the
// one before it failed, or has not answered for a while; the first to connect wins.
// Only the goroutine that dials touches the race and the dialling.
type race struct {
	dialling *dialling
	events   chan event
	stop     chan struct{} // closed: the runners end
	wg       sync.WaitGroup
	next     *time.Timer

	begun   int // addresses so far
	running int // runners that have not ended
	done    bool
	result  event // of the address that connected, or failed last
}

// An event is news from a runner: it waits for the network, or it has ended.
type event struct {
	waits  bool
	to     net.Addr
	stream filter.Stream
	err    error
}

func newRace(a *dialling) *race {
	a.limit()
	return &race{
		dialling: a, events: make(chan event), stop: make(chan struct{}),
		next: time.NewTimer(stagger),
	}
}

func (r *race) run() (filter.Stream, net.Addr, error) {
	defer r.finish()
	var cancel <-chan struct{}
	r.dialling.asker.Blocks() // for the runners, be they ever so fast
	for r.begin(); !r.done; {
		select {
		case e := <-r.events:
			if e.waits {
				cancel = r.dialling.waiting()
			} else {
				r.running--
				r.ended(e)
			}
		case <-r.next.C:
			r.begin()
		case <-cancel:
			r.ended(event{to: r.dialling.at.addr, err: filter.ErrCanceled})
		}
	}
	return r.result.stream, r.result.to, r.result.err
}

// begin tries the next address, if there is one: an internal one right here, for
// these do not wait, others in a runner of their own.
func (r *race) begin() {
	h, n := r.dialling.host, r.begun
	at := r.dialling.at
	if n > len(at.more) {
		return
	}
	r.begun++
	r.next.Reset(stagger)
	to := at.addr
	if n > 0 { // the first was counted with the attempt
		to = at.more[n-1]
		if !r.dialling.uncounted {
			r.dialling.host.cluster.stats.total.Add(1)
			h.Total.Add(1)
		}
	}
	if _, ok := to.(filter.InternalAddr); ok {
		s, err := r.dialling.dialOne(to)
		r.ended(event{to: to, stream: s, err: err})
		return
	}
	r.dialling.passing()
	r.running++
	r.wg.Go(func() { r.runner(to) })
}

// ended decides what the end of one address means for all.
func (r *race) ended(e event) {
	r.result = e
	switch {
	case e.err == nil, errors.Is(e.err, os.ErrDeadlineExceeded), errors.Is(e.err, filter.ErrCanceled):
		r.done = true
	case r.begun <= len(r.dialling.at.more):
		r.begin()
	default:
		r.done = r.running == 0
	}
}

func (r *race) runner(to net.Addr) {
	s, err := r.dialling.dialSocket(to, func() <-chan struct{} {
		r.tell(event{waits: true})
		return r.stop
	}, nil)
	if !r.tell(event{to: to, stream: s, err: err}) && err == nil {
		s.Close()
	}
}

// tell reports false when the race is over.
func (r *race) tell(e event) bool {
	select {
	case r.events <- e:
		return true
	case <-r.stop:
		return false
	}
}

// finish ends the runners and waits for them.
func (r *race) finish() {
	r.next.Stop()
	close(r.stop)
	r.wg.Wait()
}
