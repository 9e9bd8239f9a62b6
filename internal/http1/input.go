package http1

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"time"
)

// An input is the direction from the peer. One goroutine at a time uses it.
type input struct {
	conn Conn
	buf  []byte // nil: none is held
	r, w int    // what was read and not used yet is buf[r:w]
	err  error  // how the direction ended; what was read before is good

	// stream asks for large buffers: the last read filled the one there was.
	stream bool
	total  atomic.Uint64 // bytes read

	sock  *rawReader // nil: not a socket
	sleep sleeper    // nil: cannot wait without a buffer
}

// A sleeper waits until there is something to read, without a buffer to read it into.
type sleeper interface{ WaitReadable() error }

func (in *input) init(c Conn) {
	in.conn = c
	in.sleep, _ = c.(sleeper)
	if s, ok := c.(syscall.Conn); ok {
		in.sock = newRawReader(s, in)
	}
}

func (in *input) empty() bool          { return in.r == in.w }
func (in *input) buffered() int        { return in.w - in.r }
func (in *input) unread() []byte       { return in.buf[in.r:in.w] }
func (in *input) consume(n int)        { in.r += n }
func (in *input) deadline(t time.Time) { _ = in.conn.SetReadDeadline(t) }

// fill waits for more bytes behind those that are there. What was there may move. The
// error, but for a deadline, is final.
func (in *input) fill() error {
	if in.err != nil {
		return in.err
	}
	if in.empty() {
		in.release(in.stream && len(in.buf) < largeBytes)
	} else {
		in.makeRoom()
	}
	n, err := in.read()
	if n > 0 {
		in.stream = in.w+n == len(in.buf)
		in.w += n
		in.total.Add(uint64(n))
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if !isTimeout(err) {
		in.err = err
	}
	return err
}

// read waits with a buffer only where it must.
func (in *input) read() (int, error) {
	switch {
	case in.sock != nil:
		return in.sock.read()
	case in.sleep != nil && in.buf == nil:
		if err := in.sleep.WaitReadable(); err != nil {
			return 0, err
		}
	}
	in.take()
	return in.conn.Read(in.buf[in.w:])
}

func (in *input) take() {
	if in.buf == nil {
		in.buf = takeBuffer(in.stream)
	}
}

// makeRoom sees to it that there is room behind the bytes of an input that is not empty.
func (in *input) makeRoom() {
	if in.w < len(in.buf) {
		return
	}
	old := in.buf
	if in.r == 0 {
		in.buf = grown(len(old))
	}
	in.w = copy(in.buf, old[in.r:in.w])
	in.r = 0
	if &old[0] != &in.buf[0] {
		giveBuffer(old)
	}
}

func grown(n int) []byte {
	if n < largeBytes {
		return takeBuffer(true)
	}
	return make([]byte, 2*n)
}

// release forgets the place in an empty buffer, and gives the buffer back if asked to.
func (in *input) release(give bool) {
	in.r, in.w = 0, 0
	if give && in.buf != nil {
		giveBuffer(in.buf)
		in.buf = nil
	}
}

// stirs reports whether a connection on which nothing is expected has something to read,
// be it an end. It does not wait, and costs a system call; a connection on which nothing
// has been received yet is not asked.
func (in *input) stirs() bool {
	if in.total.Load() == 0 {
		return false
	}
	if in.sock != nil {
		return in.sock.poll()
	}
	p, ok := in.conn.(interface {
		Buffered() (in, out int)
		PeerClosed() bool
	})
	if !ok {
		return false
	}
	n, _ := p.Buffered()
	return n > 0 || p.PeerClosed()
}

// rest gives the buffer back between messages, unless there is something in it.
func (in *input) rest() {
	if in.empty() {
		in.release(true)
	}
}

// close gives the buffer back; nothing is read any more.
func (in *input) close() {
	in.r, in.w = 0, 0
	in.release(true)
	if in.err == nil {
		in.err = errClosed
	}
}

var (
	past  = time.Unix(1, 0)
	never time.Time
)

var errClosed = errors.New("http1: the connection is closed")

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
