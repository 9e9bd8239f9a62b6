package http1

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// An input is the direction from the peer. One goroutine at a time uses it.
type input struct {
	conn Conn
	buf  []byte // nil: none is held
	r, w int    // what was read and not used yet is buf[r:w]
	err  error  // how the direction ended; what was read before is good

	// stream asks for large buffers: the last read filled the one there was, or the last
	// message did not fit into a small one.
	stream bool
	small  bool          // large buffers are beyond the limit
	total  atomic.Uint64 // bytes read
	rested uint64        // of them, those before this message

	sock  *rawReader  // nil: not a socket
	pipe  chunkReader // nil: not a pipe
	chunk *pipe.Chunk // what buf is part of; nil: it is not
}

// A chunkReader gives away what was sent in the pieces in which it is.
type chunkReader interface {
	ReadChunk() (*pipe.Chunk, error)
}

// leastBytes is room for the part of a head, or of a chunk's line, that waits for its
// rest: a peer that keeps many connections so shall not have many buffers.
const leastBytes = 2 << 10

// init begins with a connection. limit is the most bytes to hold where that can be chosen;
// 0: no limit.
func (in *input) init(c Conn, limit int) {
	in.conn, in.small = c, limit > 0 && limit < largeBytes
	in.pipe, _ = c.(chunkReader)
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
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return in.took(n, err)
}

// took notes what a read returned.
func (in *input) took(n int, err error) error {
	if n > 0 {
		in.stream = !in.small && in.w+n == len(in.buf) && len(in.buf) >= smallBytes && in.chunk == nil
		in.w += n
		in.total.Add(uint64(n))
		return nil
	}
	if err != nil && !isTimeout(err) {
		in.err = err
	}
	return err
}

// read waits with a buffer only where it must.
func (in *input) read() (int, error) {
	switch {
	case in.sock != nil:
		return in.sock.read()
	case in.pipe != nil && in.empty():
		return in.readChunk()
	}
	in.take()
	return in.conn.Read(in.buf[in.w:])
}

// readChunk takes what is sent over a pipe where it lies.
func (in *input) readChunk() (int, error) {
	in.release(true)
	k, err := in.pipe.ReadChunk()
	if err != nil {
		return 0, err
	}
	in.chunk, in.buf = k, k.Bytes()
	return len(in.buf), nil
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
	if in.r > 0 && in.chunk == nil {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
		return
	}
	in.move(grown(in.buffered()))
}

// move goes on in another buffer, and gives the old one back.
func (in *input) move(to []byte) {
	n := copy(to, in.unread())
	in.release(true)
	in.buf, in.w = to, n
}

// shrink is called before waiting with a part of something.
func (in *input) shrink() {
	if len(in.buf) >= smallBytes && in.buffered() <= leastBytes/2 {
		in.move(make([]byte, leastBytes))
	}
}

// grown returns a buffer for more than n bytes.
func grown(n int) []byte {
	switch {
	case n < leastBytes/2:
		return make([]byte, leastBytes)
	case n < smallBytes/2:
		return takeBuffer(false)
	case n < largeBytes:
		return takeBuffer(true)
	}
	return make([]byte, 2*n)
}

// release forgets the place in an empty buffer, and gives the buffer back if asked to.
func (in *input) release(give bool) {
	in.r, in.w = 0, 0
	switch {
	case in.chunk != nil: // it has room for nothing else
		in.chunk.Free()
		in.chunk, in.buf = nil, nil
	case give && in.buf != nil:
		giveBuffer(in.buf)
		in.buf = nil
	}
}

// rest gives the buffer back between messages, unless there is something in it. Messages
// on a connection are often of the same size.
func (in *input) rest() {
	total := in.total.Load()
	in.stream = !in.small && total-in.rested > smallBytes
	in.rested = total
	in.idle()
}

// idle gives the buffer back where nothing is in it.
func (in *input) idle() {
	if in.empty() {
		in.release(true)
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
	p, ok := in.conn.(interface{ Buffered() (in, out int) })
	if !ok {
		return false
	}
	n, _ := p.Buffered()
	return n > 0 || peerClosed(in.conn)
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
