package netconn

import (
	"net"
	"os"
	"reflect"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/filter"
)

// Duplicate returns another Listener on the same socket, and so on the same queue of
// connections: whoever accepts first gets each. Listen applies its backlog to both. The
// address is given back when both are closed; what waits in the queue outlives l.
func (l *Listener) Duplicate(backlog int) (*Listener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, net.ErrClosed
	}
	fd, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if l.sharers == nil {
		l.sharers = new(atomic.Int32)
		l.sharers.Store(1)
	}
	l.sharers.Add(1)
	o := l.o
	o.Backlog = backlog
	return &Listener{
		o: o, family: l.family, fd: fd, addr: l.addr, local: l.local, done: make(chan struct{}), sharers: l.sharers,
		listening: l.listening && backlog == l.o.Backlog,
	}, nil
}

// Fits reports whether a listener that asks for an address with options can go on with
// the socket of one that asked for another: they differ in the backlog at most.
func Fits(o, other ListenOptions) bool {
	o.Backlog, other.Backlog = 0, 0
	return reflect.DeepEqual(o, other)
}

// Rest accepts what waits in the queue and hands it on, without waiting for more. What
// a socket with the same address has taken the place of is closed after that. A queue
// that others share is left to them.
func (l *Listener) Rest(handle func(*Socket)) {
	for {
		l.mu.Lock()
		ok := !l.closed && l.listening && (l.sharers == nil || l.sharers.Load() == 1)
		l.mu.Unlock()
		if !ok {
			return
		}
		s, err := l.acceptNow()
		if err != nil {
			return
		}
		handle(s)
	}
}

// InUse reports whether somebody listens on an address, or on one that contains it or is
// contained in it, as SO_REUSEPORT lets many do. Unix addresses and port 0 never are.
func InUse(addr net.Addr) bool {
	ap, ok := filter.IP(addr)
	if !ok || ap.Port() == 0 {
		return false
	}
	fam, err := family(addr)
	if err != nil {
		return false
	}
	fd, err := newFD(fam)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	sa, err := toSockaddr(addr, fam)
	if err != nil || setInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) != nil {
		return false
	}
	if fam == unix.AF_INET6 && setInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) != nil {
		return false
	}
	// Connections of the past do not stand in the way, nor does a socket that is only bound.
	return unix.Bind(fd, sa) == unix.EADDRINUSE
}
