package tlssocket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/filter"
)

// A Conn is a stream under TLS.
//
// Its three ends are those of any filter.Stream. CloseWrite sends close_notify, and no FIN,
// so that the peer may go on; Close sends close_notify if there is room for it at once;
// Reset sends nothing. A peer's close_notify is the end of its direction, and so is a FIN
// without one (as in Envoy: who needs to know of truncation has lengths of his own).
type Conn struct {
	wire *wire
	tls  *tls.Conn
	info filter.TLS

	broken  atomic.Pointer[string] // why reading has failed; nil: it has not
	writing sync.Mutex
	dry     atomic.Bool // nothing can be read before more has arrived at the wire
	looked  atomic.Bool // peeked holds something
	peeking sync.Mutex
	peeked  []byte // decrypted and not yet read
}

var (
	_ filter.Stream = (*Conn)(nil)
	_ filter.Secure = (*Conn)(nil)
	_ filter.Layer  = (*Conn)(nil)
)

// TLS implements filter.Secure.
func (c *Conn) TLS() *filter.TLS { return &c.info }

// Below implements filter.Layer.
func (c *Conn) Below() filter.Stream { return c.wire.Stream }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.wire.Stream.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.wire.Stream.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.wire.Stream.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.wire.Stream.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn. A write that it cuts off is the last one: the
// records could not go on in the middle.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.wire.Stream.SetWriteDeadline(t) }

// Read implements io.Reader.
func (c *Conn) Read(p []byte) (int, error) {
	if c.looked.Load() {
		c.peeking.Lock()
		defer c.peeking.Unlock()
		n := copy(p, c.peeked)
		if c.peeked = c.peeked[n:]; len(c.peeked) == 0 {
			c.peeked = nil
			c.looked.Store(false)
		}
		return n, nil
	}
	return c.read(p)
}

// Await waits for Read to have something to say, perhaps in vain, without memory that it
// could be read into. It is for who reads.
func (c *Conn) Await() {
	if c.wire.raw != nil && c.dry.Load() && !c.looked.Load() && len(c.wire.ahead) == 0 {
		_ = c.wire.fill() // Read meets the error, too
	}
}

// read fills p from the records that have arrived: one at a time would cost the caller a
// write each.
func (c *Conn) read(p []byte) (int, error) {
	c.dry.Store(false)
	n, err := c.tls.Read(p)
	if err == nil && n < len(p) {
		c.wire.stays = true
		for err == nil && n < len(p) {
			var more int
			more, err = c.tls.Read(p[n:])
			n += more
		}
		c.wire.stays = false
		c.dry.Store(err == errNothing)
	}
	if n > 0 {
		return n, nil // an error comes again
	}
	return 0, c.failed(ended(err))
}

// failed notes an error of reading that is not an end, nor a deadline.
func (c *Conn) failed(err error) error {
	if err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
		if why := explain(err).reason; why != "" {
			c.broken.Store(&why)
		}
	}
	return err
}

func (c *Conn) brokenBy() string {
	if why := c.broken.Load(); why != nil {
		return *why
	}
	return ""
}

// ended says what an error of reading means.
func ended(err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return io.EOF
	case errors.Is(err, unix.EPIPE):
		return unix.ECONNRESET
	}
	return err
}

// endOf says what the end of a read of the socket means.
func endOf(err error) error {
	if err == nil {
		return io.EOF
	}
	return os.NewSyscallError("read", err)
}

// writeBytes are encrypted before they are written with one call: with what four records
// take beside them, they fit into one packet as the kernel hands it to the device, of less
// than 64 KiB, and into its next cache.
const writeBytes = 63 << 10

// Write implements io.Writer.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		part := p[n:min(len(p), n+writeBytes)]
		if err = c.writePart(part); err != nil {
			return n, err
		}
		if n += len(part); n == len(p) {
			return n, nil
		}
	}
}

func (c *Conn) writePart(p []byte) error {
	if len(p) <= maxRecord {
		_, err := c.tls.Write(p)
		return err
	}
	c.wire.gather()
	_, err := c.tls.Write(p)
	if serr := c.wire.scatter(); err == nil {
		err = serr
	}
	return err
}

const maxRecord = 16 << 10

// Peek is that of netconn.Socket: it waits for more than seen bytes and copies the first of
// them into p, without consuming any.
func (c *Conn) Peek(p []byte, seen int) (n int, err error) {
	c.peeking.Lock()
	defer c.peeking.Unlock()
	if seen >= len(p) {
		return len(p), io.ErrShortBuffer
	}
	for len(c.peeked) <= seen && err == nil {
		var buf [4 << 10]byte
		c.dry.Store(false)
		n, err = c.tls.Read(buf[:])
		c.peeked = append(c.peeked, buf[:n]...)
	}
	if len(c.peeked) > 0 {
		c.looked.Store(true)
	}
	n = copy(p, c.peeked)
	if len(c.peeked) > seen {
		err = nil
	}
	return n, ended(err)
}

// OnFull has full called when the socket below takes no more, and late at a write deadline:
// the write goes on if that returns nil. It is for who waits for room and has other things
// to look after, and is set before the first Write.
func (c *Conn) OnFull(full func(), late func() error) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.wire.full, c.wire.late = full, late
}

// CloseWrite sends close_notify behind what was written.
func (c *Conn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.tls.CloseWrite()
}

// Finish is CloseWrite without waiting: without room close_notify is left out.
func (c *Conn) Finish() {
	if c.writing.TryLock() { // else a write is under way, and records would be cut
		c.wire.last()
		_ = c.tls.CloseWrite()
		c.writing.Unlock()
	}
}

// Close sends close_notify, unless the peer leaves no room for it, and closes the stream
// below.
func (c *Conn) Close() error {
	c.Finish()
	return c.wire.Stream.Close()
}

// CloseFor implements filter.Farewell.
func (c *Conn) CloseFor(why error) error {
	c.Finish()
	return filter.CloseFor(c.wire.Stream, why)
}

// Why implements filter.Farewell.
func (c *Conn) Why() error { return filter.Why(c.wire.Stream) }

// PeerReset reports whether the peer has reset the stream below, however much is still to
// be read.
func (c *Conn) PeerReset() bool {
	s, ok := c.wire.Stream.(interface{ PeerReset() bool })
	return ok && s.PeerReset()
}

// Unsent is that of the socket below.
func (c *Conn) Unsent() (int, error) {
	if s, ok := c.wire.Stream.(interface{ Unsent() (int, error) }); ok {
		return s.Unsent()
	}
	return 0, errors.ErrUnsupported
}

// Reset aborts the connection.
func (c *Conn) Reset() error { return c.wire.Stream.Reset() }
