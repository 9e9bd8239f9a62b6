package pump

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
)

// An end is one of the two streams. At most one of sock and pipe is set; a stream of
// another kind is read and written as a net.Conn.
type end struct {
	stream filter.Stream
	sock   *netconn.Socket
	raw    syscall.RawConn // of sock
	pipe   *pipe.Conn

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

func newEnd(s filter.Stream) end {
	e := end{stream: s}
	switch s := s.(type) {
	case *pipe.Conn:
		e.pipe = s
	case *netconn.Socket:
		if raw, err := s.SyscallConn(); err == nil { // else closed, as Read will tell
			e.sock, e.raw = s, raw
		}
	}
	return e
}

// Ends of a stream beside io.EOF, which is a half close.
var (
	errClosed = errors.New("peer has closed the connection")
	errReset  = errors.New("peer has reset the connection")
)

// ended says what an error of reading or writing means: io.EOF, errClosed, errReset,
// or os.ErrDeadlineExceeded for an interruption.
func ended(err error) error {
	switch {
	case err == io.EOF || err == errClosed || err == errReset:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe):
		return errClosed
	}
	return errReset // ETIMEDOUT, EHOSTUNREACH and so on: an abort, if not the peer's
}

func fateOf(err error) fate {
	if err == errReset {
		return reset
	}
	return closed
}

// endOfSocket tells, when a read has returned 0, a FIN from the end of the whole
// connection: a reset that came behind the FIN, or one whose error a concurrent
// write was told of, or the close of a Unix socket. shut is end.shut.
func endOfSocket(s *netconn.Socket, fd uintptr, shut bool) error {
	switch e := netconn.Poll(fd); {
	case shut || !e.Dead:
		return io.EOF
	case s.Unix() || e.Failed:
		return errClosed
	}
	return errReset
}

// aborted asks, without reading, whether the peer has reset the connection.
func (e *end) aborted() bool {
	return e.sock != nil && e.sock.Poll().Failed || e.pipe != nil && e.pipe.PeerReset()
}

// finished asks, without reading, whether the peer is gone and has left nothing to be
// read. If our own FIN was sent, its FIN says that it is.
func (e *end) finished(shut bool) bool {
	switch {
	case e.pipe != nil:
		in, _ := e.pipe.Buffered()
		return in == 0 && e.pipe.PeerClosed()
	case e.sock != nil:
		ev := e.sock.Poll()
		return (ev.Dead || ev.FIN && shut) && e.sock.Unread() == 0
	}
	return false
}
