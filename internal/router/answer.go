package router

import (
	"io"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// An answer is what the client gets of a call. It is the body of the response, too.
type answer struct {
	call *call
	try  *try         // whose response it is; nil: none is passed on
	body httpmsg.Body // nil when it has ended

	tunnel bool // the bytes behind the heads are a tunnel's
	open   bool // the tunnel has been accepted
	begun  bool // the client has got something; guarded by call.mu
	whole  bool // the response has ended in order; guarded by call.mu
	canary bool
	head   *httpmsg.Response
	// trailer outlives the exchange, for the access log is written after that.
	trailer httpmsg.Header
	failed  failure // why it broke off
}

// Next implements httpmsg.Body.
func (a *answer) Next() ([]byte, error) {
	if a.body == nil {
		return nil, io.EOF
	}
	s := a.call.stream
	a.waits(true)
	s.Wait()
	p, err := a.body.Next()
	s.Resume()
	a.waits(false)
	if u, ok := a.try.up.(*tunnel); ok {
		u.note()
	}
	switch err {
	case nil:
		if http := a.call.stream.Info.HTTP(); http.UpstreamFirstBody == 0 {
			http.UpstreamFirstBody = a.call.now()
		}
		return p, nil
	case io.EOF:
		a.ended(p)
		return p, io.EOF
	}
	return nil, a.cut(err)
}

// waits tells the per-try idle timeout whether more is wanted of the host: a client that
// is slow is not idleness of the host.
func (a *answer) waits(yes bool) {
	if a.call.limits.tryIdle == 0 {
		return
	}
	at := unasked
	if yes {
		at = a.call.now()
	}
	a.try.moved.Store(int64(at))
}

// Ready implements httpmsg.Body.
func (a *answer) Ready() bool { return a.body == nil || a.body.Ready() }

// Trailer implements httpmsg.Body.
func (a *answer) Trailer() httpmsg.Header { return a.trailer }

// ended notes that the response is whole. last is its last piece, still in use.
func (a *answer) ended(last []byte) {
	x := a.call
	http, now := x.stream.Info.HTTP(), x.now()
	http.UpstreamLastByte = now
	if len(last) > 0 && http.UpstreamFirstBody == 0 {
		http.UpstreamFirstBody = now
	}
	if a.body != nil {
		if t := a.body.Trailer(); len(t) > 0 {
			a.trailer = t.Clone()
		}
		a.body = nil
	}
	x.mu.Lock()
	a.whole = true
	asked := x.asked
	x.due[routeClock], x.due[streamClock], x.due[idleClock] = 0, 0, 0
	idle := a.try.holders == 1
	x.mu.Unlock()
	if asked != 0 {
		x.time(now-asked+1, a.try.up.Host())
	}
	if idle && len(last) == 0 && len(x.router.logs) == 0 {
		x.over(a.try)
		x.settle(a.try)
		a.try.drop()
		a.try = nil
	}
}

// cut notes why the response ends before its end, and returns what the client's stream
// ends with.
func (a *answer) cut(err error) error {
	x := a.call
	f := a.try.judge(err, resetFailure)
	if f.kind == clientGone {
		return x.goneWhy()
	}
	x.chargeTry(f)
	x.charge(f)
	a.failed = f
	i := x.stream.Info
	i.Raise(f.flags())
	i.More().Details = f.details(true)
	if f.kind != wasReset {
		return &httpmsg.ResetError{Reason: httpmsg.LocalReset, Err: err}
	}
	return a.passOn(f, err)
}

// passOn is what a reset of the host is to the client.
func (a *answer) passOn(f failure, err error) error {
	reason := httpmsg.LocalReset
	if a.call.ends || a.call.stream.Request.Connect() {
		reason = httpmsg.ConnectError
	}
	return &httpmsg.ResetError{Reason: reason, Err: err}
}

// end is the last thing of a call: the response has been sent, or will not be.
func (x *call) end() {
	stop := x.linger()
	if x.tee != nil {
		x.tee.end()
	}
	for _, m := range x.mirrors {
		m.orphan()
	}
	x.stream.Wait()
	x.senders.Wait()
	x.stream.Resume()
	stop()
	x.stream.OnReset(nil)
	if x.retry != nil && x.retry.done != nil {
		x.retry.done()
	}
	if t := x.answer.try; t != nil {
		x.over(t)
		x.settle(t)
		x.log(t, x.answer.failed, x.answer.head, filter.UpstreamEnd)
		t.drop()
	}
	x.free()
}

// settle notes what came of the try that was passed on.
func (x *call) settle(t *try) { x.measure(t, x.stream.Info.HTTP()) }

// measure adds what t has sent and received to what is known of the request.
func (x *call) measure(t *try, http *filter.HTTPInfo) {
	http.UpWire.Add(t.up.Wire())
	if u, ok := t.up.(*tunnel); ok {
		u.note()
	}
	if t.body == nil { // nobody sends any
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if t.source.sent != 0 {
		http.UpstreamLastSent = t.source.sent
	}
}

// linger lets the request come to its end, or ends it, once the response is over. stop
// is called when that is so.
func (x *call) linger() (stop func()) {
	stop = func() {}
	t := x.answer.try
	if t == nil || x.answer.whole && t.body == nil {
		return stop
	}
	x.mu.Lock()
	whole, open, sending, asked := x.answer.whole, x.answer.open, t.sending, x.asked != 0
	switch {
	case !whole:
		t.strike(clientGone)
	case !sending || open:
	case !asked:
		t.strike(superseded)
	default:
		// The last bytes are on their way, or the host does not take them any more.
		now := x.now()
		x.arm(lingerClock, now, now+lingering)
	}
	x.mu.Unlock()
	if whole && sending {
		// The host has ended first: the client's bytes are wanted still, until the host is
		// gone altogether.
		return t.onGone(open, func() {
			x.mu.Lock()
			t.strike(superseded)
			x.mu.Unlock()
			x.stream.StopRequest(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		})
	}
	return stop
}

// onGone has f called, once, when the host of a tunnel takes nothing any more, which is
// open if it goes on as one; when stop has returned it is not running.
func (t *try) onGone(open bool, f func()) (stop func()) {
	switch u := t.up.(type) {
	case *tunnel:
		return u.onGone(f)
	case httpmsg.Watched:
		if open {
			u.OnReset(func(*httpmsg.ResetError) { f() })
			return func() { u.OnReset(nil) }
		}
	}
	return func() {}
}

// lingering is how long a host that has answered may take to read the rest of a request.
const lingering = time.Second
