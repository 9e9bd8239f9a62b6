package netconn

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// discard drops arrived bytes without copying them: their number, 0 at the end of
// the stream, -1 when there are none or on an error.
func discard(fd int) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 1<<20,
		unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	if errno == unix.EFAULT { // not TCP: MSG_TRUNC copies
		return discardCopying(fd)
	}
	if errno != 0 {
		return -1
	}
	return int(n)
}

// wasConnected reports whether a TCP connection was made, whatever became of it
// since: the peer has then acknowledged the SYN.
func wasConnected(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.Bytes_acked > 0
}

func unsent(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.SIOCOUTQ) }

const inqueue = unix.TIOCINQ

const pollFIN = unix.POLLRDHUP

// hungUp reports whether a POLLHUP means that both directions are over: always.
func hungUp(int) bool { return true }

func setKeepAlive(fd int, k *KeepAlive) error {
	return errors.Join(
		setInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
		setPositive(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Probes),
		setPositive(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds(k.Idle)),
		setPositive(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, seconds(k.Interval)))
}

func setTransparent(fd, family int) error {
	if family == unix.AF_INET6 {
		return setInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
	}
	return setInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
}

func setFreeBind(fd, family int) error {
	if family == unix.AF_INET6 {
		return setInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	}
	return setInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
}

func setFastOpen(fd, queue int) error {
	return setInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, queue)
}

func setMark(fd int, mark uint32) error { return setInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)) }

func latePort(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) }

func newMultipathFD(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
}
