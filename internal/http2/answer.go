package http2

import (
	"sync"

	"github.com/ginnel/ginnel/httpmsg"
)

// An answer is a stream of a server: it implements httpmsg.Responder.
type answer struct {
	stream
	req         httpmsg.Request
	upgrade     bool
	refusedWith int // the status for a request that was not accepted; 0: it was
	refusedFor  *httpmsg.ResetError
}

var (
	_ httpmsg.Responder = (*answer)(nil)
	_ httpmsg.Body      = (*answer)(nil)
)

var answers = sync.Pool{New: func() any { return new(answer) }}

func newAnswer(v *Server) *answer {
	a := answers.Get().(*answer)
	a.stream.init(&v.conn)
	a.stream.answer = a
	return a
}

func putAnswer(a *answer) {
	lines, trailer := a.lines, a.trailer
	*a = answer{}
	a.lines, a.trailer = lines, trailer
	answers.Put(a)
}

// WriteResponse implements httpmsg.Responder.
func (a *answer) WriteResponse(r *httpmsg.Response, end bool) error {
	if !plainValues(r.Header) {
		return a.refuse()
	}
	c := a.c
	status := r.Status
	if status == 101 && a.upgrade {
		status = 200
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if why := a.awaitQueue(); why != nil {
		return why
	}
	start := c.beginHead()
	c.encodeResponse(status, r.Header)
	a.endHead(start, end)
	return nil
}

// StopRequest implements httpmsg.Responder.
func (a *answer) StopRequest(why *httpmsg.ResetError) {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if a.stopped != nil || a.received && a.pieces.first == nil {
		return
	}
	a.stopped = why
	a.dropPieces()
	a.readable.Broadcast()
}

// Wire implements httpmsg.Metered.
func (s *stream) Wire() httpmsg.Wire {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.wire
}
