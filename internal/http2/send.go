package http2

import (
	"encoding/binary"
	"strconv"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

var errEnded = &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: "http2.message_ended"}

// sendable returns why nothing can be sent; nil: it can. It holds mu.
func (s *stream) sendable() *httpmsg.ResetError {
	switch {
	case s.over != nil:
		return s.over
	case s.unsent != nil:
		return s.unsent
	case s.sent:
		return errEnded
	}
	return nil
}

// awaitQueue waits until there is room for a head: heads pass by bodies, which may wait
// for the peer's windows. It returns what sendable does. It holds mu, but while it waits.
func (s *stream) awaitQueue() *httpmsg.ResetError {
	for {
		if why := s.sendable(); why != nil || !s.c.full() {
			return why
		}
		s.c.flush()
		s.c.drained.Wait()
	}
}

// WriteData implements httpmsg.Writer.
func (s *stream) WriteData(p []byte, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if why := s.sendable(); why != nil {
			return why
		}
		if len(p) == 0 {
			if end {
				s.sendData(nil, true)
			}
			return nil
		}
		n := s.awaitWindow(len(p))
		if n == 0 {
			continue // it has waited
		}
		s.sendData(p[:n], end && n == len(p))
		p = p[n:]
		if len(p) == 0 {
			c.callNext()
			return nil
		}
	}
}

// awaitWindow returns how many of n bytes can be sent now; 0 when it had to wait. It
// holds mu, but while it waits.
func (s *stream) awaitWindow(n int) int {
	c := s.c
	window := c.peerWindow + s.credit
	switch {
	case window <= 0:
		s.called = false
		c.callNext() // the turn is of no use here
		c.flush()
		s.blocked = true
		c.blocked++
		c.o.Stats.pending(int64(n))
		s.writable.Wait()
		c.o.Stats.pending(-int64(n))
		if s.blocked {
			s.blocked = false
			c.blocked--
		}
		return 0
	case !c.room(), c.line.first != nil && !s.called:
		c.flush()
		s.called = false
		c.line.push(s)
		c.o.Stats.pending(int64(n))
		for s.inLine && s.over == nil && s.unsent == nil {
			s.writable.Wait()
		}
		c.o.Stats.pending(-int64(n))
		c.line.remove(s)
		if s.over != nil || s.unsent != nil {
			c.callNext()
		}
		return 0
	}
	s.called = false
	return int(min(int64(n), window, c.window, int64(c.peerFrame), int64(c.frameRoom())))
}

// sendData queues a DATA frame. It holds mu.
func (s *stream) sendData(p []byte, end bool) {
	c := s.c
	flags := xhttp2.Flags(0)
	if end {
		flags = xhttp2.FlagDataEndStream
	}
	c.out = append(appendFrameHeader(c.queueData(len(p)), xhttp2.FrameData, flags, s.id, len(p)), p...)
	c.dataFrames++
	s.wire.Sent += uint64(frameHeaderSize + len(p))
	s.credit -= int64(len(p))
	c.window -= int64(len(p))
	if end {
		s.endSent()
	}
	if end || len(c.out) >= flushSize {
		c.flush()
	}
}

// endSent notes that END_STREAM is queued. It holds mu.
func (s *stream) endSent() {
	s.sent = true
	s.leaveDone()
}

// WriteTrailer implements httpmsg.Writer.
func (s *stream) WriteTrailer(h httpmsg.Header) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if why := s.awaitQueue(); why != nil {
		return why
	}
	if len(h) == 0 {
		s.sendData(nil, true)
		return nil
	}
	start := c.beginHead()
	for i := range h {
		if !httpmsg.ForbiddenTrailer(h[i].Name) && httptext.Value(h[i].Value) {
			c.encode(h[i].Name, h[i].Value)
		}
	}
	s.endHead(start, true)
	return nil
}

// Flush implements httpmsg.Writer.
func (s *stream) Flush() error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.over != nil:
		return s.over
	case s.unsent != nil:
		return s.unsent
	}
	if c.out != nil {
		c.flush()
	}
	return nil
}

// beginHead leaves room for a frame's header and returns where it stands. It holds mu.
func (c *conn) beginHead() (start int) {
	p := c.queue()
	start = len(p)
	c.out = c.enc.begin(append(p, make([]byte, frameHeaderSize)...))
	return start
}

// encode adds a field to the head that was begun. Names that belong to the connections
// of HTTP/1 are left out. It holds mu.
func (c *conn) encode(name, value string) {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host", "":
		return
	case "te":
		if value != "trailers" {
			return
		}
	}
	c.out = c.enc.field(c.out, name, value)
}

// endHead completes a head: the first frame is HEADERS, what does not fit follows in
// CONTINUATION. It holds mu.
func (s *stream) endHead(start int, end bool) {
	c := s.c
	size := len(c.out) - start - frameHeaderSize
	flags := xhttp2.FlagHeadersEndHeaders
	if end {
		flags |= xhttp2.FlagHeadersEndStream
	}
	if size > c.peerFrame {
		c.splitHead(start, flags, s.id)
	} else {
		appendFrameHeader(c.out[:start], xhttp2.FrameHeaders, flags, s.id, size)
	}
	n := uint64(len(c.out) - start)
	s.wire.Sent += n
	s.wire.HeaderSent += n
	s.wire.PlainSent += uint64(c.enc.plain)
	if end {
		s.endSent()
	}
	if end || len(c.out) >= flushSize {
		c.flush()
	}
}

// splitHead cuts a head that is longer than a frame. It holds mu.
func (c *conn) splitHead(start int, flags xhttp2.Flags, id uint32) {
	block := append([]byte(nil), c.out[start+frameHeaderSize:]...)
	c.out = c.out[:start]
	kind := xhttp2.FrameHeaders
	first := flags &^ xhttp2.FlagHeadersEndHeaders
	for len(block) > 0 {
		n := min(len(block), c.peerFrame)
		f := first
		if n == len(block) {
			f |= xhttp2.FlagHeadersEndHeaders
		}
		c.out = append(appendFrameHeader(c.out, kind, f, id, n), block[:n]...)
		block = block[n:]
		kind, first = xhttp2.FrameContinuation, 0
	}
}

// statusText is a status as it is sent.
func statusText(status int) string {
	if i := status - 100; i >= 0 && i < len(statusTexts) {
		return statusTexts[i]
	}
	return strconv.Itoa(status)
}

// statusTexts are those of statuses from 100 on.
var statusTexts = func() (texts [500]string) {
	for i := range texts {
		texts[i] = strconv.Itoa(100 + i)
	}
	return texts
}()

func errCode(p []byte) xhttp2.ErrCode { return xhttp2.ErrCode(binary.BigEndian.Uint32(p)) }
