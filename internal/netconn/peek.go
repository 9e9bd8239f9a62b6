package netconn

import (
	"io"

	"golang.org/x/sys/unix"
)

// Peek waits until more than seen bytes have arrived and copies the first of them
// into p, without consuming any; call it first with 0, then with what it returned.
// The n bytes are good beside an error, too, which tells why there are no more: as
// for Read, or io.ErrShortBuffer when p is full. It waits for the arrival of bytes,
// not for their presence, so it does not spin.
func (s *Socket) Peek(p []byte, seen int) (n int, err error) {
	rc, err := s.SyscallConn()
	if err != nil {
		return 0, err
	}
	if seen >= len(p) {
		return len(p), io.ErrShortBuffer
	}
	var end error
	err = rc.Read(func(fd uintptr) (done bool) {
		n, end, done = peek(int(fd), p, seen)
		return done
	})
	if err == nil {
		err = end
	}
	if err != nil && err != io.EOF {
		err = s.opError("read", err)
	}
	return n, err
}

func peek(fd int, p []byte, seen int) (n int, err error, done bool) {
	ended := pollFD(fd, 0) // before the bytes: none can come after the end was seen
	have := arrived(fd)
	switch {
	case ended.Failed && have == 0:
		return 0, unix.ECONNRESET, true // and the error is left for Read
	case !ended.Failed && !ended.FIN && 0 <= have && have <= seen:
		return 0, nil, false // not copied until it is what is waited for
	}
	for n, _, err = unix.Recvfrom(fd, p, unix.MSG_PEEK); err == unix.EINTR; {
		n, _, err = unix.Recvfrom(fd, p, unix.MSG_PEEK)
	}
	switch {
	case err == unix.EAGAIN:
		return 0, nil, false
	case err != nil:
		return 0, err, true
	case n > seen:
		return n, nil, true
	case ended.Failed:
		return n, unix.ECONNRESET, true
	case ended.FIN || n == 0:
		return n, io.EOF, true
	}
	return n, nil, false
}

func arrived(fd int) int {
	n, err := unix.IoctlGetInt(fd, inqueue)
	if err != nil {
		return -1
	}
	return n
}
