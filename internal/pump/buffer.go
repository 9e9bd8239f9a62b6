package pump

import (
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// Reads start small and grow while they come back full: one call of 256 KiB costs
// the kernel half of what four of 64 KiB do, and a stray message should not touch
// more memory than it needs.
var bufferBytes = [...]int{16 << 10, 64 << 10, largestBytes}

// largestBytes are four writes of TLS, where a small fifth one would come often.
const largestBytes = 252 << 10

const largest = uint8(len(bufferBytes) - 1)

// buffers are the pooled memory of a group.
type buffers struct {
	pools [len(bufferBytes)]sync.Pool
	inUse atomic.Int64
}

type buffer struct {
	b     []byte
	class uint8
}

func (p *buffers) take(class uint8) *buffer {
	p.inUse.Add(1)
	if b, _ := p.pools[class].Get().(*buffer); b != nil {
		return b
	}
	return &buffer{b: make([]byte, bufferBytes[class]), class: class}
}

func (p *buffers) put(b *buffer) {
	p.inUse.Add(-1)
	p.pools[b.class].Put(b)
}

// A piece is some bytes of a stream on their way, in a buffer or in a chunk, which
// has one owner.
type piece struct {
	b     []byte
	buf   *buffer
	chunk *pipe.Chunk
}

// take holds memory for one read of f: a chunk where the bytes go to a pipe, which
// then takes it over.
func (f *flow) take() {
	if f.dst.pipe != nil {
		k := pipe.NewChunk(f.chunkBytes())
		f.held = piece{b: f.limit(k.Room()), chunk: k}
		return
	}
	buf := f.p.group.buffers.take(f.class)
	f.held = piece{b: f.limit(buf.b), buf: buf}
}

func (f *flow) chunkBytes() int {
	if f.class == 0 || int(f.p.limits.maxBytes) < pipe.LargeChunkBytes {
		return pipe.SmallChunkBytes
	}
	return pipe.LargeChunkBytes
}

func (f *flow) limit(b []byte) []byte { return b[:min(len(b), int(f.p.limits.maxBytes))] }

// filled notes that the first n bytes of what take has brought are read.
func (f *flow) filled(n int) {
	f.adapt(n, len(f.held.b))
	f.held.b = f.held.b[:n]
	if k := f.held.chunk; k != nil {
		k.Extend(n)
	}
}

// free gives back what is held, read or not.
func (f *flow) free() {
	switch in := f.held; {
	case in.chunk != nil:
		in.chunk.Free()
	case in.buf != nil:
		f.p.group.buffers.put(in.buf)
	}
	f.held = piece{}
}

// adapt chooses the size of the next read after one that brought n of room bytes.
func (f *flow) adapt(n, room int) {
	switch {
	case n == room && f.class < largest && bufferBytes[f.class] < int(f.p.limits.maxBytes):
		f.class++
	case n < room/4 && f.class > 0:
		f.class--
	}
}
