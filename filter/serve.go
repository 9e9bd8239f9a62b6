package filter

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"time"
)

// A Counted stream counts the bytes that pass it, and runs what waits for the first
// of them (Conn.OnData).
type Counted struct {
	Stream
	conn           *Conn
	received, sent atomic.Uint64
	awaits         atomic.Bool // functions of Conn.OnData wait
	reason         atomic.Pointer[string]
	done           chan struct{}
}

// Done is closed when the listener has ended the connection; the stream is closed
// then.
func (c *Counted) Done() <-chan struct{} { return c.done }

// Read implements io.Reader.
func (c *Counted) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	if (n > 0 || err == io.EOF) && c.awaits.CompareAndSwap(true, false) {
		if err := c.conn.FirstData(); err != nil {
			c.CloseLocal(err.Error())
			return 0, err
		}
	}
	c.received.Add(uint64(n))
	return n, err
}

// Write implements io.Writer. A write that the peer lets wait for longer than the
// listener's high watermark timeout ends the connection.
func (c *Counted) Write(p []byte) (int, error) {
	limit := c.mayBeFull()
	if limit > 0 {
		defer time.AfterFunc(limit, func() { c.CloseLocal(HighWatermarkReason) }).Stop()
	}
	n, err := c.Stream.Write(p)
	c.sent.Add(uint64(n))
	return n, err
}

// mayBeFull is how long the peer may let a write wait; 0: as long as it likes.
func (c *Counted) mayBeFull() time.Duration {
	if l := c.conn.Info.Listener; l != nil {
		return l.HighWatermarkTimeout
	}
	return 0
}

// WriteTo implements io.WriterTo, without a copy where the stream can do so.
func (c *Counted) WriteTo(w io.Writer) (int64, error) {
	if c.awaits.Load() {
		return io.Copy(w, struct{ io.Reader }{c})
	}
	n, err := io.Copy(w, c.Stream)
	c.received.Add(uint64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom, without a copy where the stream can do so.
func (c *Counted) ReadFrom(r io.Reader) (int64, error) {
	if c.mayBeFull() > 0 {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	n, err := io.Copy(c.Stream, r)
	c.sent.Add(uint64(n))
	return n, err
}

// Bytes returns the bytes received and sent so far.
func (c *Counted) Bytes() (received, sent uint64) { return c.received.Load(), c.sent.Load() }

// CloseLocal implements Closer.
func (c *Counted) CloseLocal(reason string) {
	if c.reason.CompareAndSwap(nil, &reason) {
		c.Stream.Close()
		close(c.done)
	}
}

var errRefused = errors.New("the connection was refused")

// ServeBytes serves a connection with a function that reads and writes its bytes
// itself. f calls c.Accept before it first waits; returning before that refuses the
// connection. When f returns, an orderly end is made of it: the stream is closed
// after what was written has been delivered; if f returns because the peer reset the
// connection, that is noted. f owns neither s nor c.
func ServeBytes(c *Conn, f func(s *Counted) error) error {
	s := &Counted{Stream: c.Stream, conn: c, done: make(chan struct{})}
	s.awaits.Store(c.AwaitsData())
	var err error
	if c.Own(s) {
		err = f(s)
	} else {
		err = errors.New("the listener is closing")
	}
	s.Stream.Close()
	c.Info.Received, c.Info.Sent = s.Bytes()
	if reason := s.reason.Load(); reason != nil {
		c.Info.More().DownReason = *reason
	} else if errors.Is(err, syscall.ECONNRESET) {
		c.Info.DownClose = CloseRemoteReset
	}
	accepted := c.Accepted()
	c.End()
	switch {
	case accepted:
		return nil
	case err == nil:
		return errRefused
	}
	return err
}
