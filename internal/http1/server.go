package http1

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// A Server is the server's codec on one connection.
type Server struct {
	link
	o    *ServerOptions
	h    httpmsg.ServerHandler
	head requestHead
	body body
	answer

	draining atomic.Bool // responses that begin say that they are the last; set under mu

	mu     sync.Mutex
	idle   bool          // between requests: nothing of the next one is there
	active bool          // a request is being answered
	grace  time.Duration // how long a client that no response has told may stay idle when draining
	hungUp bool          // the client has ended its direction, or more
	timer  *time.Timer
}

var _ httpmsg.Server = (*Server)(nil)

// NewServer returns a codec that owns conn once Serve is called. o is not changed any
// more; nil: all zero.
func NewServer(conn Conn, o *ServerOptions, h httpmsg.ServerHandler) *Server {
	if o == nil {
		o = &ServerOptions{}
	}
	s := &Server{o: o, h: h}
	s.link.init(conn, o.BufferBytes)
	s.head.o, s.head.rules = o, o.rules()
	s.body.in, s.body.rules, s.body.failed, s.body.atEOF = &s.in, &s.head.rules, s.failure, s.clientEnded
	s.answer.s = s
	s.answer.out, s.answer.trailers, s.answer.z.format = &s.link.out, o.EnableTrailers, o.HeaderKeyFormat
	return s
}

// Protocol implements httpmsg.Server.
func (s *Server) Protocol() httpmsg.Protocol { return httpmsg.HTTP11 }

// Bytes implements httpmsg.Server.
func (s *Server) Bytes() (received, sent uint64) { return s.in.total.Load(), s.link.out.total.Load() }

// Serve implements httpmsg.Server.
func (s *Server) Serve() error {
	if w := s.o.Hangups; w != nil {
		stop := w.Watch(s.conn, s.hangup)
		defer stop()
	}
	defer s.end()
	for {
		again, err := s.serveOne()
		if !again {
			return err
		}
	}
}

// end gives back what Serve has held.
func (s *Server) end() {
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.idle = false
	s.draining.Store(true)
	s.mu.Unlock()
	s.close()
	s.in.close()
	s.link.out.close()
}

// serveOne waits for a request and has it answered.
func (s *Server) serveOne() (again bool, err error) {
	n, err := s.readHead()
	if err != nil {
		return false, s.noHead(err)
	}
	refused := s.head.parse(s.in.unread()[:n])
	s.mark(s.in.buffered())
	s.marks.headIn = uint64(n)
	s.in.consume(n)
	s.in.idle()
	if refused != nil {
		return false, s.refuse(refused)
	}
	s.body.begin(s.head.body)
	if s.head.body.kind != noBody {
		s.head.req.Body = &s.body
	}
	s.begin()
	s.h.Active(1)
	s.h.Answer(&s.head.req, &s.answer)
	again, err = s.finish()
	s.h.Active(0)
	return again, err
}

// noHead is the end of a connection on which no request came.
func (s *Server) noHead(err error) error {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return s.refuse(r)
	case s.why.Load() != nil:
		return s.why.Load()
	case s.in.empty() && (err == io.EOF || isTimeout(err)):
		return nil // in order, or drained
	}
	return s.failure(err)
}

// readHead waits for a head, and returns its length. Nothing of it is consumed.
func (s *Server) readHead() (n int, err error) {
	from, blanks, timed := 0, 0, false
	defer func() {
		if timed {
			s.in.deadline(never)
		}
	}()
	s.in.rest()
	if s.in.empty() {
		if !s.setIdle(true) {
			return 0, io.EOF
		}
	}
	for {
		blanks += s.skipBlanks()
		if blanks > maxBlanks {
			return 0, errBlank
		}
		if n, from, err = s.findHead(from); n > 0 || err != nil {
			s.setIdle(false)
			return n, err
		}
		if !timed && !s.in.empty() {
			s.setIdle(false)
			timed = s.startHeadTimer()
		}
		if err := s.in.fill(); err != nil {
			if timed && isTimeout(err) && s.why.Load() == nil {
				err = errTimeout
			}
			return 0, err
		}
	}
}

// startHeadTimer begins the time that a head may take.
func (s *Server) startHeadTimer() bool {
	if s.o.RequestHeadersTimeout <= 0 {
		return false
	}
	s.in.deadline(time.Now().Add(s.o.RequestHeadersTimeout))
	return true
}

// maxBlanks is how many empty lines may precede a request: some clients send one after
// a body.
const maxBlanks = 8

func (s *Server) skipBlanks() (n int) {
	for p := s.in.unread(); len(p) >= 2 && p[0] == '\r' && p[1] == '\n'; p = p[2:] {
		s.in.consume(2)
		n++
	}
	return n
}

// findHead looks for the end of the head, from a place on that it has returned before.
func (s *Server) findHead(from int) (n, next int, err error) {
	p := s.in.unread()
	n, next, r := endOfBlock(p, from)
	if n == 0 && r == nil {
		switch {
		case len(p) >= s.head.maxBytes:
			r = errTooLarge
		case next == 0 && !beginsRequest(p):
			r = errLine
		case from == 0 && next > 0:
			switch l, bad := startLine(p); bad {
			case nil:
			case errLowVersion:
				n = l.end // HTTP/0.9 has one line and no headers
			default:
				r = bad // no need to wait for the rest
			}
		case strayCR(p[next:]):
			r = errLine
		}
	}
	if n > s.head.maxBytes {
		r = errTooLarge
	}
	if r != nil {
		s.head.clear()
		l, _ := startLine(p)
		s.head.understood(p, l)
		return 0, next, r
	}
	return n, next, nil
}

