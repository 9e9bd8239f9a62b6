package netconn

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// They bound the calls of ReadNow and WriteNow that go past the Go scheduler: for a
// small message its book-keeping is a good part of them, and it takes the processor from
// a goroutine whose ordinary call lasts more than 20 us. Of many bytes it has to know.
const (
	briefBytes = 16 << 10
	briefRead  = 32 << 10 // a read only copies
)

// ReadNow reads what there is, as unix.Read does of a non-blocking socket; fd is what
// SyscallConn's functions are given. EINTR does not occur.
func ReadNow(fd uintptr, p []byte) (int, error) {
	if len(p) > briefRead {
		return now(fd, p, unix.Read)
	}
	return brief(unix.SYS_RECVFROM, fd, p, unix.MSG_DONTWAIT)
}

// WriteNow writes what there is room for, likewise.
func WriteNow(fd uintptr, p []byte) (int, error) {
	if len(p) > briefBytes {
		return now(fd, p, unix.Write)
	}
	return brief(unix.SYS_SENDTO, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

func brief(call, fd uintptr, p []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return -1, errno
	}
}
