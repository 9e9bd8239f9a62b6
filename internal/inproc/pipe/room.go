package pipe

import (
	"errors"
	"os"
)

// Writable reports whether a write would go on at once, if only to fail for another
// reason than its deadline.
func (c *Conn) Writable() bool {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.writeErr()
	return h.bytes < h.limit || err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// WaitWritable waits until a write would go on at once, if only to fail. Its own
// error is os.ErrDeadlineExceeded. With one writer, what WriteChunk takes over
// after it is queued without waiting.
func (c *Conn) WaitWritable() error {
	if err := c.out.waitRoom(); errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// PeerReset reports whether the peer called Reset, at once and however much is still
// to be read.
func (c *Conn) PeerReset() bool {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.writer.closed && c.in.reset
}