// strayCR reports whether a CR in b, which is a part of a line, does not end it: who ends
// lines so has sent all he has.
func strayCR(b []byte) bool {
	i := bytes.IndexByte(b, '\r')
	return i >= 0 && i+1 < len(b)
}

// beginsRequest reports whether p can begin a request, so that somebody who speaks
// something else need not wait until he has sent a line by chance.
func beginsRequest(p []byte) bool {
	const longest = 64
	for i, c := range p {
		if c == ' ' && i > 0 || c == '\r' && i == 0 {
			return true
		}
		if httptext.Lower[c] == 0 || i == longest {
			return false
		}
	}
	return true
}

// setIdle tells whether the connection is between requests; false: it shall end there.
func (s *Server) setIdle(idle bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.idle
	s.idle = idle
	switch {
	case !s.draining.Load():
	case was && !idle:
		s.in.deadline(never) // the end of the idle connection came too late
	case !was && idle && s.grace <= 0:
		return false
	case !was && idle: // the last response had begun before: its client knows nothing of the end
		s.endSoon()
	}
	return true
}

// begin makes the exchange at hand one that can be reset.
func (s *Server) begin() {
	s.answer.prepare(&s.head.req)
	s.mu.Lock()
	s.active = true
	hungUp := s.hungUp
	s.mu.Unlock()
	s.answer.watch.begin()
	if hungUp {
		s.gone()
	}
}

// refuse has a message refused, and ends the connection.
func (s *Server) refuse(r *refusal) error {
	why := r.why()
	s.body.begin(framed{})
	s.head.keep = false
	s.begin()
	s.answer.refused = true
	s.h.Active(1)
	s.h.Refuse(&s.head.req, &s.answer, r.status, why)
	s.stopWatching()
	if s.why.Load() == nil && s.link.out.flush() == nil {
		s.part()
	}
	s.h.Active(0)
	return why
}

func (s *Server) stopWatching() {
	s.answer.watch.end()
	s.mu.Lock()
	s.active = false
	s.mu.Unlock()
}

// finish ends an exchange that the handler has returned from.
func (s *Server) finish() (again bool, err error) {
	complete := s.body.done.Load() || s.body.skip()
	s.stopWatching()
	a := &s.answer
	switch {
	case s.why.Load() != nil:
		s.body.stop(s.why.Load())
		return false, s.why.Load()
	case !a.done || a.kind == raw && !complete && s.body.stopped.Load() == nil:
		why := &httpmsg.ResetError{Reason: httpmsg.LocalReset}
		s.abort(why, a.kind == raw || a.kind == byClose)
		s.body.stop(why)
		return false, why
	case a.kind == raw:
		if !complete {
			s.deliver()
		}
		s.close()
		return false, nil
	case !complete:
		s.body.stop(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		s.part()
		return false, errParted
	case a.keep:
		return true, nil
	case !s.in.empty():
		s.part()
	}
	return false, errParted
}

// errParted is how a connection ends that this side does not keep after a response.
var errParted = &httpmsg.ResetError{Reason: httpmsg.LocalReset}

// part closes the connection behind a last response, which the client has time to read.
func (s *Server) part() {
	if s.linger(s.o.DelayedCloseTimeout) && s.o.DelayedCloseStruck != nil {
		s.o.DelayedCloseStruck()
	}
}

// Drain implements httpmsg.Server.
func (s *Server) Drain(grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return
	}
	s.grace = grace
	s.draining.Store(true)
	switch {
	case !s.idle:
	case grace > 0:
		s.endSoon()
	default:
		s.in.deadline(past)
	}
}

// endSoon gives a connection that drains and is idle its time for one more request, whose
// response tells the client: it is not idle again. The caller holds mu.
func (s *Server) endSoon() { s.timer = time.AfterFunc(s.grace, s.endIdle) }

// endIdle ends a connection that is drained and has nothing to do.
func (s *Server) endIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle {
		s.in.deadline(past)
	}
}

// Close implements httpmsg.Server.
func (s *Server) Close(why *httpmsg.ResetError) {
	s.abort(why, false)
	s.answer.watch.fire(why)
}

// hangup is called when the client has ended its direction, and when it has ended both.
func (s *Server) hangup() {
	s.mu.Lock()
	s.hungUp = true
	active := s.active
	s.mu.Unlock()
	if active {
		s.gone()
	}
}

// gone ends the exchange at hand for a client that went away. A client that has ended
// its direction waits for no response, as Envoy has it; but in a tunnel it may.
// Nor is it gone before it had the whole response, where it can have the last of it before
// who sends that comes back.
func (s *Server) gone() {
	if s.answer.ending.Load() && s.body.done.Load() {
		return
	}
	if s.answer.tunnel.Load() {
		s.tunnelGone()
		return
	}
	why := &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}
	s.abort(why, false)
	s.answer.watch.fire(why)
}

// clientEnded is called when the last bytes of a tunnel were read.
func (s *Server) clientEnded() {
	s.mu.Lock()
	hungUp := s.hungUp
	s.mu.Unlock()
	if hungUp {
		s.gone()
	}
}

// tunnelGone ends a tunnel whose client is gone with both directions: at once if it was
// a reset, else when its last bytes were read.
func (s *Server) tunnelGone() {
	reset := peerReset(s.conn)
	if !reset && !(s.body.done.Load() && peerClosed(s.conn)) {
		return
	}
	why := &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}
	s.abort(why, reset)
	s.answer.watch.fire(why)
}
