package filter

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// HoldData is OnData for a function that waits, as for the answer of a service: until it
// returns, the first bytes of the connection, or their end, are held back. It runs after
// what was registered before it, and what is registered later runs after it. Its error
// closes the connection. Bytes to the client flow meanwhile (Envoy). Who calls it is not
// Passive; it is called from within ServeConn.
func (c *Conn) HoldData(f func(*Held) error) {
	x := c.Info.More()
	s := &heldStream{Stream: c.Stream, wait: f, before: x.onData}
	s.held = Held{conn: c, stream: c.Stream}
	s.held.ctx, s.held.end = context.WithCancelCause(context.Background())
	x.onData = func(*Conn) error { return s.verdict } // Read has come before
	c.host.Replace(c, s)
}

// A Held is a connection whose first bytes are held back.
type Held struct {
	conn   *Conn
	stream Stream
	ctx    context.Context // until the connection has ended
	end    context.CancelCauseFunc
}

// Do runs f while nobody else uses the connection's Info, which only f may change.
func (h *Held) Do(f func(*Conn) error) error {
	if l := h.conn.guard(); l != nil {
		l.Lock()
		defer l.Unlock()
	}
	return f(h.conn)
}

// Context ends when the connection is ended: there is nothing more to wait for.
func (h *Held) Context() context.Context { return h.ctx }

// Watch has Context end, too, when the client resets the connection, which a reader is then
// told by reset. stop must be called. hangups may be nil.
func (h *Held) Watch(hangups Hangups, reset error) (stop func()) {
	if hangups == nil {
		return func() {}
	}
	return hangups.Watch(h.stream, func() {
		if s, ok := h.stream.(interface{ Ended() (gone, reset bool) }); ok {
			if _, is := s.Ended(); is {
				h.end(reset)
			}
		}
	})
}

// heldStream is the stream of a Held.
type heldStream struct {
	Stream
	held   Held
	before func(*Conn) error // nil: nothing
	wait   func(*Held) error

	once    sync.Once
	verdict error
}

var (
	_ Layer    = (*heldStream)(nil)
	_ Farewell = (*heldStream)(nil)
	_ Secure   = (*heldStream)(nil)
)

// decide runs what waits, once.
func (s *heldStream) decide() {
	s.once.Do(func() {
		if s.before != nil {
			s.verdict = s.held.Do(s.before)
		}
		if s.verdict == nil {
			s.verdict = s.wait(&s.held)
		}
	})
}

// Read implements io.Reader.
func (s *heldStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if n > 0 || err == io.EOF {
		s.decide()
		if over := context.Cause(s.held.ctx); over != nil {
			return 0, over
		}
	}
	return n, err
}

// Peek is that of the stream, if it has one.
func (s *heldStream) Peek(p []byte, seen int) (int, error) {
	in, ok := s.Stream.(interface {
		Peek(p []byte, seen int) (n int, err error)
	})
	if !ok {
		return 0, errCannotPeek
	}
	return in.Peek(p, seen)
}

// Ended is that of the stream, if it has one.
func (s *heldStream) Ended() (gone, reset bool) {
	if in, ok := s.Stream.(interface{ Ended() (gone, reset bool) }); ok {
		return in.Ended()
	}
	return false, false
}

// OnPeerGone is that of the stream, if it has one.
func (s *heldStream) OnPeerGone(f func(reset bool)) {
	if in, ok := s.Stream.(interface{ OnPeerGone(func(reset bool)) }); ok {
		in.OnPeerGone(f)
	}
}

// Below implements Layer.
func (s *heldStream) Below() Stream {
	if in, ok := s.Stream.(Layer); ok {
		return in.Below()
	}
	return s.Stream
}

// TLS implements Secure.
func (s *heldStream) TLS() *TLS { return TLSOf(s.Stream) }

// Close implements net.Conn.
func (s *heldStream) Close() error {
	s.held.end(net.ErrClosed)
	return s.Stream.Close()
}

// Reset implements Stream.
func (s *heldStream) Reset() error {
	s.held.end(net.ErrClosed)
	return s.Stream.Reset()
}

// CloseFor implements Farewell.
func (s *heldStream) CloseFor(why error) error {
	s.held.end(net.ErrClosed)
	return CloseFor(s.Stream, why)
}

// Why implements Farewell.
func (s *heldStream) Why() error { return Why(s.Stream) }

// SetDeadline implements net.Conn. One that is over ends the wait.
func (s *heldStream) SetDeadline(t time.Time) error {
	s.expire(t)
	return s.Stream.SetDeadline(t)
}

// SetReadDeadline implements net.Conn. One that is over ends the wait.
func (s *heldStream) SetReadDeadline(t time.Time) error {
	s.expire(t)
	return s.Stream.SetReadDeadline(t)
}

func (s *heldStream) expire(t time.Time) {
	if !t.IsZero() && !t.After(time.Now()) {
		s.held.end(net.ErrClosed)
	}
}
