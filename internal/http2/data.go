package http2

import (
	"errors"

	xhttp2 "golang.org/x/net/http2"
)

// dataFrame takes a DATA frame, whose payload is passed on as it comes.
func (c *conn) dataFrame(h frameHeader) error {
	n := int(h.length)
	padding := 0
	if h.flags&xhttp2.FlagDataPadded != 0 {
		if n == 0 {
			return violation(xhttp2.ErrCodeFrameSize, "DATA too short")
		}
		p, err := c.in.need(1)
		if err != nil {
			return err
		}
		if padding = int(p[0]); padding >= n {
			return violation(xhttp2.ErrCodeProtocol, "padding longer than the frame")
		}
		c.in.r++
		n -= 1 + padding
	}
	end := h.flags&xhttp2.FlagDataEndStream != 0
	if err := c.budget.payload(c, n, end); err != nil {
		return err
	}
	refused := c.admitData(h, n, end)
	if fatal, ok := refused.(*connError); ok {
		return fatal
	}
	err := c.readData(h.stream, n, refused == nil)
	if err == nil {
		err = c.skip(padding)
	}
	if err == nil && end && refused == nil {
		c.endData(h.stream)
	}
	if err != nil || refused == errDropped {
		return err
	}
	return refused
}

// admitData checks a DATA frame with n bytes of content, before they have been read, and
// takes them from the windows. After a *streamError the content is to be dropped.
func (c *conn) admitData(h frameHeader, n int, end bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recv -= int64(h.length); c.recv < 0 {
		return violation(xhttp2.ErrCodeFlowControl, "more DATA than the connection's window")
	}
	s := c.streams[h.stream]
	if s == nil {
		return c.strayData(h)
	}
	s.wire.Received += frameHeaderSize + uint64(h.length)
	s.recv -= int64(h.length)
	if err := s.admit(int64(n), end); err != nil {
		c.consumed(int(h.length))
		return err
	}
	if padding := int(h.length) - n; padding > 0 {
		s.consumed(padding)
	}
	return nil
}

// admit checks n bytes of content. It holds mu.
func (s *stream) admit(n int64, end bool) error {
	switch {
	case s.received:
		return streamViolation(s.id, xhttp2.ErrCodeStreamClosed, "DATA behind the end of the stream")
	case s.recv < 0:
		return streamViolation(s.id, xhttp2.ErrCodeFlowControl, "more DATA than the stream's window")
	case s.exchange != nil && !s.exchange.ready:
		return streamViolation(s.id, xhttp2.ErrCodeProtocol, "DATA before the response")
	case s.length >= 0 && (n > s.length || end && n < s.length):
		return streamViolation(s.id, xhttp2.ErrCodeProtocol, "content differs from content-length")
	case s.length >= 0:
		s.length -= n
	}
	return nil
}

// strayData is DATA on a stream that is not open. It holds mu.
func (c *conn) strayData(h frameHeader) error {
	switch {
	case h.stream == 0 || c.idle(h.stream):
		return violation(xhttp2.ErrCodeProtocol, "DATA on an idle stream")
	case c.closed.how(h.stream) == closedByUs:
		if c.stray -= int64(h.length); c.stray < 0 {
			return violation(xhttp2.ErrCodeFlowControl, "more DATA than the windows of streams that were reset")
		}
		c.consumed(int(h.length))
		return errDropped
	}
	c.consumed(int(h.length))
	return streamViolation(h.stream, xhttp2.ErrCodeStreamClosed, "DATA on a closed stream")
}

// errDropped is for frames that are read and ignored.
var errDropped = errors.New("dropped")

// idle reports whether a stream was never opened. It holds mu.
func (c *conn) idle(id uint32) bool { return id&1 == 0 || id > c.lastID }

// readData passes n bytes of content on as they come.
func (c *conn) readData(id uint32, n int, wanted bool) error {
	for n > 0 {
		p, err := c.in.need(1)
		if err != nil {
			return err
		}
		p = p[:min(n, len(p))]
		if wanted {
			c.deliver(id, p)
		}
		c.in.r += len(p)
		n -= len(p)
	}
	return nil
}

func (c *conn) deliver(id uint32, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		s.deliver(p)
		return
	}
	c.consumed(len(p)) // reset in the meantime
}

func (c *conn) endData(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		s.endReceived()
	}
}

func (c *conn) skip(n int) error {
	for n > 0 {
		p, err := c.in.need(1)
		if err != nil {
			return err
		}
		m := min(n, len(p))
		c.in.r += m
		n -= m
	}
	return nil
}
