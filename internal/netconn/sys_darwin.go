package netconn

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// newFD returns a non-blocking stream socket that children do not inherit.
func newFD(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	return private(fd)
}

// private makes a descriptor one that does not block and that children do not inherit;
// it is closed if that fails.
func private(fd int) (int, error) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func connectFD(fd int, to unix.Sockaddr) error { return unix.Connect(fd, to) }

func setsockopt(fd, level, name, v int) error { return unix.SetsockoptInt(fd, level, name, v) }

// endWrite sends a FIN.
func endWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

func closeFD(fd int) error { return unix.Close(fd) }

// acceptFD takes a connection from the queue.
func acceptFD(fd int) (int, net.Addr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, sa, err := unix.Accept(fd)
	if err != nil {
		return -1, nil, err
	}
	if n, err = private(n); err != nil {
		return -1, nil, err
	}
	if _, isUnix := sa.(*unix.SockaddrUnix); !isUnix {
		_ = setNoDelay(n)
	}
	return n, fromSockaddr(sa), nil
}

// sockname returns the address that a socket is bound to.
func sockname(fd int) (net.Addr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	return fromSockaddr(sa), nil
}

// connected reports whether fd has a peer. False says nothing: a connection may be in
// the making, have failed, or be over.
func connected(fd int) bool {
	_, err := unix.Getpeername(fd)
	return err == nil
}

func discard(fd int) int { return discardCopying(fd) }

func unsent(fd int) (int, error) {
	return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
}

const inqueue = 0x4004667f // FIONREAD

const pollFIN = unix.POLLHUP // poll is made of kqueue, whose EV_EOF it shows as this

// hungUp reports whether a POLLHUP means that both directions are over, and not the
// peer's alone, as after its FIN: the socket has no peer any more then.
func hungUp(fd int) bool { return !connected(fd) }

func setKeepAlive(fd int, k *KeepAlive) error {
	return errors.Join(
		setInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		setPositive(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Probes),
		setPositive(fd, unix.IPPROTO_TCP, unix.TCP_KEEPALIVE, seconds(k.Idle)),
		setPositive(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(k.Interval)))
}

func setTransparent(int, int) error { return unix.ENOPROTOOPT }
func setFreeBind(int, int) error    { return unix.ENOPROTOOPT }
func setFastOpen(fd, queue int) error {
	return setInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, min(queue, 1))
}

func setMark(int, uint32) error { return unix.ENOPROTOOPT }

func latePort(int) {}

// wasConnected cannot be told here: a connection that was reset at once may show as
// one that was not made.
func wasConnected(int) bool { return false }

func newMultipathFD(int) (int, error) { return -1, unix.EPROTONOSUPPORT }
