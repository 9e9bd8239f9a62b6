// Package netconn is stream sockets as filter.Streams: TCP and Unix, accepted and
// dialled without the system calls that package net adds.
//
// A socket costs a descriptor and one small object until somebody has to wait for
// it; only then does it join the poller of the Go runtime. So connections can be
// set up, and handed to an event loop, without the poller.
//
// TCP_NODELAY is always on. SIGPIPE is left to the Go runtime, which ignores it for
// sockets.
package netconn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/filter"
	"golang.org/x/sys/unix"
)

// A Socket is a connected TCP or Unix stream socket. Its methods may be called at
// any time from any goroutine. Errors are *net.OpErrors around the system's;
// net.ErrClosed after Close.
type Socket struct { // 48 bytes, of which an idle connection keeps two
	remote net.Addr                 // fixed; nil for the unnamed peer of a Unix socket
	local  atomic.Pointer[net.Addr] // nil until asked for
	file   atomic.Pointer[os.File]  // nil until somebody waits

	mu     sync.Mutex
	fd     int32 // -1 once file owns the descriptor, or it is closed
	closed bool
	unix   bool
	home   uint16 // see Home: number of a loop plus 1, and assigned; 0: no loop
}

var (
	_ filter.Stream = (*Socket)(nil)
	_ syscall.Conn  = (*Socket)(nil)
)

// New takes over a connected, non-blocking stream socket. local and remote may be
// nil, and are then asked for.
func New(fd int, local, remote net.Addr) (*Socket, error) {
	if remote == nil {
		sa, err := unix.Getpeername(fd)
		if err != nil {
			return nil, os.NewSyscallError("getpeername", err)
		}
		remote = fromSockaddr(sa)
	}
	s := newSocket(fd, remote)
	if local != nil {
		s.local.Store(&local)
	}
	return s, nil
}

func newSocket(fd int, remote net.Addr) *Socket {
	_, isUnix := remote.(filter.UnixAddr)
	return &Socket{fd: int32(fd), remote: remote, unix: isUnix}
}

// Unix reports whether s is a Unix socket.
func (s *Socket) Unix() bool { return s.unix }

// RemoteAddr returns the peer's address; that of an unnamed Unix peer is empty.
func (s *Socket) RemoteAddr() net.Addr { return s.remote }

// LocalAddr returns the socket's own address. It is asked for once, when it is first
// wanted; after Close it is too late for that.
func (s *Socket) LocalAddr() net.Addr {
	if a := s.local.Load(); a != nil {
		return *a
	}
	var a net.Addr
	err := s.control(func(fd int) (err error) {
		a, err = sockname(fd)
		return err
	})
	if err != nil {
		if s.unix {
			return filter.UnixAddr{}
		}
		return filter.IPAddr{}
	}
	s.local.Store(&a)
	return a
}

// polled returns the socket as a member of the runtime's poller.
func (s *Socket) polled() (*os.File, error) {
	if f := s.file.Load(); f != nil {
		return f, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	f := s.file.Load()
	if f == nil {
		f = os.NewFile(uintptr(s.fd), "socket")
		s.fd = -1
		s.file.Store(f)
	}
	return f, nil
}

// control calls f, which must not block, with the descriptor.
func (s *Socket) control(f func(fd int) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.fd >= 0:
		return f(int(s.fd))
	}
	rc, err := s.file.Load().SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := rc.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// Read implements io.Reader.
func (s *Socket) Read(p []byte) (int, error) {
	f, err := s.polled()
	if err != nil {
		return 0, s.opError("read", err)
	}
	n, err := f.Read(p)
	if err != nil && err != io.EOF {
		err = s.opError("read", err)
	}
	return n, err
}

// Write implements io.Writer.
func (s *Socket) Write(p []byte) (int, error) {
	f, err := s.polled()
	if err != nil {
		return 0, s.opError("write", err)
	}
	n, err := f.Write(p)
	if err != nil {
		err = s.opError("write", err)
	}
	return n, err
}

// SetDeadline implements net.Conn.
func (s *Socket) SetDeadline(t time.Time) error { return s.deadline(t, (*os.File).SetDeadline) }

// SetReadDeadline implements net.Conn.
func (s *Socket) SetReadDeadline(t time.Time) error {
	return s.deadline(t, (*os.File).SetReadDeadline)
}

// SetWriteDeadline implements net.Conn.
func (s *Socket) SetWriteDeadline(t time.Time) error {
	return s.deadline(t, (*os.File).SetWriteDeadline)
}

func (s *Socket) deadline(t time.Time, set func(*os.File, time.Time) error) error {
	f, err := s.polled()
	if err == nil {
		err = set(f, t)
	}
	if err != nil {
		return s.opError("set", err)
	}
	return nil
}

// SyscallConn returns the descriptor for readiness-driven IO. Functions given to
// its Read and Write are called again at the next *edge*: they must try, and see
// EAGAIN, before they return false.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	f, err := s.polled()
	if err != nil {
		return nil, s.opError("raw", err)
	}
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, s.opError("raw", err)
	}
	return &rawConn{s, rc}, nil
}

