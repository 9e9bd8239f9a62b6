package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A loop waits for sockets and calls ready for each event. Its system calls do not
// tell Go's scheduler: the children that use it keep few goroutines, fewer than
// GOMAXPROCS, and never collect garbage.
type loop struct {
	epoll int
	stop  atomic.Bool
}

// A tag is what an event brings along.
type tag struct{ id, mode int32 }

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &loop{epoll: fd}, nil
}

// watch asks for events of fd, level-triggered. Watching again replaces the tag.
func (l *loop) watch(op, fd int, events uint32, t tag) error {
	return unix.EpollCtl(l.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: t.id, Pad: t.mode})
}

// latestStop bounds how long a loop without events takes to see that it is to stop.
const latestStop = 20 // ms

// run serves events until the loop is stopped or ready fails; it closes the epoll
// descriptor, not the sockets.
func (l *loop) run(ready func(t tag, events uint32) error) error {
	defer unix.Close(l.epoll)
	var events [256]unix.EpollEvent
	for !l.stop.Load() {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), latestStop, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("epoll_pwait: %w", errno)
		}
		if errno != 0 {
			continue
		}
		for _, e := range events[:n] {
			if err := ready(tag{e.Fd, e.Pad}, e.Events); err != nil {
				return err
			}
		}
	}
	return nil
}

// The calls below are for sockets that do not block.

func read(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return count(n, errno)
}

func write(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	return count(n, errno)
}

// discard reads up to a megabyte without looking: the kernel drops it uncopied.
func discard(fd int) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 1<<20, unix.MSG_TRUNC, 0, 0)
	return count(n, errno)
}

func count(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// later tells an error that means "not now" from one that is meant.
func later(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EINPROGRESS)
}
