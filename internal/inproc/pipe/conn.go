package pipe

import (
	"io"
	"net"
	"time"
)

// Conn is one end of a connection; it is a [net.Conn], an [io.WriterTo] and an
// [io.ReaderFrom]. Every method may be called at any time from any goroutine.
//
// Errors: ErrReset and io.EOF as in the package doc, errors that are
// syscall.EPIPE for writes after CloseWrite or to a closed peer, net.ErrClosed
// after Close or Reset of this end, os.ErrDeadlineExceeded. A write that fails
// after a part of its bytes was queued says how many.
type Conn struct {
	pair    *pair
	in, out *half
	local   net.Addr

	peerGone func(reset bool) // guarded by in.mu; nil once called
	hangup   func()           // likewise
	toldFIN  bool             // hangup was called for the peer's direction alone
}

var (
	_ net.Conn      = (*Conn)(nil)
	_ io.WriterTo   = (*Conn)(nil)
	_ io.ReaderFrom = (*Conn)(nil)
)

func (c *Conn) LocalAddr() net.Addr  { return c.local }
func (c *Conn) RemoteAddr() net.Addr { return c.peer().local }

// Read fills p with what is queued, and waits only when nothing is. An empty p
// reads nothing and never fails.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.in.read(p)
}

// Write queues a copy of p, waiting for room as often as it must; the bytes of
// concurrent writes do not mix. An empty p never fails, as in Envoy.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.out.write(p)
}

// ReadChunk returns the next queued bytes without a copy. The caller owns the
// chunk; it is never empty.
func (c *Conn) ReadChunk() (*Chunk, error) { return c.in.take() }

// WriteChunk queues k without a copy (but for one that is nearly empty, which
// may be merged into the chunk before it). It takes k over, whatever it returns;
// after an error none of its bytes was queued.
func (c *Conn) WriteChunk(k *Chunk) error { return c.out.put(k) }

// WaitReadable waits until a read would not: bytes, end of stream or a reset are
// pending, which the read then reports. It consumes nothing, so that an idle
// reader need not hold a buffer. Its own errors are net.ErrClosed and
// os.ErrDeadlineExceeded.
func (c *Conn) WaitReadable() error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	err := c.in.awaitBytes(0)
	if err == io.EOF || err == ErrReset {
		return nil
	}
	return err
}

// Peek waits until more than seen bytes are queued and copies the first of them
// into p, without consuming any; call it first with 0, then with what it
// returned. The n bytes are good beside an error, too, which tells why there are
// no more: as for Read, or io.ErrShortBuffer when p or the queue is full.
func (c *Conn) Peek(p []byte, seen int) (n int, err error) { return c.in.peek(p, seen) }

// Buffered returns how many bytes wait to be read here, and at the peer.
func (c *Conn) Buffered() (in, out int) { return c.in.buffered(), c.out.buffered() }

// CloseWrite ends the outgoing stream: the peer reads what is queued, then
// io.EOF, and may go on writing. Writes that are blocked fail. Calling it again,
// or when the peer has gone, is harmless; after Close it is net.ErrClosed.
func (c *Conn) CloseWrite() error {
	err := c.out.finish()
	if err == nil {
		c.peer().hungUp(false)
	}
	return err
}

// Close ends both directions: the peer reads what is queued, then io.EOF, and
// its blocked and later writes fail at once. What this end has not read is
// discarded. The first Close or Reset counts, later ones do nothing.
func (c *Conn) Close() error { return c.end(false, nil) }

// CloseFor is Close with a reason, which the peer can ask for with Why.
func (c *Conn) CloseFor(why error) error { return c.end(false, why) }

// Why returns what the peer has closed the connection for; nil: it has not, or has not
// said.
func (c *Conn) Why() error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if !c.in.explained {
		return nil
	}
	return c.pair.why
}

// Reset aborts both directions at once: the peer reads what is queued, then
// ErrReset, which its blocked and later writes return at once. What this end has
// not read is discarded. The first Close or Reset counts, later ones do nothing.
func (c *Conn) Reset() error { return c.end(true, nil) }

func (c *Conn) end(reset bool, why error) error {
	c.pair.lock()
	if c.in.reader.closed {
		c.pair.unlock()
		return nil
	}
	if why != nil && c.pair.why == nil {
		c.pair.why, c.out.explained = why, true
	}
	unread := c.in.closeReader(reset)
	c.out.closeWriter(reset)
	peer := c.peer()
	tell := peer.peerGone
	c.peerGone, peer.peerGone = nil, nil
	in, out := c.in.rouse(), c.out.rouse()
	c.pair.unlock()

	c.in.tell(in)
	c.out.tell(out)
	unread.freeAll()
	if tell != nil {
		tell(reset)
	}
	peer.hungUp(true)
	return nil
}

func (c *Conn) peer() *Conn {
	if c == &c.pair.client {
		return &c.pair.server
	}
	return &c.pair.client
}

// PeerClosed reports whether the peer called Close or Reset, at once and however
// much is still to be read: it tells a full close from a half close, which both
// read as io.EOF.
func (c *Conn) PeerClosed() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.writer.closed
}

// OnPeerGone has f called once when the peer calls Close or Reset: from the
// goroutine that does, without locks held, so f must not block; at once when the
// peer has gone already. There is one slot: a later f replaces an earlier one,
// nil empties it. f is not called when this end was closed first, but a call
// that is under way does not hold up Close.
func (c *Conn) OnPeerGone(f func(reset bool)) {
	c.in.mu.Lock()
	if c.in.reader.closed {
		c.in.mu.Unlock()
		return
	}
	gone, reset := c.in.writer.closed, c.in.reset
	if !gone {
		c.peerGone = f
	}
	c.in.mu.Unlock()
	if gone && f != nil {
		f(reset)
	}
}

// OnHangup has f called when the peer ends its direction, and when it ends both, each
// once and with bytes still queued or not: from the goroutine that does, without locks
// held, so f must not block; at once when that has happened. There is one slot, which
// stop empties; a call that is under way does not hold it up.
func (c *Conn) OnHangup(f func()) (stop func()) {
	c.in.mu.Lock()
	c.hangup, c.toldFIN = f, false
	fin, over := c.in.fin, c.in.writer.closed || c.in.reader.closed
	c.in.mu.Unlock()
	if fin || over {
		c.hungUp(over)
	}
	return func() {
		c.in.mu.Lock()
		c.hangup = nil
		c.in.mu.Unlock()
	}
}

// Ended reports whether the peer has ended its direction in order and nothing of what it
// sent is left to be read, or whether it has reset the connection.
func (c *Conn) Ended() (gone, reset bool) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.fin && !c.in.reset && c.in.bytes == 0, c.in.reset
}

// hungUp tells whoever watches that the peer's direction is over, or that both are.
func (c *Conn) hungUp(both bool) {
	c.in.mu.Lock()
	f := c.hangup
	switch {
	case both:
		c.hangup = nil
	case c.toldFIN:
		f = nil
	}
	c.toldFIN = true
	c.in.mu.Unlock()
	if f != nil {
		f()
	}
}

// SetDeadline sets both deadlines. A deadline in the past fails blocked and later
// calls at once, also where bytes or room are there, as on a socket; a zero t
// means none. After Close it returns net.ErrClosed.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of Read, ReadChunk, Peek, WaitReadable and
// WriteTo's reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.setDeadline(&c.in.reader, t) }

// SetWriteDeadline sets the deadline of Write, WriteChunk and ReadFrom's writes.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(&c.out.writer, t) }
