package http2

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
)

// Bytes are read into a large buffer where none is held while nothing comes; else into a
// small one while little comes, and into a large one when that was filled.
const (
	smallInput = 4 << 10
	largeInput = 32 << 10
)

var (
	smallInputs = sync.Pool{New: func() any { return new([smallInput]byte) }}
	largeInputs = sync.Pool{New: func() any { return new([largeInput]byte) }}
)

// An input holds what was read from a connection and not been parsed.
type input struct {
	conn  io.Reader
	sock  syscall.RawConn       // nil: not a socket
	try   func(fd uintptr) bool // attempt, made once
	pipe  chunkReader           // nil: not a pipe
	chunk *pipe.Chunk           // what buf is part of; nil: it is of a pool
	buf   []byte                // nil: none is held
	r, w  int                   // 0 <= r <= w <= len(buf): buf[r:w] is to be parsed
	want  int                   // how many bytes from r on must have room
	got   struct {
		n   int
		err error
	} // by attempt
	full  bool // the last read filled the buffer
	small int  // how many reads in a row would have had room in a small buffer
	total atomic.Uint64
}

// A chunkReader gives away what was sent in the pieces in which it is.
type chunkReader interface {
	ReadChunk() (*pipe.Chunk, error)
}

func (in *input) init(c io.Reader) {
	in.conn = c
	in.pipe, _ = c.(chunkReader)
	if s, ok := c.(syscall.Conn); ok {
		in.sock, _ = s.SyscallConn()
		in.try = in.attempt
	}
}

// need waits until n bytes are there, n no larger than a frame, and returns them and
// what follows.
func (in *input) need(n int) ([]byte, error) {
	for in.w-in.r < n {
		if err := in.fill(n); err != nil {
			return nil, err
		}
	}
	return in.buf[in.r:in.w], nil
}

// fill reads once, where at least n bytes from r on have room.
func (in *input) fill(n int) error {
	in.want = n
	m, err := in.read()
	if m > 0 {
		in.w += m
		in.total.Add(uint64(m))
		in.full = in.chunk == nil && in.w == len(in.buf)
		in.small++
		if m > smallInput/2 {
			in.small = 0
		}
		return nil
	}
	if err == nil || err == io.EOF && in.w > in.r {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (in *input) read() (int, error) {
	switch {
	case in.sock != nil:
		in.got.n, in.got.err = 0, nil
		if err := in.sock.Read(in.try); err != nil {
			return 0, err
		}
		return in.got.n, in.got.err
	case in.pipe != nil && in.r == in.w:
		return in.readChunk()
	}
	in.makeRoom()
	return in.conn.Read(in.buf[in.w:])
}

// readChunk takes what is sent over a pipe where it lies.
func (in *input) readChunk() (int, error) {
	in.release()
	k, err := in.pipe.ReadChunk()
	if err != nil {
		return 0, err
	}
	in.chunk, in.buf = k, k.Bytes()
	return len(in.buf), nil
}

// attempt reads a socket. It costs no further system call: package net's Read, too, tries
// first and waits then.
func (in *input) attempt(fd uintptr) bool {
	in.makeRoom()
	n, err := netconn.ReadNow(fd, in.buf[in.w:])
	switch {
	case err == unix.EAGAIN:
		in.rest()
		return false
	case err != nil:
		in.got.err = os.NewSyscallError("read", err)
	case n == 0:
		in.got.err = io.EOF
	}
	in.got.n = max(n, 0)
	return true
}

// rest holds as little as can be while a socket is waited for.
func (in *input) rest() {
	switch left := in.w - in.r; {
	case left == 0:
		in.release()
	case len(in.buf) == largeInput && max(left, in.want) <= smallInput:
		in.move(smallInputs.Get().(*[smallInput]byte)[:])
		in.full, in.small = false, 8
	}
}

// makeRoom brings r to the front, in a buffer of the size that fits.
func (in *input) makeRoom() {
	large := in.want > smallInput || in.full || len(in.buf) == largeInput && in.small < 8 ||
		in.sock != nil && in.r == in.w
	size := smallInput
	if large {
		size = largeInput
	}
	if in.chunk == nil && (len(in.buf) == size || len(in.buf) > size && in.w > in.r) {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
		return
	}
	if large {
		in.move(largeInputs.Get().(*[largeInput]byte)[:])
	} else {
		in.move(smallInputs.Get().(*[smallInput]byte)[:])
	}
}

// move goes on in another buffer, with what is to be parsed.
func (in *input) move(to []byte) {
	n := copy(to, in.buf[in.r:in.w])
	in.release()
	in.buf, in.w = to, n
}

// release gives the buffer back.
func (in *input) release() {
	switch {
	case in.chunk != nil:
		in.chunk.Free()
	case len(in.buf) == smallInput:
		smallInputs.Put((*[smallInput]byte)(in.buf))
	case len(in.buf) == largeInput:
		largeInputs.Put((*[largeInput]byte)(in.buf))
	}
	in.chunk, in.buf, in.r, in.w = nil, nil, 0, 0
}

// maxDiscard bounds what is read of a peer that never stops.
const maxDiscard = 4 << 20

// discard reads until the connection ends or its deadline passes, and returns which; nil:
// the peer sends too much.
func (in *input) discard() error {
	for n := 0; n < maxDiscard; n += in.w {
		in.r = in.w
		if err := in.fill(1); err != nil {
			return err
		}
	}
	return nil
}
