package upstream

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/lb"
)

// Connect implements filter.Cluster. Its errors are those of package filter.
// Subset criteria are ignored, as in Envoy for a cluster without subsets.
func (c *Cluster) Connect(r *filter.ConnectRequest) error {
	r.Info.Up.ClusterInfo = &c.info
	if c.stats.breakers[0].full() {
		c.stats.overflow.Add(1)
		return filter.ErrOverflow
	}
	h := c.pick(r)
	if h == nil {
		c.stats.noneHealthy.Add(1)
		return filter.ErrNoHost
	}
	a := attempts.Get().(*attempt)
	*a = attempt{cluster: c, host: h, r: r, shared: r.Info.State.Shared()}
	a.note()
	if err := a.reserve(); err != nil {
		return err
	}
	stream, to, err := a.dialAll()
	switch {
	case err != nil:
		return a.failed(err, to)
	case stream != nil:
		a.connected(stream, to)
		if a.dial == nil {
			a.free()
		}
	case a.dial == &a.own:
		// It was handed over: Accepted has done the rest, and the request may be
		// over. Only now is it certain that nobody holds the dial any more, unless
		// an address before this one refused it.
		a.free()
	}
	return nil
}

func (a *attempt) free() {
	*a = attempt{}
	attempts.Put(a)
}

// attempts saves each connection, and each hop of a handed-over one, the making of
// one. Who dialled a pipe does without: its server may still look at the dial.
var attempts = sync.Pool{New: func() any { return new(attempt) }}

func (c *Cluster) pick(r *filter.ConnectRequest) *host {
	h, panics := c.balancer.Pick(lb.Request{Random: rand.Uint64(), Hash: r.Hash})
	if panics {
		c.stats.panics.Add(1)
	}
	return c.byHost[h]
}

// An attempt is one Connect that has a host.
type attempt struct {
	cluster *Cluster
	host    *host
	r       *filter.ConnectRequest // not to be touched after a hand-over

	begun    time.Duration // in the set's time
	deadline time.Time     // of the attempt; zero: none
	expires  bool          // the deadline is the asker's
	waited   bool
	cancel   <-chan struct{}
	shared   []filter.Entry // the filter state that goes with the connection

	dial *inproc.Dial // in use
	own  inproc.Dial  // the first one
	to   net.Addr     // what dial leads to
}

// note writes down that the host is tried.
func (a *attempt) note() {
	up, h := &a.r.Info.Up, &a.host.Host
	a.r.Info.UpAttempts++
	if tried := a.r.Info.Rest().UpTried; tried != nil || up.Host != nil {
		if tried == nil {
			tried = []*filter.Host{up.Host}
		}
		a.r.Info.More().UpTried = append(tried, h)
	}
	up.Host, up.Local, up.Remote, up.ID = h, nil, nil, 0
	a.begun = a.cluster.set.now()
	up.Begun = a.begun - a.r.Info.Start.Sub(a.cluster.set.epoch)
}

// disown logs the host as tried, but not as the upstream host (Envoy, when nothing
// came back from it).
func (a *attempt) disown() {
	if x := a.r.Info.More(); x.UpTried == nil {
		x.UpTried = []*filter.Host{&a.host.Host}
	}
	a.r.Info.Up.Host = nil
}

// reserve takes what the attempt needs of the circuit breakers.
func (a *attempt) reserve() error {
	s := a.cluster.stats
	b := s.breakers[0]
	if err := b.queue(); err != nil {
		s.pendingOverflow.Add(1)
		a.disown()
		a.r.Info.More().UpFailure = ""
		return err
	}
	s.pendingTotal.Add(1)
	a.pending(1)
	if err := a.awaitSlot(); err != nil {
		a.pending(-1)
		s.canceled.Add(1)
		b.unqueue(false)
		a.disown()
		return err
	}
	if err := b.begin(); err != nil {
		s.overflow.Add(1)
		a.pending(-1)
		b.unqueue(false)
		a.host.slots.release()
		return err
	}
	s.opened(a.host)
	return nil
}

