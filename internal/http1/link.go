package http1

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// A link is a connection, and how it ends. What is read and written belongs to who uses
// in and out; abort is for everybody.
type link struct {
	conn   Conn
	in     input
	out    output
	why    atomic.Pointer[httpmsg.ResetError] // why it was aborted; nil: it was not
	closed atomic.Bool
	marks  marks
}

// marks are the totals of a link when an exchange began, and the bytes of its heads.
type marks struct{ in, out, headIn, headOut uint64 }

func (l *link) init(c Conn, limit int) {
	l.conn = c
	l.in.init(c, limit)
	l.out.init(c)
}

// abort ends the connection where it is; the first why counts. hard: so that the peer
// cannot take it for an end.
func (l *link) abort(why *httpmsg.ResetError, hard bool) {
	if !l.why.CompareAndSwap(nil, why) {
		return
	}
	if l.closed.CompareAndSwap(false, true) {
		if hard {
			_ = l.conn.Reset()
		} else {
			_ = l.conn.Close()
		}
	}
}

// close ends the connection behind what was written.
func (l *link) close() {
	if l.closed.CompareAndSwap(false, true) {
		_ = l.conn.Close()
	}
}

// ask sends what is held back and waits for the answer, in one go. The stream must be a
// socket, and nothing be there to read; looked: which was seen just now.
func (l *link) ask(looked bool) error {
	in, out := &l.in, &l.out
	if !in.empty() || in.err != nil || out.err != nil {
		return nil // the usual way finds out
	}
	in.release(false)
	sent, n, werr, err := in.sock.ask(out, looked)
	switch out.total.Add(uint64(sent)); {
	case sent == 0 && (n > 0 || err != nil) && werr == nil:
		return l.unasked(n, err)
	case werr != nil:
		out.err = werr
		out.give()
	case sent < len(out.buf):
		out.buf = out.buf[:copy(out.buf, out.buf[sent:])]
		return out.flush()
	}
	_ = in.took(n, err)
	return nil
}

// unasked is the end of a connection on which something came before it was asked for.
func (l *link) unasked(n int, err error) *httpmsg.ResetError {
	if n > 0 && l.why.Load() == nil {
		return errUnasked.why()
	}
	return l.failure(err)
}

// clean reports whether nothing went wrong, and nothing waits to be read or sent.
func (l *link) clean() bool {
	return l.why.Load() == nil && !l.closed.Load() &&
		l.in.err == nil && l.in.empty() && l.out.err == nil && l.out.pending() == 0
}

// failure is err, which the connection returned, as the end of an exchange.
func (l *link) failure(err error) *httpmsg.ResetError {
	if why := l.why.Load(); why != nil {
		return why
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination, Err: err}
}

// mark begins to count for an exchange; before tells how many of its bytes have already
// been read.
func (l *link) mark(before int) {
	l.marks = marks{in: l.in.total.Load() - uint64(before), out: l.out.total.Load()}
}

// wire returns the bytes of the exchange. Bytes that came ahead of the next one count.
func (l *link) wire() httpmsg.Wire {
	return httpmsg.Wire{
		Received: l.in.total.Load() - l.marks.in, HeaderReceived: l.marks.headIn,
		Sent: l.out.total.Load() - l.marks.out, HeaderSent: l.marks.headOut,
	}
}

// linger ends the direction to the peer and reads for a while what it still sends: had
// the connection been closed at once, the reset that answers these bytes could overtake
// the response. It reports whether the peer was still there when that time was over.
func (l *link) linger(d time.Duration) (late bool) {
	if d > 0 && l.conn.CloseWrite() == nil {
		l.in.deadline(time.Now().Add(d))
		for {
			l.in.release(false)
			if err := l.in.fill(); err != nil {
				late = isTimeout(err)
				break
			}
		}
	}
	l.close()
	return late
}

// How long deliver waits while nothing moves, and how often it looks.
const (
	deliverTimeout = time.Minute
	minLook        = time.Millisecond
	maxLook        = 32 * time.Millisecond
)

// deliver waits until the peer's system has all that was sent, with the FIN, and drops
// what the peer sends meanwhile: once the connection is closed that is answered with a
// reset, which would take back what has not arrived. The kernel has no event for it.
func (l *link) deliver() {
	s, ok := l.conn.(interface{ Unsent() (int, error) })
	if !ok {
		return
	}
	const fin = 1
	left, err := s.Unsent()
	for idle, pause := time.Duration(0), minLook; err == nil && left > fin && idle < deliverTimeout; idle += pause {
		l.in.deadline(time.Now().Add(pause))
		for err == nil {
			l.in.release(false)
			err = l.in.fill()
		}
		if !isTimeout(err) {
			return // the peer sends no more, or is gone
		}
		before := left
		if left, err = s.Unsent(); left < before {
			idle = 0
		}
		pause = min(2*pause, maxLook)
	}
}
