package netconn

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Accept waits for the next connection, which the caller then owns. Connections that
// were gone before they could be accepted are passed over. After Close it returns
// net.ErrClosed.
func (l *Listener) Accept() (*Socket, error) {
	a := acceptor{l: l}
	a.tryOne = a.try
	return a.accept()
}

// An acceptor accepts one connection after the other, with what it takes allocated
// once.
type acceptor struct {
	l      *Listener
	tryOne func(fd uintptr) (done bool)
	taken  int // connections of this event
	fd     int // what try has accepted
	from   net.Addr
	err    error
}

func (a *acceptor) accept() (*Socket, error) {
	l := a.l
	raw, err := l.polled()
	if err != nil {
		return nil, l.acceptError(err)
	}
	if err := raw.Read(a.tryOne); err != nil {
		return nil, l.acceptError(net.ErrClosed) // a listener has no deadline
	}
	if a.err != nil {
		return nil, l.acceptError(a.err)
	}
	s := l.accepted(a.fd, a.from)
	a.from = nil
	return s, nil
}

func (a *acceptor) try(fd uintptr) (done bool) {
	a.fd, a.from, a.err = acceptNext(int(fd))
	if a.err == unix.EAGAIN {
		a.batched()
	}
	return a.err != unix.EAGAIN
}

// next counts an accepted connection. After the last one of an event others have their
// turn.
func (a *acceptor) next() {
	if a.taken++; a.taken == a.l.batch.Most {
		a.batched()
		runtime.Gosched()
	}
}

// batched ends an event.
func (a *acceptor) batched() {
	a.l.batch.Ended(a.taken)
	a.taken = 0
}

func acceptNext(fd int) (int, net.Addr, error) {
	for {
		s, from, err := acceptFD(fd)
		if err != unix.EINTR && err != unix.ECONNABORTED {
			return s, from, err
		}
	}
}

func (l *Listener) accepted(fd int, from net.Addr) *Socket {
	s := newSocket(fd, from)
	if l.local != nil {
		s.local.Store(&l.local)
	}
	return s
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
	a := acceptor{l: l}
	a.tryOne = a.try
	for {
		s, err := a.accept()
		switch {
		case err == nil:
			pause = minPause
			handle(s)
			a.next()
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

// exhausted reports errors that pass: of accept(2), those of the network among them
// (its manual: treat them like EAGAIN), and of epoll_ctl(2).
func exhausted(err error) bool {
	var e syscall.Errno
	if !errors.As(err, &e) {
		return false
	}
	switch e {
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ENOSPC, unix.EPERM, unix.EPROTO,
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
