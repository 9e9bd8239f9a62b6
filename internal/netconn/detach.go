package netconn

import (
	"net"

	"golang.org/x/sys/unix"
)

// Detach takes the socket out of the runtime's poller, where it is if somebody has
// waited for it, and returns its descriptor, which stays the socket's: Close and
// Reset give it back. It is for who watches the descriptor himself from then on.
// Nobody may be waiting in a method of s meanwhile; a method that waits later joins
// the poller again.
func (s *Socket) Detach() (fd int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file.Load()
	switch {
	case s.closed:
		return -1, net.ErrClosed
	case f == nil:
		return int(s.fd), nil
	}
	rc, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dup int
	var derr error
	if err := rc.Control(func(fd uintptr) { dup, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	if derr != nil {
		return -1, derr
	}
	s.fd = int32(dup)
	s.file.Store(nil)
	return dup, f.Close()
}

// CloseAfterEOF is Close for a socket whose end of stream was read: there is nothing
// to discard, and no need to ask.
func (s *Socket) CloseAfterEOF() error { return s.close(false) }
