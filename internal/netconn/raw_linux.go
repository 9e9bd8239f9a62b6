package netconn

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of a connection's life do not block, so they go past the Go
// scheduler. It takes the processor from a goroutine whose ordinary call lasts more
// than 20 us, as connect may where the other side is on this machine, and wakes a
// thread for it.

// newFD returns a non-blocking stream socket that children do not inherit.
func newFD(family int) (int, error) {
	fd, _, errno := syscall.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return int(fd), orNil(errno)
}

// connectFD begins to connect a non-blocking socket.
func connectFD(fd int, to unix.Sockaddr) error {
	var raw rawAddr
	switch to := to.(type) {
	case *unix.SockaddrInet4:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&raw.sa))
		in.Family, in.Addr, raw.len = unix.AF_INET, to.Addr, unix.SizeofSockaddrInet4
		netOrder(&in.Port, to.Port)
	case *unix.SockaddrInet6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&raw.sa))
		in.Family, in.Addr, in.Scope_id, raw.len = unix.AF_INET6, to.Addr, to.ZoneId, unix.SizeofSockaddrInet6
		netOrder(&in.Port, to.Port)
	default:
		return unix.Connect(fd, to)
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&raw.sa)), uintptr(raw.len))
	return orNil(errno)
}

func netOrder(port *uint16, v int) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(port))[:], uint16(v))
}

func setsockopt(fd, level, name, v int) error {
	value := int32(v)
	_, _, errno := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
		uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
	return orNil(errno)
}

// endWrite sends a FIN.
func endWrite(fd int) error {
	_, _, errno := syscall.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return orNil(errno)
}

// closeFD gives a socket back. It would block on one that lingers, which none does.
func closeFD(fd int) error {
	_, _, errno := syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return orNil(errno)
}

func orNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
