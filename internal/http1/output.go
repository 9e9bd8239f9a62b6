package http1

import (
	"sync/atomic"
	"syscall"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// copyBytes is how much is rather copied behind what waits to be written than passed to
// the system as a piece of its own.
const copyBytes = 4 << 10

// spareBytes is room in a full buffer for what is appended past write: a chunk's line.
const spareBytes = 64

// An output is the direction to the peer. One goroutine at a time uses it.
type output struct {
	conn  Conn
	buf   []byte // what was held back; nil: no buffer is held
	err   error  // final
	sock  *rawWriter
	pipe  chunkWriter      // nil: not a pipe
	chunk *pipe.Chunk      // what buf is the room of; nil: it is not
	line  [spareBytes]byte // what was held back, where that is little before a large piece
	iov   [3][]byte
	end   []byte        // the tail of write, as bytes
	total atomic.Uint64 // bytes written
}

// A chunkWriter takes chunks over as they are.
type chunkWriter interface{ WriteChunk(*pipe.Chunk) error }

func (o *output) init(c Conn) {
	o.conn = c
	o.pipe, _ = c.(chunkWriter)
	if s, ok := c.(syscall.Conn); ok {
		o.sock = newRawWriter(s)
	}
}

// room returns the buffer to append to; keep takes back what became of it. That of a pipe
// is what the peer will read.
func (o *output) room() []byte {
	switch {
	case o.buf != nil:
	case o.pipe != nil:
		o.chunk = pipe.NewChunk(pipe.SmallChunkBytes)
		o.buf = o.chunk.Room()[:0]
	default:
		o.buf = takeBuffer(false)[:0]
	}
	return o.buf
}

func (o *output) keep(b []byte) {
	if o.chunk != nil && cap(b) != cap(o.buf) { // it did not fit
		o.chunk.Free()
		o.chunk = nil
	}
	o.buf = b
}

// pending is how many bytes are held back.
func (o *output) pending() int { return len(o.buf) }

// write sends p behind what was held back, and tail behind that; small pieces may be
// held back, too.
func (o *output) write(p []byte, tail string) error {
	if len(p) <= copyBytes && len(o.room())+len(p)+len(tail) <= min(cap(o.buf), smallBytes)-spareBytes {
		o.buf = append(append(o.buf, p...), tail...)
		return nil
	}
	if o.err != nil {
		return o.err
	}
	held := len(o.buf) + len(p) + len(tail)
	if o.err = o.send(p, tail); o.err == nil {
		o.total.Add(uint64(held))
	}
	o.give()
	return o.err
}

// send writes what was held back, p and tail.
func (o *output) send(p []byte, tail string) error {
	o.end = append(o.end[:0], tail...)
	if o.chunk != nil {
		if err := o.sendChunk(); err != nil {
			return err
		}
	}
	if o.sock == nil {
		return o.sendEach(p, o.end)
	}
	held := o.buf
	if len(p) > 0 && len(held) <= len(o.line) {
		// A chunk's line: a peer that takes nothing does not keep a whole buffer for it.
		held = o.line[:copy(o.line[:], held)]
		o.give()
	}
	pieces := o.iov[:0]
	for _, b := range [...][]byte{held, p, o.end} {
		if len(b) > 0 {
			pieces = append(pieces, b)
		}
	}
	err := o.sock.write(pieces)
	o.iov = [3][]byte{}
	return err
}

// sendChunk sends what was held back where it lies.
func (o *output) sendChunk() error {
	k := o.chunk
	k.Extend(len(o.buf))
	o.chunk, o.buf = nil, nil
	return o.pipe.WriteChunk(k)
}

func (o *output) sendEach(p, tail []byte) error {
	for _, b := range [...][]byte{o.buf, p, tail} {
		if len(b) == 0 {
			continue
		}
		if _, err := o.conn.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// flush sends what was held back.
func (o *output) flush() error {
	if o.err != nil || len(o.buf) == 0 {
		return o.err
	}
	held := len(o.buf)
	if o.err = o.send(nil, ""); o.err == nil {
		o.total.Add(uint64(held))
	}
	o.give()
	return o.err
}

func (o *output) give() {
	switch {
	case o.chunk != nil:
		o.chunk.Free()
	case o.buf != nil:
		giveBuffer(o.buf)
	}
	o.chunk, o.buf = nil, nil
}

// close gives the buffer back; nothing is written any more.
func (o *output) close() {
	o.give()
	if o.err == nil {
		o.err = errClosed
	}
}
