package upstream

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/plan"
)

// A wire is a client that only counts. Its owner hears of things from goroutines of
// their own, as from a codec.
type wire struct {
	name  string
	owner httpmsg.ClientOwner

	mu      sync.Mutex
	streams int // at once
	open    int
	drained bool
	closed  bool
	ending  func() // called by Close; nil: nobody
	doubt   bool   // the next exchange that is released leaves the connection unusable
	total   int
}

func (w *wire) Open() httpmsg.Exchange {
	if w.Room() == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
	w.total++
	return &trade{of: w}
}

func (w *wire) Room() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drained || w.closed {
		return 0
	}
	return max(w.streams-w.open, 0)
}

func (w *wire) Protocol() httpmsg.Protocol { return 0 }

func (w *wire) Bytes() (received, sent uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return uint64(1000 * w.total), uint64(10 * w.total)
}

func (w *wire) Drain() {
	w.mu.Lock()
	w.drained = true
	w.mu.Unlock()
}

func (w *wire) Close(why *httpmsg.ResetError) {
	if w.ending != nil {
		w.ending()
	}
	w.end(why)
}

// end closes the connection for a reason; nil: the server did, in order.
func (w *wire) end(why *httpmsg.ResetError) {
	w.mu.Lock()
	was := w.closed
	w.closed = true
	w.mu.Unlock()
	if !was {
		go w.owner.Closed(why)
	}
}

// allow changes how many exchanges there may be at once.
func (w *wire) allow(n int) {
	w.mu.Lock()
	w.streams = n
	w.mu.Unlock()
	w.owner.Changed()
}

func (w *wire) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// requests is how many there have been.
func (w *wire) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// goAway is a server that wants no more exchanges.
func (w *wire) goAway() {
	w.Drain()
	w.owner.Draining()
}

// A trade is an exchange on a wire.
type trade struct {
	httpmsg.Exchange
	of    *wire
	calls []string // of Reset and OnReset
}

// Finished is false of what the connection took along.
func (x *trade) Finished() bool {
	x.of.mu.Lock()
	defer x.of.mu.Unlock()
	return !x.of.closed
}

func (x *trade) Reset(*httpmsg.ResetError)         { x.calls = append(x.calls, "Reset") }
func (x *trade) OnReset(func(*httpmsg.ResetError)) { x.calls = append(x.calls, "OnReset") }

func (x *trade) Release() {
	w := x.of
	w.mu.Lock()
	w.open--
	doubt := w.doubt
	w.drained = w.drained || doubt
	w.mu.Unlock()
	if doubt {
		w.owner.Draining()
		w.end(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		return
	}
	w.owner.Changed()
}

// A land is a network whose hosts speak through wires.
type land struct {
	t *testing.T

	mu      sync.Mutex
	wires   []*wire
	streams int           // of each connection
	takes   time.Duration // to connect
	fails   error         // what connecting fails with
	dials   []*inproc.Dial
	chosen  *filter.TLS // what ALPN chose, and the like; nil: there is no TLS
}

// A secured is a stream with TLS.
type secured struct {
	*stream
	tls *filter.TLS
}

func (s *secured) TLS() *filter.TLS { return s.tls }

func (l *land) Connect(d *inproc.Dial) (filter.Stream, error) {
	if l.takes > 0 {
		if d.Dialler != nil {
			d.Dialler.Blocks()
		}
		select {
		case <-time.After(l.takes):
		case <-d.Cancel:
			return nil, filter.ErrCanceled
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil {
		return nil, &inproc.RefusedError{Addr: d.Addr, Reason: l.fails}
	}
	l.dials = append(l.dials, d)
	return &secured{&stream{local: filter.InternalClient}, l.chosen}, nil
}

func (l *land) client(m *member, s filter.Stream) (httpmsg.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &wire{name: fmt.Sprint(len(l.wires)), owner: m, streams: max(l.streams, 1)}
	l.wires = append(l.wires, w)
	return w, nil
}

// last returns the newest connection.
func (l *land) last() *wire {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wires[len(l.wires)-1]
}

func (l *land) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.wires)
}

// serve returns a set whose connections lead to the land; it is closed with the test.
func (l *land) serve(plans ...*plan.Cluster) (*Set, counts) {
	s, c := run(l.t, Options{Network: l, client: l.client}, plans...)
	l.t.Cleanup(s.Close)
	return s, c
}

// http returns the plan of a cluster of one internal host.
func httpCluster() *plan.Cluster {
	p := cluster("c", internal("in", ""))
	p.HTTP.IdleTimeout = time.Hour
	return p
}

func http2Cluster() *plan.Cluster {
	p := httpCluster()
	p.HTTP.Version = plan.HTTP2Only
	return p
}

// A client is a request in a test.
type client struct {
	info   filter.Info
	cancel chan struct{}
	r      filter.StreamRequest
	waits  int

	s    filter.UpstreamStream
	err  error
	done chan struct{}
}

func newRequester() *client {
	c := &client{cancel: make(chan struct{}), done: make(chan struct{})}
	c.info.Start = time.Now()
	c.r = filter.StreamRequest{Info: &c.info, Waiting: func() <-chan struct{} {
		c.waits++
		return c.cancel
	}}
	return c
}

// ask opens a stream in a goroutine of its own.
func (c *client) ask(s *Set) *client {
	x, _ := s.Cluster("c")
	go func() {
		c.s, c.err = x.(*Cluster).Open(&c.r)
		close(c.done)
	}()
	return c
}

// has reports whether the stream was opened.
func (c *client) has() bool {
	select {
	case <-c.done:
		return c.err == nil
	default:
		return false
	}
}

// on returns the connection of the stream.
func (c *client) on(t *testing.T) *wire {
	t.Helper()
	<-c.done
	if c.err != nil {
		t.Fatal(c.err)
	}
	return c.s.(*exchange).Exchange.(*trade).of
}

func (c *client) fails(t *testing.T, want error) {
	t.Helper()
	if <-c.done; !errors.Is(c.err, want) {
		t.Errorf("%v, want %v", c.err, want)
	}
	if c.s != nil {
		t.Error("a stream and an error")
	}
}
