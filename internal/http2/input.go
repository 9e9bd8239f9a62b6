package http2

import (
	"io"
	"sync"
	"sync/atomic"
)

// Bytes are read into a small buffer while little comes, and into a large one when that
// was filled.
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
	buf   []byte // nil, or as long as one of the pools' arrays
	total atomic.Uint64
	r, w  int  // 0 <= r <= w <= len(buf): buf[r:w] is to be parsed
	full  bool // the last read filled the buffer
	small int  // how many reads in a row would have had room in a small buffer
}

func (in *input) bytes() []byte { return in.buf[in.r:in.w] }

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
	in.makeRoom(n)
	m, err := in.conn.Read(in.buf[in.w:])
	if m > 0 {
		in.w += m
		in.total.Add(uint64(m))
		in.full = in.w == len(in.buf)
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

// makeRoom brings r to the front, in a buffer of the size that fits.
func (in *input) makeRoom(n int) {
	large := n > smallInput || in.full || len(in.buf) == largeInput && in.small < 8
	want := smallInput
	if large {
		want = largeInput
	}
	if len(in.buf) == want || len(in.buf) > want && in.w > in.r {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
		return
	}
	old, r, w := in.buf, in.r, in.w
	if large {
		in.buf = largeInputs.Get().(*[largeInput]byte)[:]
	} else {
		in.buf = smallInputs.Get().(*[smallInput]byte)[:]
	}
	in.r, in.w = 0, copy(in.buf, old[r:w])
	free(old)
}

// close gives the buffer back.
func (in *input) close() {
	free(in.buf)
	in.buf, in.r, in.w = nil, 0, 0
}

func free(buf []byte) {
	switch len(buf) {
	case smallInput:
		smallInputs.Put((*[smallInput]byte)(buf))
	case largeInput:
		largeInputs.Put((*[largeInput]byte)(buf))
	}
}

// maxDiscard bounds what is read of a peer that never stops.
const maxDiscard = 4 << 20

// discard reads until the connection ends or its deadline passes.
func (in *input) discard() {
	for n := 0; n < maxDiscard; n += in.w {
		in.r, in.w = 0, 0
		if in.fill(1) != nil {
			return
		}
	}
}
