package http1

import "golang.org/x/sys/unix"

// dup returns a copy of a descriptor, which os.File.Fd has made blocking.
func dup(fd int) (int, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return 0, err
	}
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
}
