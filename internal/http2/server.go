package http2

import (
	"sync"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// A Server is the server's side of a connection. It implements httpmsg.Server.
type Server struct {
	conn
	handler httpmsg.ServerHandler
	limit   time.Duration // of a request's head; 0: none
	workers sync.WaitGroup
	overdue uint32 // the stream that was answered before its head had come; the reader's

	// Guarded by mu.
	running  int // answers under way
	idle     []*worker
	retired  bool // no worker waits any more
	draining bool // GOAWAY was sent; streams are still taken
	final    bool // and no more of them
	grace    *time.Timer

	activeMu sync.Mutex // held while the handler is told
	active   int
}

var _ httpmsg.Server = (*Server)(nil)

// NewServer returns a server that answers what comes on nc, which it owns from Serve on.
// nil options are the defaults.
func NewServer(nc Conn, o *ServerOptions, h httpmsg.ServerHandler) *Server {
	if o == nil {
		o = &ServerOptions{}
	}
	v := &Server{handler: h, limit: o.RequestHeadersTimeout}
	v.init(nc, &o.Options, v, true)
	burst, rate := o.ResetBurst, o.ResetRate
	or(&burst, 1000)
	or(&rate, 33)
	allowed := float64(max(burst, 0))
	v.budget.limited, v.budget.resets, v.budget.burst, v.budget.rate = true, allowed, allowed, float64(max(rate, 0))
	return v
}

// Protocol implements httpmsg.Server.
func (v *Server) Protocol() httpmsg.Protocol { return httpmsg.HTTP2 }

// Serve implements httpmsg.Server. It returns when all answers have.
func (v *Server) Serve() error {
	v.greet()
	v.run(func(*httpmsg.ResetError) {})
	v.retire()
	v.workers.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.grace != nil {
		v.grace.Stop()
	}
	if v.why == nil {
		return nil
	}
	return v.why
}

// Close implements httpmsg.Server.
func (v *Server) Close(why *httpmsg.ResetError) {
	v.end(why, xhttp2.ErrCode(why.Code), "", why.Code != 0)
	v.interrupt()
}

// Drain implements httpmsg.Server.
func (v *Server) Drain(grace time.Duration) {
	v.mu.Lock()
	switch {
	case v.ended || v.final:
	case grace <= 0:
		v.mu.Unlock()
		v.lastCall()
		return
	case !v.draining:
		v.draining = true
		v.conn.goAway(maxStreamID, xhttp2.ErrCodeNo, "")
		v.grace = time.AfterFunc(grace, v.lastCall)
	}
	v.mu.Unlock()
}

// lastCall sends the final GOAWAY.
func (v *Server) lastCall() {
	v.mu.Lock()
	if v.ended || v.final {
		v.mu.Unlock()
		return
	}
	v.draining, v.final, v.goneAway = true, true, true
	v.conn.goAway(v.taken, xhttp2.ErrCodeNo, "")
	idle := v.running == 0
	v.mu.Unlock()
	if idle {
		v.over()
	}
}

// over ends a connection that has nothing left to do.
func (v *Server) over() {
	v.end(nil, xhttp2.ErrCodeNo, "", true)
	v.interrupt()
}

// target implements side.
func (v *Server) target(b *block) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if b.id == v.overdue {
		b.discard(nil)
		return nil
	}
	if s := v.streams[b.id]; s != nil {
		return b.continued(s)
	}
	if b.id&1 == 0 {
		return violation(xhttp2.ErrCodeProtocol, "client opens a stream of even number")
	}
	if b.id <= v.lastID {
		return v.strayHead(b)
	}
	v.lastID = b.id
	if v.final {
		v.closed.add(b.id, closedByUs)
		v.stray += int64(v.o.StreamWindow)
		b.discard(nil)
		return nil
	}
	v.taken = b.id
	most := int(min(v.o.MaxConcurrentStreams, 1<<30))
	if len(v.streams) >= most || v.running >= 2*most {
		b.discard(&streamError{id: b.id, code: xhttp2.ErrCodeRefusedStream, text: "too many streams"})
		return nil
	}
	a := newAnswer(v)
	a.id = b.id
	b.fill(requestHead, &a.stream, &a.lines)
	return nil
}

// continued is a head on a stream that is open: trailers.
func (b *block) continued(s *stream) error {
	switch {
	case s.received:
		b.discard(streamViolation(b.id, xhttp2.ErrCodeStreamClosed, "HEADERS behind the end of the stream"))
	case !b.end:
		b.discard(&streamError{
			id: b.id, code: xhttp2.ErrCodeProtocol, reason: httpmsg.ProtocolError,
			details: detailRule, text: "trailers that do not end the stream", counts: statMessaging,
		})
	default:
		b.fill(trailers, s, &b.own)
	}
	return nil
}

// strayHead is a head on a stream that is not open any more. It holds mu.
func (c *conn) strayHead(b *block) error {
	switch c.closed.how(b.id) {
	case closedByUs:
		b.discard(nil)
		return nil
	case closedUnknown:
		return violation(xhttp2.ErrCodeProtocol, "stream lower than one before")
	}
	return violation(xhttp2.ErrCodeStreamClosed, "HEADERS on a closed stream")
}

