package hcm

import (
	"io"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// codec is a fake codec: the test hands it requests.
type codec struct {
	h        httpmsg.ServerHandler
	protocol httpmsg.Protocol
	requests chan exchange
	done     chan struct{}

	mu      sync.Mutex
	drained []time.Duration
	final   bool // drained
	over    bool
	closed  *httpmsg.ResetError
	streams sync.WaitGroup
	n       int
	bytes   uint64
}

type exchange struct {
	r      *httpmsg.Request
	w      *responder
	refuse int
	why    *httpmsg.ResetError
}

func (c *codec) Serve() error {
	defer c.streams.Wait()
	for {
		select {
		case x := <-c.requests:
			c.streams.Add(1)
			c.active(1)
			go c.answer(x)
		case <-c.done:
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.closed != nil {
				return c.closed
			}
			return nil
		}
	}
}

func (c *codec) answer(x exchange) {
	defer c.streams.Done()
	if x.refuse != 0 {
		c.h.Refuse(x.r, x.w, x.refuse, x.why)
	} else {
		c.h.Answer(x.r, x.w)
	}
	c.active(-1)
	close(x.w.answered)
}

func (c *codec) active(d int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += d
	c.bytes++
	c.h.Active(c.n)
	c.endFinal()
}

func (c *codec) Drain(grace time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drained = append(c.drained, grace)
	time.AfterFunc(grace, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.final = true
		c.endFinal()
	})
}

// endFinal ends a connection that is drained with its last request. It holds mu.
func (c *codec) endFinal() {
	if c.final && c.n == 0 && !c.over {
		c.over = true
		close(c.done)
	}
}

func (c *codec) drains() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drained
}

func (c *codec) Close(why *httpmsg.ResetError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.over, c.closed = true, why
		close(c.done)
	}
}

func (c *codec) Protocol() httpmsg.Protocol { return c.protocol }

func (c *codec) Bytes() (received, sent uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes, c.bytes
}

// responder is the client's side of one request.
type responder struct {
	answered chan struct{}
	stopped  chan struct{} // by StopRequest, or Reset
	reset    chan struct{}
	full     chan struct{} // data waits for it to be closed; nil: for nothing

	mu      sync.Mutex
	once    sync.Once
	heads   []httpmsg.Response
	body    []byte
	trailer httpmsg.Header
	ended   bool
	why     *httpmsg.ResetError // of Reset
	stopWhy *httpmsg.ResetError
	onReset func(*httpmsg.ResetError)
	fail    error // of writes
}

func newResponder() *responder {
	return &responder{answered: make(chan struct{}), stopped: make(chan struct{}), reset: make(chan struct{})}
}

func (w *responder) WriteResponse(r *httpmsg.Response, end bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := *r
	c.Header = r.Header.Clone()
	w.heads = append(w.heads, c)
	w.ended = w.ended || end
	return w.fail
}

func (w *responder) WriteData(p []byte, end bool) error {
	if w.full != nil { // the client takes nothing
		select {
		case <-w.full:
		case <-w.reset:
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.body = append(w.body, p...)
	w.ended = w.ended || end
	return w.fail
}

func (w *responder) WriteTrailer(h httpmsg.Header) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trailer, w.ended = h.Clone(), true
	return w.fail
}

func (w *responder) Flush() error { return nil }

func (w *responder) Reset(why *httpmsg.ResetError) {
	w.mu.Lock()
	if w.why == nil {
		w.why, w.fail = why, why
		close(w.reset)
	}
	w.mu.Unlock()
	w.StopRequest(why)
}

func (w *responder) StopRequest(why *httpmsg.ResetError) {
	w.once.Do(func() {
		w.stopWhy = why
		close(w.stopped)
	})
}

func (w *responder) OnReset(f func(*httpmsg.ResetError)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onReset = f
}

// goAway is what a client does that resets the request.
func (w *responder) goAway(why *httpmsg.ResetError) {
	w.mu.Lock()
	f := w.onReset
	w.fail = why
	w.mu.Unlock()
	w.StopRequest(why)
	if f != nil {
		f(why)
	}
}

// last is the head that counts.
func (w *responder) last(t testing.TB) httpmsg.Response {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.heads) == 0 {
		t.Fatal("no response was sent")
	}
	return w.heads[len(w.heads)-1]
}

// waiting is a request's body of which nothing comes.
type waiting struct{ w *responder }

func (b waiting) Next() ([]byte, error) {
	<-b.w.stopped
	return nil, b.w.stopWhy
}

func (waiting) Ready() bool             { return false }
func (waiting) Trailer() httpmsg.Header { return nil }

// pieces is a body that a test feeds; nil is its end.
type pieces chan []byte

func (p pieces) Next() ([]byte, error) {
	b := <-p
	if b == nil {
		return nil, io.EOF
	}
	return b, nil
}

func (pieces) Ready() bool             { return false }
func (pieces) Trailer() httpmsg.Header { return nil }
