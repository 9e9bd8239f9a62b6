package pipe

import (
	"sync"
	"sync/atomic"
)

// Chunks come in two sizes: a small one so that a stray message does not pin
// 64 KiB, a large one because fewer hand-offs are cheaper for streams.
const (
	SmallChunkBytes = 4 << 10
	LargeChunkBytes = 64 << 10
)

// A Chunk is a piece of a stream in pooled memory. It has one owner at a time,
// who hands it over with [Conn.WriteChunk] or gives it back with Free, and does
// not touch it or any slice of it afterwards; Share makes more of them.
type Chunk struct {
	next   *Chunk // the chunk behind this one while it is queued
	buf    []byte
	r, w   int // 0 <= r <= w <= len(buf); the bytes are buf[r:w]
	free   bool
	shares atomic.Int32 // owners beyond the first
}

// The counts have a cache line each: streams take chunks on one core and give
// them back on another.
var chunks struct {
	small, large sync.Pool
	_            [64]byte
	taken        atomic.Int64
	_            [56]byte
	returned     atomic.Int64
	_            [56]byte
}

// ChunksInUse is the number of chunks of the whole process that are queued in
// a pair or owned by someone. It is 0 when everything is closed, else a chunk
// leaked; it is exact only while nothing is taken or freed.
func ChunksInUse() int64 { return chunks.taken.Load() - chunks.returned.Load() }

// NewChunk returns an empty chunk for n bytes: of SmallChunkBytes where they
// fit, of LargeChunkBytes else, however large n is. The caller owns it.
func NewChunk(n int) *Chunk {
	pool, size := &chunks.small, SmallChunkBytes
	if n > SmallChunkBytes {
		pool, size = &chunks.large, LargeChunkBytes
	}
	chunks.taken.Add(1)
	k, _ := pool.Get().(*Chunk)
	if k == nil {
		return &Chunk{buf: make([]byte, size)}
	}
	k.free = false
	return k
}

// Share makes one more owner, who reads a part of the bytes and calls Free, too. A shared
// chunk is changed by nobody, nor handed over.
func (k *Chunk) Share() { k.shares.Add(1) }

// Free gives the chunk back, when all of its owners have. Freeing it twice is a bug of
// the caller, and panics where it can be seen.
func (k *Chunk) Free() {
	if k.shares.Load() > 0 {
		if k.shares.Add(-1) >= 0 {
			return
		}
		k.shares.Store(0)
	}
	if k.free {
		panic("pipe: chunk freed twice")
	}
	k.next, k.r, k.w, k.free = nil, 0, 0, true
	chunks.returned.Add(1)
	if len(k.buf) == LargeChunkBytes {
		chunks.large.Put(k)
	} else {
		chunks.small.Put(k)
	}
}

// Bytes are the chunk's bytes; the slice is good until the chunk changes owner.
func (k *Chunk) Bytes() []byte { return k.buf[k.r:k.w] }

// Len is len(Bytes()).
func (k *Chunk) Len() int { return k.w - k.r }

// Room is the storage behind the bytes: fill a part of it, then Extend.
func (k *Chunk) Room() []byte { return k.buf[k.w:] }

// Extend makes the first n bytes of Room part of the chunk.
func (k *Chunk) Extend(n int) { k.w += len(k.buf[k.w : k.w+n]) }

// Consume drops the first n of the bytes.
func (k *Chunk) Consume(n int) { k.r += len(k.buf[k.r:k.w][:n]) }

// append copies as much of p as there is room for.
func (k *Chunk) append(p []byte) int {
	n := copy(k.buf[k.w:], p)
	k.w += n
	return n
}

// A list holds chunks in order, linked through themselves.
type list struct{ head, tail *Chunk }

func (l *list) push(k *Chunk) {
	if l.tail == nil {
		l.head = k
	} else {
		l.tail.next = k
	}
	l.tail = k
}

func (l *list) pop() *Chunk {
	k := l.head
	l.head = k.next
	if l.head == nil {
		l.tail = nil
	}
	k.next = nil
	return k
}

func (l *list) freeAll() {
	for l.head != nil {
		l.pop().Free()
	}
}
