package http2

import (
	"encoding/binary"
	"errors"
	"os"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
)

// read takes frames until the connection is over.
func (c *conn) read() error {
	if c.server {
		if err := c.readPreface(); err != nil {
			return err
		}
	}
	for !c.done.Load() {
		err := c.readFrame()
		if one, ok := err.(*streamError); ok {
			err = c.resetStream(one)
		}
		if err != nil {
			return err
		}
	}
	return os.ErrDeadlineExceeded // as from who interrupts
}

func (c *conn) readPreface() error {
	p, err := c.in.need(len(clientPreface))
	if err != nil {
		return err
	}
	if string(p[:len(clientPreface)]) != clientPreface {
		return violation(xhttp2.ErrCodeProtocol, "no preface")
	}
	c.in.r += len(clientPreface)
	return nil
}

func (c *conn) readFrame() error {
	if c.in.w-c.in.r < frameHeaderSize {
		c.reads.Add(1)
		if c.o.Keepalive.IdleInterval > 0 {
			c.readAt.Store(time.Now().UnixNano())
		}
	}
	p, err := c.need(frameHeaderSize, frameHeader{})
	if err != nil {
		return err
	}
	h := parseFrameHeader(p)
	switch {
	case !c.greeted && (h.kind != xhttp2.FrameSettings || h.flags&xhttp2.FlagSettingsAck != 0):
		return violation(xhttp2.ErrCodeProtocol, "the first frame is not SETTINGS")
	case h.length > maxFrameSize:
		return violation(xhttp2.ErrCodeFrameSize, "frame too large")
	case c.block.open && (h.kind != xhttp2.FrameContinuation || h.stream != c.block.id):
		return violation(xhttp2.ErrCodeProtocol, "no CONTINUATION where there must be one")
	}
	if h.kind == xhttp2.FrameData {
		c.in.r += frameHeaderSize
		return c.dataFrame(h)
	}
	size := frameHeaderSize + int(h.length)
	if h.kind == xhttp2.FrameHeaders && (len(p) < size || h.flags&xhttp2.FlagHeadersEndHeaders == 0) {
		c.side.begins(h.stream)
	}
	p, err = c.need(size, h)
	if err != nil {
		return err
	}
	p = p[frameHeaderSize:size]
	c.in.r += size
	err = c.frame(h, p)
	if c.timed && !c.block.open {
		c.untimed()
	}
	return err
}

// need waits until n bytes are there, and returns them and what follows. h is the frame
// whose payload is waited for; the zero value: another one's header. When the time of a
// head is up, what follows has none.
func (c *conn) need(n int, h frameHeader) ([]byte, error) {
	p, err := c.in.need(n)
	if !c.timed || !errors.Is(err, os.ErrDeadlineExceeded) || !c.untimed() {
		return p, err
	}
	if err := c.side.late(h); err != nil {
		return nil, err
	}
	return c.in.need(n)
}

// untimed ends the limit of a head; false: the connection has ended.
func (c *conn) untimed() bool {
	c.timed = false
	return c.deadline(time.Time{})
}

// frame takes a frame that is not DATA.
func (c *conn) frame(h frameHeader, p []byte) error {
	switch h.kind {
	case xhttp2.FrameHeaders:
		return c.headersFrame(h, p)
	case xhttp2.FrameContinuation:
		if !c.block.open {
			return violation(xhttp2.ErrCodeProtocol, "CONTINUATION without HEADERS")
		}
		if err := c.budget.payload(c, len(p), false); err != nil {
			return err
		}
		return c.fragment(h, p)
	case xhttp2.FramePriority:
		return c.priorityFrame(h, p)
	case xhttp2.FrameRSTStream:
		return c.resetFrame(h, p)
	case xhttp2.FrameSettings:
		return c.settingsFrame(h, p)
	case xhttp2.FramePushPromise:
		return violation(xhttp2.ErrCodeProtocol, "PUSH_PROMISE")
	case xhttp2.FramePing:
		return c.pingFrame(h, p)
	case xhttp2.FrameGoAway:
		return c.goAwayFrame(h, p)
	case xhttp2.FrameWindowUpdate:
		return c.windowFrame(h, p)
	}
	return nil // unknown ones are ignored
}

// resetStream answers a mistake of the peer with RST_STREAM.
func (c *conn) resetStream(e *streamError) error {
	c.o.Stats.count(e.counts)
	c.mu.Lock()
	s := c.streams[e.id]
	var tell bool
	if s != nil {
		why := e.why()
		s.reset(why, e.code)
		tell = s.watch.note(why)
	} else {
		c.sendReset(e.id, e.code)
		c.closed.add(e.id, closedByUs)
		c.stray += int64(c.o.StreamWindow)
	}
	err := c.checkOutbound()
	c.mu.Unlock()
	if tell {
		s.tell(e.why())
	}
	if err == nil && e.code != xhttp2.ErrCodeRefusedStream {
		err = c.budget.reset(c)
	}
	return err
}

// checkOutbound bounds what the peer makes this side say without reading it. It holds mu.
func (c *conn) checkOutbound() error {
	switch {
	case c.controls[0]+c.controls[1] > c.o.MaxOutboundControlFrames:
		return flood(detailFlood, "too many frames to answer", statControl)
	case c.frames[0]+c.frames[1] > c.o.MaxOutboundFrames:
		return flood(detailFlood, "too many frames wait to be read", statOutbound)
	}
	return nil
}

