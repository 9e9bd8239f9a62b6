package netconn

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// briefBytes bounds the calls that go past the Go scheduler. Its book-keeping is a good
// part of a small message; and from a goroutine whose ordinary call lasts more than 20 us,
// as one of 64 KiB may, it takes the processor and wakes a thread for it. None of these
// calls waits, so nobody else gets the processor any sooner: 64 KiB through HTTP/1 cost
// half as much again with ordinary calls.
const briefBytes = 256 << 10

// ReadNow reads what there is, as unix.Read does of a non-blocking socket; fd is what
// SyscallConn's functions are given. EINTR does not occur.
func ReadNow(fd uintptr, p []byte) (int, error) {
	if len(p) > briefBytes {
		return now(fd, p, unix.Read)
	}
	for {
		if n, errno := brief(unix.SYS_RECVFROM, fd, p, unix.MSG_DONTWAIT); errno != unix.EINTR {
			return int(n), orNil(errno)
		}
	}
}

// WriteNow writes what there is room for, likewise.
func WriteNow(fd uintptr, p []byte) (int, error) {
	if len(p) > briefBytes {
		return now(fd, p, unix.Write)
	}
	for {
		if n, errno := brief(unix.SYS_SENDTO, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); errno != unix.EINTR {
			return int(n), orNil(errno)
		}
	}
}

// brief is short enough to be inlined: a level of calls above a system call costs 10 ns.
func brief(call, fd uintptr, p []byte, flags uintptr) (uintptr, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
	return n, errno
}

// WriteAllNow writes what there is room for of up to three pieces, of at most briefBytes
// or so in all, likewise.
func WriteAllNow(fd uintptr, pieces [][]byte) (int, error) {
	if len(pieces) == 1 {
		return WriteNow(fd, pieces[0])
	}
	var all [3]unix.Iovec
	for i, p := range pieces {
		all[i].Base = unsafe.SliceData(p)
		all[i].SetLen(len(p))
	}
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&all)), uintptr(len(pieces)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return -1, errno
	}
}
