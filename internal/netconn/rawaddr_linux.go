package netconn

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"github.com/ginnel/ginnel/filter"
	"golang.org/x/sys/unix"
)

// A rawAddr is an address as the kernel writes it. Package unix makes two objects of
// each, of 112 bytes and more; connections come and go too fast for that.
type rawAddr struct {
	sa  unix.RawSockaddrAny
	len uint32
}

// acceptFD takes a connection from the queue. It inherits the options of the
// listening socket, TCP_NODELAY and keep-alive among them.
func acceptFD(fd int) (int, net.Addr, error) {
	from := rawAddr{len: unix.SizeofSockaddrAny}
	s, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&from.sa)),
		uintptr(unsafe.Pointer(&from.len)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, nil, errno
	}
	return int(s), from.addr(), nil
}

// sockname returns the address that a socket is bound to.
func sockname(fd int) (net.Addr, error) {
	at := rawAddr{len: unix.SizeofSockaddrAny}
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&at.sa)),
		uintptr(unsafe.Pointer(&at.len)))
	if errno != 0 {
		return nil, errno
	}
	return at.addr(), nil
}

// connected reports whether fd has a peer. False says nothing: a connection may be in
// the making, have failed, or be over.
func connected(fd int) bool {
	of := rawAddr{len: unix.SizeofSockaddrAny}
	_, _, errno := syscall.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&of.sa)),
		uintptr(unsafe.Pointer(&of.len)))
	return errno == 0
}

// addr returns a filter.IPAddr or filter.UnixAddr. A v4-mapped address becomes the
// IPv4 address that it is.
func (r *rawAddr) addr() net.Addr {
	switch r.sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.sa))
		return filter.IPAddr{AddrPort: netip.AddrPortFrom(netip.AddrFrom4(in.Addr), hostOrder(&in.Port))}
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&r.sa))
		return ip6(in.Addr, hostOrder(&in.Port), in.Scope_id)
	}
	return r.path()
}

func hostOrder(port *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(port))[:])
}

// path returns the address of a Unix socket: nothing for an unnamed one, "@" in place
// of the first NUL of an abstract one.
func (r *rawAddr) path() net.Addr {
	const begin = unsafe.Offsetof(unix.RawSockaddrUnix{}.Path)
	if r.sa.Addr.Family != unix.AF_UNIX || uintptr(r.len) <= begin {
		return filter.UnixAddr{}
	}
	un := (*unix.RawSockaddrUnix)(unsafe.Pointer(&r.sa))
	path := unsafe.Slice((*byte)(unsafe.Pointer(&un.Path)), min(uintptr(r.len)-begin, uintptr(len(un.Path))))
	if path[0] == 0 {
		path[0] = '@'
	}
	if end := bytes.IndexByte(path, 0); end >= 0 {
		path = path[:end]
	}
	return filter.UnixAddr{Path: string(path)}
}
