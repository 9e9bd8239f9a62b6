package netconn

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// inNamespace calls f in the network namespace of a file. The thread that has entered it
// does nothing else: it ends with its goroutine, which never lets go of it.
func inNamespace(path string, f func() (int, error)) (fd int, err error) {
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &namespaceError{"open", path, err}
	}
	defer unix.Close(ns)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			fd, err = -1, &namespaceError{"enter", path, err}
			return
		}
		fd, err = f()
	}()
	<-done
	return fd, err
}
