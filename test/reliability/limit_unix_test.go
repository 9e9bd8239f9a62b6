//go:build unix

package reliability

import "syscall"

// descriptors is how many files a process may have open.
func descriptors() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1000
	}
	return int(min(l.Cur, 1<<20))
}
