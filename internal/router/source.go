package router

import (
	"io"
	"math"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// A source is the body of a request as a try sends it.
type source struct {
	try  *try
	in   httpmsg.Body
	sent time.Duration // when all was sent; guarded by call.mu until the sender is done
}

// Next implements httpmsg.Body. A panic of a filter that has wrapped the body ends this
// stream alone.
func (b *source) Next() (p []byte, err error) {
	x := b.try.call
	defer func() {
		if v := recover(); v != nil {
			x.router.panicked(v)
			p, err = nil, &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: "filter_panic"}
		}
	}()
	p, err = b.in.Next()
	if x.limits.tryIdle > 0 {
		b.try.moved.Store(int64(x.now()))
	}
	if err == io.EOF {
		x.complete()
	}
	return p, err
}

// Ready implements httpmsg.Body.
func (b *source) Ready() bool { return b.in.Ready() }

// Trailer implements httpmsg.Body.
func (b *source) Trailer() httpmsg.Header { return b.in.Trailer() }

// keep has the body of the request kept where it may be needed again.
func (x *call) keep() {
	s := x.stream
	if s.Request.Body == nil || x.answer.tunnel || x.retry == nil && x.action.Redirect == nil && !x.hedged {
		return
	}
	x.replay = newReplay(s.Request.Body, x.room(), x.spill)
}

// room is how much of a request may be kept; 0: all of it.
func (x *call) room() int {
	limit := 0
	if l := x.stream.Info.Listener; l != nil {
		limit = l.BufferBytes
	}
	if r := x.route; r.HasBuffer && (!r.Capped || limit == 0 || r.BufferBytes < uint64(limit)) {
		limit = max(int(min(r.BufferBytes, math.MaxInt32)), 1)
	}
	return limit
}
