package netconn

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A hangupPoll is an epoll that is itself in the poller of the Go runtime, so that no
// thread waits in it.
type hangupPoll struct {
	file *os.File
	raw  syscall.RawConn
	done chan struct{} // closed when run has ended
}

func newHangupPoll() (*hangupPoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or os.NewFile keeps it out of the poller
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	f := os.NewFile(uintptr(fd), "epoll")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &hangupPoll{f, raw, make(chan struct{})}, nil
}

// add registers a socket for its peer's end alone: edges of what was not asked for are
// dropped where they arise, so data costs next to nothing.
func (p *hangupPoll) add(fd int, id uint64) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{
		Events: unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(id), Pad: int32(id >> 32),
	})
}

func (p *hangupPoll) remove(fd int) error { return p.control(unix.EPOLL_CTL_DEL, fd, nil) }

func (p *hangupPoll) control(op, fd int, e *unix.EpollEvent) (err error) {
	if cerr := p.raw.Control(func(at uintptr) { err = unix.EpollCtl(int(at), op, fd, e) }); cerr != nil {
		return cerr
	}
	return os.NewSyscallError("epoll_ctl", err)
}

// run calls f with the id of each socket whose peer has ended its direction, or which is
// over in both, until close.
func (p *hangupPoll) run(f func(id uint64, both bool)) {
	defer close(p.done)
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := p.raw.Read(func(at uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(at), events, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil || n < 0 {
			return
		}
		for _, e := range events[:n] {
			f(uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32, e.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0)
		}
	}
}

func (p *hangupPoll) close() {
	p.file.Close()
	<-p.done
}
