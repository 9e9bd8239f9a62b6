package http2

import (
	"sync"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A piece is bytes of a body that have come.
type piece struct {
	buf   []byte
	w     int         // buf[:w] is filled
	chunk *pipe.Chunk // what buf is a part of; nil: it is the piece's
	next  *piece
}

// Sizes of pieces. Of those of a stalled stream the first may have been taken before it was
// full, and the last is not larger than what can still come needs: what it holds beyond the
// bytes it was sent is hardly more than a middle one.
const (
	smallPiece  = 1 << 10
	middlePiece = 8 << 10
	largePiece  = 16 << 10
)

var (
	smallPieces  = sync.Pool{New: func() any { return &piece{buf: make([]byte, smallPiece)} }}
	middlePieces = sync.Pool{New: func() any { return &piece{buf: make([]byte, middlePiece)} }}
	largePieces  = sync.Pool{New: func() any { return &piece{buf: make([]byte, largePiece)} }}
	lentPieces   = sync.Pool{New: func() any { return new(piece) }}
)

// What comes over a pipe is passed on where it lies, if it is leastLent bytes or more, in up
// to maxLent pieces of a connection that were not read yet: each keeps all of its chunk, of
// which others may have been read.
const (
	leastLent = 8 << 10
	maxLent   = 8
)

// lentPiece returns the part p of a chunk as a piece.
func lentPiece(k *pipe.Chunk, p []byte) *piece {
	k.Share()
	l := lentPieces.Get().(*piece)
	l.chunk, l.buf, l.w = k, p[:len(p):len(p)], len(p)
	return l
}

// newPiece returns one for n bytes, or for as many of them as the largest takes.
func newPiece(n int64) *piece {
	switch {
	case n <= smallPiece:
		return smallPieces.Get().(*piece)
	case n <= middlePiece:
		return middlePieces.Get().(*piece)
	}
	return largePieces.Get().(*piece)
}

func (k *piece) bytes() []byte { return k.buf[:k.w] }

func (k *piece) free() {
	k.w, k.next = 0, nil
	switch {
	case k.chunk != nil:
		k.chunk.Free()
		k.chunk, k.buf = nil, nil
		lentPieces.Put(k)
	case len(k.buf) == smallPiece:
		smallPieces.Put(k)
	case len(k.buf) == middlePiece:
		middlePieces.Put(k)
	default:
		largePieces.Put(k)
	}
}

// pieces are a queue of them.
type pieces struct{ first, last *piece }

// append copies p into the queue, behind which about more bytes may come before any are
// read. It reports whether the queue was empty.
func (q *pieces) append(p []byte, more int64) (first bool) {
	first = q.first == nil
	for len(p) > 0 {
		if q.last == nil || q.last.w == len(q.last.buf) {
			n := int64(len(p))
			if q.last != nil {
				n += more
			}
			q.push(newPiece(n))
		}
		n := copy(q.last.buf[q.last.w:], p)
		q.last.w += n
		p = p[n:]
	}
	return first
}

func (q *pieces) push(k *piece) {
	if q.last == nil {
		q.first = k
	} else {
		q.last.next = k
	}
	q.last = k
}

func (q *pieces) pop() *piece {
	k := q.first
	if q.first = k.next; q.first == nil {
		q.last = nil
	}
	k.next = nil
	return k
}