// head implements side.
func (v *Server) head(b *block) error {
	if b.kind == trailers {
		return v.trailerHead(b)
	}
	a := b.stream.answer
	b.checkRequest()
	b.request(&a.req)
	if err := b.refusal(); err != nil {
		v.refuse(a, b.wrong.status, err)
		return err
	}
	a.upgrade = a.req.Upgrade != ""
	v.mu.Lock()
	if v.ended {
		v.mu.Unlock()
		return nil
	}
	a.open(b.id)
	b.weigh(&a.wire)
	if !a.req.Connect() && !a.upgrade {
		a.length = b.content
	}
	a.received = b.end
	if !b.end {
		a.req.Body = a
	}
	v.mu.Unlock()
	v.start(a)
	return nil
}

// refuse has the handler hear of a request that was not accepted: it can log it.
func (v *Server) refuse(a *answer, status int, err error) {
	why := &httpmsg.ResetError{Reason: httpmsg.ProtocolError}
	switch e := err.(type) {
	case *streamError:
		why = e.why()
	case *connError:
		why = e.why()
	}
	a.over, a.watch.lost = why, why
	a.refusedWith, a.refusedFor = status, why
	v.start(a)
}

// begins implements side.
func (v *Server) begins(id uint32) {
	limit := v.limit
	if limit <= 0 || v.timed {
		return
	}
	v.mu.Lock()
	opens := v.streams[id] == nil && id > v.lastID
	v.mu.Unlock()
	if opens {
		v.timed = v.deadline(time.Now().Add(limit))
	}
}

// late implements side: the request is refused with what is known of it, and the rest of
// its head is dropped.
func (v *Server) late(h frameHeader) error {
	b := &v.block
	if !b.open {
		b.begin(h.stream, false)
		if err := v.target(b); err != nil {
			return err
		}
		if b.kind == discarded {
			return b.err
		}
	}
	if b.kind != requestHead {
		return nil
	}
	a := b.stream.answer
	b.request(&a.req)
	why := &httpmsg.ResetError{Reason: httpmsg.ProtocolError, Details: detailTimeout}
	a.refusedWith, a.refusedFor = 408, why
	v.mu.Lock()
	if v.ended {
		v.mu.Unlock()
		return nil
	}
	a.open(b.id)
	b.weigh(&a.wire)
	a.stopped = why
	v.mu.Unlock()
	v.overdue = b.id
	b.discard(nil)
	v.start(a)
	return nil
}

// A worker answers one request after the other: its stack has grown to what they take.
type worker struct {
	server *Server
	next   chan *answer // has room for one; closed when the connection is over
}

// maxIdle is how many workers of a connection wait for further requests. The collector
// shrinks their stacks meanwhile.
const maxIdle = 8

// start has a worker answer.
func (v *Server) start(a *answer) {
	var w *worker
	v.mu.Lock()
	v.running++
	if n := len(v.idle); n > 0 {
		w = v.idle[n-1]
		v.idle = v.idle[:n-1]
	}
	v.mu.Unlock()
	v.report(1)
	if w == nil {
		w = &worker{v, make(chan *answer, 1)}
		v.workers.Go(w.work)
	}
	w.next <- a
}

func (w *worker) work() {
	for a := range w.next {
		if !w.server.serve(a, w) {
			return
		}
	}
}

// retire lets the workers go that wait.
func (v *Server) retire() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.retired = true
	for _, w := range v.idle {
		close(w.next)
	}
	v.idle = nil
}

func (v *Server) report(n int) {
	v.activeMu.Lock()
	defer v.activeMu.Unlock()
	v.active += n
	v.handler.Active(v.active)
}

// serve answers, and reports whether w may wait for another request.
func (v *Server) serve(a *answer, w *worker) (waits bool) {
	if a.refusedWith != 0 {
		v.handler.Refuse(&a.req, a, a.refusedWith, a.refusedFor)
	} else {
		v.handler.Answer(&a.req, a)
	}
	v.mu.Lock()
	v.take(a)
	last := v.final && v.running == 0 && !v.ended
	if waits = !v.retired && len(v.idle) < maxIdle; waits {
		v.idle = append(v.idle, w)
	}
	v.mu.Unlock()
	putAnswer(a)
	if last {
		v.over()
	}
	v.report(-1)
	return waits
}

// take takes an answer back. It holds mu.
func (v *Server) take(a *answer) {
	if a.listed {
		code := xhttp2.ErrCodeInternal
		if a.sent {
			code = xhttp2.ErrCodeNo // the request does not matter any more
		}
		a.reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset}, code)
	}
	a.watch.takeBack()
	a.recycle()
	v.running--
}

// peerGoAway implements side: the client will open no more streams.
func (v *Server) peerGoAway(uint32, xhttp2.ErrCode, string) {}

// settled implements side.
func (v *Server) settled() {}

// left implements side.
func (v *Server) left(*stream) {}