func (c *conn) headersFrame(h frameHeader, p []byte) error {
	p, ok := unpad(h, p)
	if !ok {
		return violation(xhttp2.ErrCodeProtocol, "padding longer than the frame")
	}
	end := h.flags&xhttp2.FlagHeadersEndStream != 0
	b := &c.block
	b.begin(h.stream, end)
	var selfish bool
	if h.flags&xhttp2.FlagHeadersPriority != 0 {
		if len(p) < 5 {
			return violation(xhttp2.ErrCodeFrameSize, "HEADERS too short")
		}
		selfish = binary.BigEndian.Uint32(p)&maxStreamID == h.stream
		p = p[5:]
	}
	if h.stream == 0 {
		return violation(xhttp2.ErrCodeProtocol, "HEADERS on stream 0")
	}
	if err := c.budget.payload(c, len(p), end); err != nil {
		return err
	}
	if err := c.side.target(b); err != nil {
		return err
	}
	if selfish {
		b.discard(streamViolation(h.stream, xhttp2.ErrCodeProtocol, "stream depends on itself"))
	}
	return c.fragment(h, p)
}

// fragment takes a part of a header block.
func (c *conn) fragment(h frameHeader, p []byte) error {
	b := &c.block
	b.length += len(p)
	b.wire += frameHeaderSize + int(h.length)
	if b.tooLong() {
		return flood(detailSize, "header block without end", statListTooLarge)
	}
	err := c.dec.decode(p, b)
	b.open = h.flags&xhttp2.FlagHeadersEndHeaders == 0
	if err == nil && !b.open {
		err = c.dec.end()
	}
	if err != nil {
		return violation(xhttp2.ErrCodeCompression, err.Error())
	}
	if b.open {
		return nil
	}
	if b.kind == discarded {
		return b.err
	}
	return c.side.head(b)
}

// trailerHead takes a block of trailers, which both sides do alike.
func (c *conn) trailerHead(b *block) error {
	c.o.Stats.count(statTrailers)
	if err := b.refusal(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[b.id]
	if s == nil || s != b.stream {
		return nil // reset by this side in the meantime
	}
	b.weigh(&s.wire)
	if s.length > 0 {
		return streamViolation(b.id, xhttp2.ErrCodeProtocol, "less content than content-length")
	}
	b.take(&s.trailer)
	s.endReceived()
	return nil
}

func (c *conn) resetFrame(h frameHeader, p []byte) error {
	if len(p) != 4 {
		return violation(xhttp2.ErrCodeFrameSize, "RST_STREAM of a wrong size")
	}
	c.o.Stats.count(statRxReset)
	code := errCode(p)
	if code == xhttp2.ErrCodeRefusedStream {
		c.o.Stats.count(statRefused)
	}
	c.mu.Lock()
	s := c.streams[h.stream]
	if s == nil {
		idle := h.stream == 0 || c.idle(h.stream)
		c.mu.Unlock()
		if idle {
			return violation(xhttp2.ErrCodeProtocol, "RST_STREAM on an idle stream")
		}
		return c.budget.reset(c)
	}
	s.wire.Received += frameHeaderSize + 4
	why := remoteReset(code, c.server)
	tell := s.resetByPeer(why)
	c.mu.Unlock()
	if tell {
		s.tell(why)
	}
	return c.budget.reset(c)
}

// resetByPeer takes a RST_STREAM. A response that has come whole stays whole. It holds mu.
func (s *stream) resetByPeer(why *httpmsg.ResetError) (tell bool) {
	if s.exchange != nil && s.received {
		s.unsent = why
		s.leave(closedByPeer)
		s.wakeAll()
		return s.watch.note(why)
	}
	return s.fail(why)
}

func (c *conn) priorityFrame(h frameHeader, p []byte) error {
	if h.stream == 0 {
		return violation(xhttp2.ErrCodeProtocol, "PRIORITY on stream 0")
	}
	if err := c.countPriority(); err != nil {
		return err
	}
	text, code := "", xhttp2.ErrCodeProtocol
	if len(p) != 5 {
		text, code = "PRIORITY of a wrong size", xhttp2.ErrCodeFrameSize
	} else if binary.BigEndian.Uint32(p)&maxStreamID == h.stream {
		text = "stream depends on itself"
	}
	if text == "" {
		return nil
	}
	c.mu.Lock()
	idle := c.idle(h.stream)
	c.mu.Unlock()
	if idle { // RST_STREAM must not be sent
		return violation(code, text)
	}
	return streamViolation(h.stream, code, text)
}

func (c *conn) pingFrame(h frameHeader, p []byte) error {
	switch {
	case h.stream != 0:
		return violation(xhttp2.ErrCodeProtocol, "PING on a stream")
	case len(p) != 8:
		return violation(xhttp2.ErrCodeFrameSize, "PING of a wrong size")
	case h.flags&xhttp2.FlagPingAck != 0:
		c.mu.Lock()
		c.pinging = false
		c.mu.Unlock()
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = appendPing(c.queue(), xhttp2.FlagPingAck, [8]byte(p))
	c.controls[0]++
	c.flush()
	return c.checkOutbound()
}

// maxDebug is how much is kept of what a peer says with GOAWAY.
const maxDebug = 256

func (c *conn) goAwayFrame(h frameHeader, p []byte) error {
	switch {
	case h.stream != 0:
		return violation(xhttp2.ErrCodeProtocol, "GOAWAY on a stream")
	case len(p) < 8:
		return violation(xhttp2.ErrCodeFrameSize, "GOAWAY too short")
	}
	c.side.peerGoAway(binary.BigEndian.Uint32(p)&maxStreamID, errCode(p[4:]), string(p[8:min(len(p), 8+maxDebug)]))
	return nil
}
