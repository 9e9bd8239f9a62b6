package netconn

import "golang.org/x/sys/unix"

// Events is what poll(2) says about a socket at this moment.
type Events struct {
	Writable bool
	FIN      bool // the peer has ended its direction; bytes may still wait to be read
	Dead     bool // both directions are over
	Failed   bool // an error, most often a reset, waits to be read; on macOS it shows as Dead alone
}

// Poll asks without waiting. fd is what SyscallConn's functions are given.
func Poll(fd uintptr) Events { return pollFD(int(fd), 0) }

func pollFD(fd, millis int) Events {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT | pollFIN}}
	for {
		_, err := unix.Poll(p[:], millis)
		if err != unix.EINTR {
			break
		}
	}
	r := p[0].Revents
	return Events{
		Writable: r&unix.POLLOUT != 0,
		FIN:      r&(pollFIN|unix.POLLHUP|unix.POLLERR) != 0,
		Dead:     r&unix.POLLHUP != 0 && hungUp(fd),
		Failed:   r&unix.POLLERR != 0,
	}
}

// Poll asks the socket without waiting; a closed one is Dead.
func (s *Socket) Poll() (e Events) {
	if s.control(func(fd int) error { e = pollFD(fd, 0); return nil }) != nil {
		return Events{FIN: true, Dead: true}
	}
	return e
}

// Ended reports whether the peer has ended its direction and nothing of what it sent is
// left to be read, or whether it has reset the connection; a closed socket is neither.
func (s *Socket) Ended() (gone, reset bool) {
	_ = s.control(func(fd int) error {
		e := pollFD(fd, 0)
		reset = e.Failed
		gone = e.FIN && !reset && arrived(fd) == 0
		return nil
	})
	return gone, reset
}

// PeerReset reports whether the peer has reset the connection and nobody has met the error
// yet.
func (s *Socket) PeerReset() bool {
	_, reset := s.Ended()
	return reset
}

func discardCopying(fd int) int {
	var scratch [4096]byte
	for {
		n, _, err := unix.Recvfrom(fd, scratch[:], unix.MSG_DONTWAIT)
		switch err {
		case nil:
			return n
		case unix.EINTR:
			continue
		}
		return -1
	}
}

// now repeats a call that a signal has interrupted.
func now(fd uintptr, p []byte, call func(int, []byte) (int, error)) (int, error) {
	for {
		n, err := call(int(fd), p)
		if err != unix.EINTR {
			return n, err
		}
	}
}