// pending moves the numbers of requests that wait for a connection.
func (a *attempt) pending(by int64) {
	a.cluster.stats.pendingActive.Add(by)
	a.host.requests.pending.Add(uint64(by))
}

// awaitSlot waits until the host may have another connection.
func (a *attempt) awaitSlot() error {
	if a.host.slots.take() {
		return nil
	}
	a.cluster.stats.overflow.Add(1) // Envoy counts it, and lets the request wait
	err := a.host.slots.await(a.waiting(), a.r.Hop.Deadline())
	a.begun = a.cluster.set.now()
	return err
}

// limit sets the time that the attempt has: the cluster's or the asker's, whichever
// ends first. What is handed over takes none.
func (a *attempt) limit() {
	a.deadline, a.expires = a.r.Hop.Deadline(), true
	if d := a.cluster.plan.ConnectTimeout; d > 0 {
		if own := a.cluster.set.epoch.Add(a.begun + d); a.deadline.IsZero() || own.Before(a.deadline) {
			a.deadline, a.expires = own, false
		}
	}
}

// waiting tells the hop that the attempt is about to block, once.
func (a *attempt) waiting() <-chan struct{} {
	if !a.waited {
		a.waited = true
		a.cancel = a.r.Hop.Waiting()
	}
	return a.cancel
}

// Accepted is called by the in-process network. With a pipe there is nothing to do
// yet: its end comes back from the dial.
func (a *attempt) Accepted() {
	if a.dial.Outer != nil {
		a.connected(nil, a.to)
	}
}

// Blocks is called by the in-process network before it waits.
func (a *attempt) Blocks() {
	a.limit()
	a.dial.Deadline = a.deadline
	a.r.Hop.Blocks()
}

// connected settles the attempt and gives the connection to the hop. stream is nil
// when it was handed over.
func (a *attempt) connected(stream filter.Stream, to net.Addr) {
	c, h, r := a.cluster, a.host, a.r
	s, now := c.stats, c.set.now()
	s.connectMillis.Record(uint64((now - a.begun).Milliseconds()))
	a.pending(-1)
	s.requests.Add(1)
	s.requestsActive.Add(1)
	s.breakers[0].connected()
	h.requests.total.Add(1)
	h.requests.active.Add(1)

	up := &r.Info.Up
	if up.Remote = to; stream == nil || r.Info.Shown {
		up.Local = localAddr(stream)
	}
	up.ID = c.set.ids.Add(1)
	up.Ready = up.Begun + now - a.begun
	if a.shared != nil {
		r.Info.More().UpState = a.shared
	}
	r.Hop.Connected(&conn{stream: stream, host: h, begun: a.begun})
}

// localAddr is this side's address; nil for an unnamed Unix socket, which Envoy
// prints as -.
func localAddr(s filter.Stream) net.Addr {
	if s == nil {
		return filter.InternalClient
	}
	l := s.LocalAddr()
	if u, ok := l.(filter.UnixAddr); ok && (u.Path == "" || u.Path == "@") {
		return nil
	}
	return l
}

// failed settles the attempt; to is the address tried last.
func (a *attempt) failed(err error, to net.Addr) error {
	o := judge(err, to, a.cluster.socket.Source, a.expires)
	s, h := a.cluster.stats, a.host
	a.pending(-1)
	s.breakers[0].unqueue(true)
	s.ended(h, o.local, a.cluster.set.now()-a.begun)
	if o.canceled {
		s.canceled.Add(1)
		a.disown()
		return o.err
	}
	s.connectFail.Add(1)
	h.ConnectFail.Add(1)
	s.ejected.Add(1)
	if o.timeout {
		s.connectTimeout.Add(1)
	}
	if o.bind {
		s.bind.Add(1)
	}
	if o.reason != "" || a.r.Info.Extra != nil {
		a.r.Info.More().UpFailure = o.reason
	}
	return o.err
}
