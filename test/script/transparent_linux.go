package script

import "golang.org/x/sys/unix"

// mayBeTransparent reports whether this process, and so a proxy that it starts, may give
// sockets addresses of others.
func mayBeTransparent() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1) == nil
}
