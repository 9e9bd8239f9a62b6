//go:build !linux

package netconn

import "golang.org/x/sys/unix"

// ReadNow reads what there is, as unix.Read does of a non-blocking socket; fd is what
// SyscallConn's functions are given. EINTR does not occur.
func ReadNow(fd uintptr, p []byte) (int, error) { return now(fd, p, unix.Read) }

// WriteNow writes what there is room for, likewise.
func WriteNow(fd uintptr, p []byte) (int, error) { return now(fd, p, unix.Write) }

// WriteAllNow writes what there is room for of up to three pieces, likewise.
func WriteAllNow(fd uintptr, pieces [][]byte) (int, error) {
	for {
		n, err := unix.Writev(int(fd), pieces)
		if err != unix.EINTR {
			return n, err
		}
	}
}
