package pipe

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// maxOverBytes is how far a Write may go over the limit. Envoy: one slice.
const maxOverBytes = 16 << 10

// yieldBytes is where a writer lets the reader run before it goes on: past it
// the queue leaves a core's own cache, and copying takes 1.7 times as long.
const yieldBytes = 256 << 10

// half is one direction: a queue that one end writes and the other one reads.
//
// Invariants: bytes is the sum of the queued chunks' lengths, and no queued
// chunk is empty; writer.closed implies fin; reader.closed implies bytes == 0.
type half struct {
	limit int // > 0

	mu sync.Mutex
	// Whoever makes true what another may wait for broadcasts, and wakes the sleeper
	// if it is the reader's business. One cond serves readers and writers: the queue
	// is never empty and full at once, so they hardly ever wait together, and a
	// broadcast to nobody costs two loads.
	cond    sync.Cond
	queue   list
	bytes   int
	sleeper Sleeper // waits for what readable tells; nil: nobody
	reader  party
	writer  party
	writing bool // a write is under way, perhaps waiting for room; others wait
	fin     bool // nothing comes after the queued bytes
	reset   bool // one of the ends was reset
	// The writer has closed the connection for pair.why.
	explained bool
}

// party is what a half knows about one of its two users.
type party struct {
	closed  bool // its end was closed or reset
	expired bool // its deadline has passed
	armed   bool // timer is running or has fired with its call still under way
	timer   *time.Timer
}

func (h *half) init(limit int) {
	h.limit = limit
	h.cond.L = &h.mu
}

// readable reports whether more than seen bytes are queued, with mu held, or why
// there will not be; neither: a reader has to wait. Like a socket it looks at the
// deadline before it looks for bytes.
func (h *half) readable(seen int) (bool, error) {
	switch {
	case h.reader.closed:
		return false, net.ErrClosed
	case h.reader.expired:
		return false, os.ErrDeadlineExceeded
	case h.bytes > seen:
		return true, nil
	case h.reset:
		return false, ErrReset
	case h.fin:
		return false, io.EOF
	case h.bytes >= h.limit: // a peek for more than will ever be queued
		return false, io.ErrShortBuffer
	}
	return false, nil
}

// awaitBytes waits, with mu held, until more than seen bytes are queued.
func (h *half) awaitBytes(seen int) error {
	for {
		if ready, err := h.readable(seen); ready || err != nil {
			return err
		}
		h.cond.Wait()
	}
}

// writeErr tells why nothing can be written at all.
func (h *half) writeErr() error {
	switch {
	case h.writer.closed:
		return net.ErrClosed
	case h.writer.expired:
		return os.ErrDeadlineExceeded
	case h.reset:
		return ErrReset
	case h.fin:
		return errShutdown
	case h.reader.closed:
		return errPeerClosed
	}
	return nil
}

// beginWrite waits, with mu held, for its turn: the bytes of one write stay
// together. Without an error the caller has to clear writing, and broadcast.
func (h *half) beginWrite() error {
	for {
		if err := h.writeErr(); err != nil {
			return err
		}
		if !h.writing {
			h.writing = true
			return nil
		}
		h.cond.Wait()
	}
}

// awaitRoom waits, with mu held, until the queue is below the limit.
func (h *half) awaitRoom() error {
	for {
		if err := h.writeErr(); err != nil {
			return err
		}
		if h.bytes < h.limit {
			return nil
		}
		h.cond.Wait()
	}
}

func (h *half) write(p []byte) (n int, err error) {
	h.mu.Lock()
	if err = h.beginWrite(); err != nil {
		h.mu.Unlock()
		return 0, err
	}
	for {
		if err = h.awaitRoom(); err != nil {
			break
		}
		n += h.copyIn(p[n:])
		if n == len(p) {
			break
		}
		h.tellLocked()
	}
	h.writing = false
	var slept Sleeper
	if n > 0 {
		slept = h.rouse()
	}
	yield := h.bytes >= yieldBytes && h.bytes-n < yieldBytes
	h.mu.Unlock()
	h.tell(slept)
	if yield {
		runtime.Gosched()
	}
	return n, err
}

// copyIn queues a first part of p: into the last chunk where it has room, into
// a new one else.
func (h *half) copyIn(p []byte) (n int) {
	p = p[:min(len(p), max(h.limit-h.bytes, maxOverBytes))]
	if t := h.queue.tail; t != nil {
		n = t.append(p)
	}
	if n == 0 {
		k := NewChunk(h.chunkSize(len(p)))
		n = k.append(p)
		h.queue.push(k)
	}
	h.bytes += n
	return n
}

// chunkSize is the size of chunk to take for n bytes: only small ones where a
// large one would be over the limit.
func (h *half) chunkSize(n int) int {
	if h.limit < LargeChunkBytes {
		return SmallChunkBytes
	}
	return n
}

// put queues k and takes it over, whatever it returns.
func (h *half) put(k *Chunk) error {
	if k.Len() == 0 {
		k.Free()
		return nil
	}
	h.mu.Lock()
	err := h.beginWrite()
	if err == nil {
		err = h.awaitRoom()
		h.writing = false
	}
	taken := err == nil && h.enqueue(k)
	var slept Sleeper
	if taken {
		slept = h.rouse()
	}
	h.mu.Unlock()
	h.tell(slept)
	if !taken {
		k.Free()
	}
	return err
}

// enqueue reports whether k itself was queued. The bytes of a chunk filled to
// less than a quarter move to the chunk before it if they fit: the limit counts
// bytes, and storage must not grow past a small multiple of it.
func (h *half) enqueue(k *Chunk) bool {
	n := k.Len()
	h.bytes += n
	if t := h.queue.tail; t != nil && n <= len(k.buf)/4 && n <= len(t.Room()) {
		t.append(k.Bytes())
		return false
	}
	h.queue.push(k)
	return true
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	if err := h.awaitBytes(0); err != nil {
		h.mu.Unlock()
		return 0, err
	}
	n := 0
	for h.queue.head != nil && n < len(p) {
		k := h.queue.head
		m := copy(p[n:], k.Bytes())
		k.Consume(m)
		n += m
		if k.Len() == 0 {
			h.queue.pop().Free()
		}
	}
	h.drained(n)
	return n, nil
}

// take returns the first chunk; the caller owns it.
func (h *half) take() (*Chunk, error) {
	h.mu.Lock()
	if err := h.awaitBytes(0); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	k := h.queue.pop()
	h.drained(k.Len())
	return k, nil
}

// drained notes that n bytes left the queue, releases mu, and wakes the writers
// when that took the queue down to half the limit.
func (h *half) drained(n int) {
	low := h.limit / 2
	wake := h.bytes > low && h.bytes-n <= low
	h.bytes -= n
	h.mu.Unlock()
	if wake {
		h.cond.Broadcast()
	}
}

// peek copies queued bytes once there are more than seen of them.
func (h *half) peek(p []byte, seen int) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := io.ErrShortBuffer
	if seen < len(p) {
		err = h.awaitBytes(seen)
	}
	return h.copyOut(p), err
}

func (h *half) copyOut(p []byte) (n int) {
	for k := h.queue.head; k != nil && n < len(p); k = k.next {
		n += copy(p[n:], k.Bytes())
	}
	return n
}
