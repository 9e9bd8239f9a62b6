package pump

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A breath lets a goroutine that is always ready wait, for no time, in the poller of
// the Go runtime, which is so made to look for others.
type breath struct {
	file *os.File // an eventfd
	raw  syscall.RawConn
}

func newBreath() (breath, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return breath{}, fmt.Errorf("eventfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "eventfd")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return breath{}, err
	}
	return breath{f, raw}, nil
}

func (b breath) close() { b.file.Close() }

// take returns when the poller was looked at. The write comes after the runtime has
// made ready to wait, or its edge could be lost.
func (b breath) take() {
	var n [8]byte
	waited := false
	_ = b.raw.Read(func(fd uintptr) bool {
		if waited {
			_, _ = unix.Read(int(fd), n[:])
			return true
		}
		waited = true
		n[0] = 1
		_, err := unix.Write(int(fd), n[:])
		return err != nil
	})
}
