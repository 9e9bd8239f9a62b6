package filter

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"
)

// A Counted stream counts the bytes that pass it.
type Counted struct {
	Stream
	received, sent atomic.Uint64
	done           chan struct{}
}

// Done is closed when the listener has ended the connection; the stream is closed
// then.
func (c *Counted) Done() <-chan struct{} { return c.done }

// Read implements io.Reader.
func (c *Counted) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	c.received.Add(uint64(n))
	return n, err
}

// Write implements io.Writer.
func (c *Counted) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	c.sent.Add(uint64(n))
	return n, err
}

// WriteTo implements io.WriterTo, without a copy where the stream can do so.
func (c *Counted) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, c.Stream)
	c.received.Add(uint64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom, without a copy where the stream can do so.
func (c *Counted) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.Stream, r)
	c.sent.Add(uint64(n))
	return n, err
}

// Bytes returns the bytes received and sent so far.
func (c *Counted) Bytes() (received, sent uint64) { return c.received.Load(), c.sent.Load() }

// ServeBytes serves a connection with a function that reads and writes its bytes
// itself. The connection is accepted at once. When f returns, an orderly end is
// made of it: the stream is closed after what was written has been delivered; if f
// returns because the peer reset the connection, that is noted. f owns neither s
// nor c.
func ServeBytes(c *Conn, f func(s *Counted) error) error {
	s := &Counted{Stream: c.Stream, done: make(chan struct{})}
	x := &streamCloser{Counted: s}
	if !c.Own(x) {
		c.Stream.Close()
		c.End()
		return errors.New("the listener is closing")
	}
	c.Accept()
	err := f(s)
	c.Stream.Close()
	c.Info.Received, c.Info.Sent = s.Bytes()
	if reason := x.reason.Load(); reason != nil {
		c.Info.More().DownReason = *reason
	} else if errors.Is(err, syscall.ECONNRESET) {
		c.Info.DownClose = CloseRemoteReset
	}
	c.End()
	return nil
}

type streamCloser struct {
	*Counted
	reason atomic.Pointer[string]
}

// CloseLocal implements Closer.
func (x *streamCloser) CloseLocal(reason string) {
	if x.reason.CompareAndSwap(nil, &reason) {
		x.Stream.Close()
		close(x.done)
	}
}