type rawConn struct {
	s *Socket
	syscall.RawConn
}

func (c *rawConn) Read(f func(uintptr) bool) error {
	if err := c.RawConn.Read(f); err != nil {
		return c.s.opError("read", err)
	}
	return nil
}

func (c *rawConn) Write(f func(uintptr) bool) error {
	if err := c.RawConn.Write(f); err != nil {
		return c.s.opError("write", err)
	}
	return nil
}

func (c *rawConn) Control(f func(uintptr)) error {
	if err := c.RawConn.Control(f); err != nil {
		return c.s.opError("raw", err)
	}
	return nil
}

// opError dresses err as package net does. os.File's own words for a closed file
// become net's.
func (s *Socket) opError(op string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = os.ErrDeadlineExceeded
	case errors.As(err, &errno):
		err = os.NewSyscallError(op, errno)
	default:
		s.mu.Lock()
		if s.closed {
			err = net.ErrClosed
		}
		s.mu.Unlock()
	}
	var local net.Addr
	if a := s.local.Load(); a != nil {
		local = *a
	}
	return &net.OpError{Op: op, Net: s.remote.Network(), Source: local, Addr: s.remote, Err: err}
}

// CloseWrite sends a FIN behind what was written.
func (s *Socket) CloseWrite() error {
	err := s.control(func(fd int) error {
		return os.NewSyscallError("shutdown", endWrite(fd))
	})
	if err != nil {
		return s.opError("close", err)
	}
	return nil
}

// Close gives the socket back. The kernel goes on sending what was written, then a
// FIN. Bytes that the peer has sent and nobody has read are discarded first: for
// their sake the kernel would send a reset and drop what was written. A peer that
// goes on sending afterwards is still reset; who cannot have that keeps the socket
// open until Unsent is zero.
func (s *Socket) Close() error { return s.close(true) }

// Reset aborts the connection: a TCP peer reads a reset, and what was written and
// not yet sent is dropped. Unix sockets cannot do that: there it is Close without
// discarding, which the peer reads as a reset if it had sent bytes that nobody read.
func (s *Socket) Reset() error {
	if !s.unix {
		_ = s.control(func(fd int) error {
			return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		})
	}
	return s.close(false)
}

func (s *Socket) close(orderly bool) error {
	if orderly {
		_ = s.control(orderlyEnd)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return s.opError("close", net.ErrClosed)
	}
	s.closed = true
	fd, f := int(s.fd), s.file.Load()
	s.fd = -1
	s.mu.Unlock()
	if f != nil {
		return f.Close() // also wakes who waits
	}
	return os.NewSyscallError("close", closeFD(fd))
}

// maxDiscard bounds what an orderly close discards of a peer that never stops.
const maxDiscard = 4 << 20

// orderlyEnd sends the FIN before unread bytes can turn the close into a reset.
func orderlyEnd(fd int) error {
	if n := discard(fd); n <= 0 {
		return nil
	}
	_ = endWrite(fd)
	for total := 0; total < maxDiscard; {
		n := discard(fd)
		if n <= 0 {
			break
		}
		total += n
	}
	return nil
}

// Unsent returns how many of the written bytes the peer's system has not
// acknowledged; a FIN on its way counts as one. It is 0 on Unix sockets, whose bytes
// no close can take back.
func (s *Socket) Unsent() (n int, err error) {
	if s.unix {
		return 0, nil
	}
	err = s.control(func(fd int) error {
		n, err = unsent(fd)
		return err
	})
	return n, err
}

// Discard drops what has arrived. It reports whether the peer may send more.
func (s *Socket) Discard() (open bool) {
	_ = s.control(func(fd int) error {
		n := 1
		for total := 0; n > 0 && total < maxDiscard; total += n {
			n = discard(fd)
		}
		open = n != 0
		return nil
	})
	return open
}
