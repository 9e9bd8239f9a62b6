package netconn

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Accept waits for the next connection, which the caller then owns. Connections that
// were gone before they could be accepted are passed over. After Close it returns
// net.ErrClosed.
func (l *Listener) Accept() (*Socket, error) {
	l.mu.Lock()
	raw, closed := l.raw, l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return nil, l.acceptError(net.ErrClosed)
	case raw == nil:
		return nil, l.acceptError(errors.New("not listening"))
	}
	var (
		fd  int
		sa  unix.Sockaddr
		err error
	)
	werr := raw.Read(func(s uintptr) bool {
		for {
			fd, sa, err = acceptFD(int(s))
			if err != unix.EINTR && err != unix.ECONNABORTED {
				return err != unix.EAGAIN
			}
		}
	})
	if werr != nil {
		return nil, l.acceptError(net.ErrClosed) // a listener has no deadline
	}
	if err != nil {
		return nil, l.acceptError(err)
	}
	s := newSocket(fd, fromSockaddr(sa))
	if l.local != nil {
		s.local.Store(&l.local)
	}
	return s, nil
}

func (l *Listener) acceptError(err error) error {
	return &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: err}
}

// Pauses of Serve while the system has no descriptor or memory left.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// Serve accepts connections until Close, and then returns nil; on an error that
// waiting cannot mend it returns that. handle owns the socket and must not block for
// long: nobody accepts meanwhile. When the system has run out of descriptors or
// memory, Serve tells failed (if not nil) and goes on after a pause.
func (l *Listener) Serve(handle func(*Socket), failed func(error)) error {
	pause := minPause
	for {
		s, err := l.Accept()
		switch {
		case err == nil:
			pause = minPause
			handle(s)
		case errors.Is(err, net.ErrClosed):
			return nil
		case !exhausted(err):
			return err
		default:
			if failed != nil {
				failed(err)
			}
			if !l.sleep(pause) {
				return nil
			}
			pause = min(2*pause, maxPause)
		}
	}
}

// exhausted reports errors of accept(2) that pass, those of the network among them
// (its manual: treat them like EAGAIN).
func exhausted(err error) bool {
	var e syscall.Errno
	if !errors.As(err, &e) {
		return false
	}
	switch e {
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM, unix.EPROTO,
		unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH,
		unix.EOPNOTSUPP:
		return true
	}
	return false
}

// sleep reports false when the listener was closed meanwhile.
func (l *Listener) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.done:
		return false
	}
}
