package netconn

import (
	"net"
	"syscall"
	"unsafe"

	"github.com/ginnel/ginnel/filter"
	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of linux/netfilter.
const soOriginalDst = 80

// OriginalDst returns where a TCP connection was going before the kernel redirected it
// (REDIRECT, DNAT), which is the local address if it did not. Without connection
// tracking that is known only where the listening socket is transparent, as TPROXY wants
// it: the local address then is the original one.
func (s *Socket) OriginalDst() (net.Addr, bool) {
	if s.unix {
		return nil, false
	}
	var to net.Addr
	err := s.control(func(fd int) error {
		at, err := sockname(fd)
		if err != nil {
			return err
		}
		// A connection from IPv4 that an IPv6 socket has taken has the options of IPv4.
		level, transparent := unix.SOL_IP, unix.IP_TRANSPARENT
		if ap, ok := filter.IP(at); ok && ap.Addr().Is6() {
			level, transparent = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
		}
		was := rawAddr{len: unix.SizeofSockaddrAny}
		_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), soOriginalDst,
			uintptr(unsafe.Pointer(&was.sa)), uintptr(unsafe.Pointer(&was.len)), 0)
		if errno == 0 {
			to = was.addr()
			return nil
		}
		if on, err := unix.GetsockoptInt(fd, level, transparent); err != nil || on == 0 {
			return errno
		}
		to = at
		return nil
	})
	return to, err == nil
}
