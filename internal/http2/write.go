package http2

import (
	"runtime"
	"sync"
	"time"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

const (
	// queueLimit is how many bytes may wait for the writer before bodies wait.
	queueLimit = 64 << 10
	// flushSize is how many bytes are held back at most.
	flushSize = 16 << 10
	// outputSize is what a queue takes at first; larger ones are not kept.
	outputSize = 4 << 10
	keptOutput = 128 << 10
	// chunkLimit is how much of a chunk bodies take: what else is sent shall find room. Less
	// than leastFrame of that is no frame.
	chunkLimit = pipe.LargeChunkBytes - 2<<10
	leastFrame = 1 << 10
)

var outputs = sync.Pool{New: func() any { b := make([]byte, 0, outputSize); return &b }}

// queue returns out, ready to be appended to. It holds mu.
func (c *conn) queue() []byte {
	switch {
	case c.out != nil:
	case c.output.pipe != nil && !c.ended: // what comes later may be written by nobody
		c.chunk = pipe.NewChunk(pipe.SmallChunkBytes)
		c.out = c.chunk.Room()[:0]
	default:
		c.outBox = outputs.Get().(*[]byte)
		c.out = (*c.outBox)[:0]
	}
	c.frames[0]++
	return c.out
}

// queueData is queue for a frame with n bytes of a body: over a pipe they shall be in a
// chunk, which need not be copied. It holds mu.
func (c *conn) queueData(n int) []byte {
	p := c.queue()
	if c.chunk != nil && c.intact(p) && len(p)+frameHeaderSize+n > cap(p) && cap(p) < pipe.LargeChunkBytes {
		k := pipe.NewChunk(pipe.LargeChunkBytes)
		c.out = append(k.Room()[:0], p...)
		c.chunk.Free()
		c.chunk = k
	}
	return c.out
}

// intact reports whether p is still in the chunk that it began in: what did not fit has
// moved.
func (c *conn) intact(p []byte) bool { return cap(p) == cap(c.chunk.Room()) }

// frameRoom is how much of a body one frame may take, beyond what the peer takes: over a
// pipe, what is left of the chunk. It holds mu.
func (c *conn) frameRoom() int {
	if c.output.pipe == nil {
		return queueLimit
	}
	return max(chunkLimit-len(c.out)-frameHeaderSize, leastFrame)
}

// flush has the writer write. It holds mu.
func (c *conn) flush() {
	if !c.wake {
		c.wake = true
		c.writer.Signal()
	}
}

// full reports whether what is not an answer to a frame has to wait for the writer. It
// holds mu.
func (c *conn) full() bool {
	if c.output.pipe != nil {
		return len(c.out) > chunkLimit-frameHeaderSize-leastFrame
	}
	return len(c.out) >= queueLimit
}

// write is the connection's writer.
func (c *conn) write() {
	defer close(c.written)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for !c.wake && !c.ended {
			c.writer.Wait()
		}
		if !c.ended {
			// Whoever is about to send gets its turn first: one call then writes for all.
			c.mu.Unlock()
			runtime.Gosched()
			c.mu.Lock()
		}
		c.wake = false
		if c.out != nil {
			c.writeQueue()
		} else if c.ended {
			return
		}
	}
}

// writeQueue writes what is queued. It holds mu, but while it writes.
func (c *conn) writeQueue() {
	out, box, chunk := c.out, c.outBox, c.chunk
	if chunk != nil && !c.intact(out) {
		chunk.Free()
		chunk = nil
	}
	c.out, c.outBox, c.chunk = nil, nil, nil
	c.frames, c.controls = [2]int{0, c.frames[0]}, [2]int{0, c.controls[0]}
	dead := c.broken != nil
	c.callNext()
	c.drained.Broadcast()
	c.mu.Unlock()
	var err error
	switch {
	case dead && chunk != nil:
		chunk.Free()
	case dead:
	case chunk != nil:
		chunk.Extend(len(out))
		n := chunk.Len()
		if err = c.output.pipe.WriteChunk(chunk); err == nil {
			c.sent.Add(uint64(n))
		}
	default:
		var n int
		n, err = c.output.write(out)
		c.sent.Add(uint64(n))
	}
	if box != nil && cap(out) <= keptOutput {
		*box = out[:0]
		outputs.Put(box)
	}
	c.mu.Lock()
	c.frames[1], c.controls[1] = 0, 0
	if err != nil && c.broken == nil {
		c.broken = err
		if !c.ended {
			// What the peer sent before it went may still be read.
			_ = c.nc.SetReadDeadline(time.Now().Add(c.o.DelayedClose))
		}
	}
}

// A line is streams that wait to send DATA, in the order they came.
type line struct{ first, last *stream }

func (l *line) push(s *stream) {
	s.next, s.inLine = nil, true
	if l.last == nil {
		l.first = s
	} else {
		l.last.next = s
	}
	l.last = s
}

func (l *line) pop() *stream {
	s := l.first
	if l.first = s.next; l.first == nil {
		l.last = nil
	}
	s.next, s.inLine = nil, false
	return s
}

func (l *line) remove(s *stream) {
	if !s.inLine {
		return
	}
	for at := &l.first; *at != nil; at = &(*at).next {
		if *at == s {
			*at = s.next
			break
		}
	}
	s.next, s.inLine = nil, false
	l.last = nil
	for at := l.first; at != nil; at = at.next {
		l.last = at
	}
}

// room reports whether a stream may send DATA, as far as the connection goes. It holds mu.
func (c *conn) room() bool { return c.window > 0 && !c.full() }

// callNext has the first in the line send, if it can. It holds mu.
func (c *conn) callNext() {
	if c.line.first != nil && c.room() {
		s := c.line.pop()
		s.called = true
		s.writable.Signal()
	}
}
