package pump

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
)

// An end is one of the two streams. At most one of sock and pipe is set; a stream of
// another kind, as TLS is, is read and written as a net.Conn.
type end struct {
	stream filter.Stream
	sock   *netconn.Socket
	raw    syscall.RawConn // of sock
	pipe   *pipe.Conn
	below  *netconn.Socket // under a stream of another kind, for what only a socket knows; nil: none

	// Guarded by pair.mu.
	fate fate
	eof  bool // what its peer sent was passed on, and then its FIN
	deaf bool // nobody reads it any more
	shut bool // CloseWrite was called, or is about to be
}

// A fate is how a peer went away as a whole.
type fate uint8

const (
	alive fate = iota
	closed
	reset
)

// learn notes what an error of reading tells. It overrides what a write was told: the
// kernel tells of a reset once, and after that of EPIPE.
func (f *fate) learn(err error) {
	switch err {
	case errClosed:
		*f = closed
	case errReset:
		*f = reset
	}
}

func newEnd(s filter.Stream) end {
	e := end{stream: s}
	switch s := s.(type) {
	case *pipe.Conn:
		e.pipe = s
	case *netconn.Socket:
		if raw, err := s.SyscallConn(); err == nil { // else closed, as Read will tell
			e.sock, e.raw = s, raw
		}
	case filter.Layer:
		e.below, _ = s.Below().(*netconn.Socket)
	}
	if e.sock == nil { // with a socket what set-up left behind is harmless
		_ = s.SetDeadline(time.Time{})
	}
	return e
}

// Ends of a stream beside io.EOF, which is a half close.
var (
	errClosed = errors.New("peer has closed the connection")
	errReset  = errors.New("peer has reset the connection")
	errGone   = errors.New("peer is gone, as a write to it was told")
)

// ended says what an error of reading or writing means: io.EOF, errClosed, errReset,
// or os.ErrDeadlineExceeded for an interruption.
func ended(err error) error {
	switch {
	case err == io.EOF || err == errClosed || err == errReset || err == errGone:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe):
		return errClosed
	}
	return errReset // ETIMEDOUT, EHOSTUNREACH and so on: an abort, if not the peer's
}

// endOfSocket says what it means that a read of src has returned 0.
func (f *flow) endOfSocket(fd uintptr) error {
	e := netconn.Poll(fd)
	f.p.mu.Lock()
	shut := f.src.shut // looked at last: our own FIN makes it Dead, too
	f.p.mu.Unlock()
	if shut {
		return io.EOF
	}
	return endOf(f.src.sock, e)
}

// endOf tells, of a socket to which we have sent no FIN, that of its peer from the end
// of the whole connection: a reset that came behind the FIN, or the close of a Unix
// socket, or a reset whose error the kernel has told a write of, as it tells it only
// once.
func endOf(s *netconn.Socket, e netconn.Events) error {
	switch {
	case !e.Dead:
		return io.EOF
	case s.Unix() || e.Failed:
		return errClosed
	}
	return errGone
}

// socket is what lies at the bottom of e; nil: another kind of stream.
func (e *end) socket() *netconn.Socket {
	if e.sock != nil {
		return e.sock
	}
	return e.below
}

// aborted asks, without reading, whether the peer has reset the connection.
func (e *end) aborted() bool {
	s := e.socket()
	return s != nil && s.Poll().Failed || e.pipe != nil && e.pipe.PeerReset()
}

// left asks, without reading, whether the peer has gone. If our own FIN was sent, its
// FIN says that it has.
func (e *end) left(shut bool) bool {
	switch s := e.socket(); {
	case e.pipe != nil:
		return e.pipe.PeerClosed()
	case s != nil:
		ev := s.Poll()
		return ev.Dead || ev.FIN && shut
	}
	return false
}
