package http2

import (
	"encoding/binary"

	xhttp2 "golang.org/x/net/http2"
)

func (c *conn) settingsFrame(h frameHeader, p []byte) error {
	ack := h.flags&xhttp2.FlagSettingsAck != 0
	switch {
	case h.stream != 0:
		return violation(xhttp2.ErrCodeProtocol, "SETTINGS on a stream")
	case ack && len(p) > 0, len(p)%6 != 0:
		return violation(xhttp2.ErrCodeFrameSize, "SETTINGS of a wrong size")
	case ack:
		return nil
	}
	if err := c.budget.setting(c); err != nil {
		return err
	}
	c.greeted = true
	if err := c.obey(p); err != nil {
		return err
	}
	c.side.settled()
	return nil
}

// obey takes the parameters of a SETTINGS frame, and acknowledges them.
func (c *conn) obey(p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	window := c.peerWindow
	for ; len(p) > 0; p = p[6:] {
		s := Setting{binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])}
		if err := c.setting(s, &window); err != nil {
			return err
		}
	}
	c.out = appendFrameHeader(c.queue(), xhttp2.FrameSettings, xhttp2.FlagSettingsAck, 0, 0)
	c.controls[0]++
	c.flush()
	if err := c.setWindow(window); err != nil {
		return err
	}
	return c.checkOutbound()
}

// setting obeys one parameter. The initial window is obeyed once for all of a frame. It
// holds mu.
func (c *conn) setting(s Setting, window *int64) error {
	switch xhttp2.SettingID(s.ID) {
	case xhttp2.SettingHeaderTableSize:
		c.enc.resize(s.Value)
	case xhttp2.SettingEnablePush:
		if s.Value > 1 || s.Value == 1 && !c.server {
			return violation(xhttp2.ErrCodeProtocol, "bad ENABLE_PUSH")
		}
	case xhttp2.SettingMaxConcurrentStreams:
		c.peerStreams = s.Value
	case xhttp2.SettingInitialWindowSize:
		if s.Value > maxWindow {
			return violation(xhttp2.ErrCodeFlowControl, "bad INITIAL_WINDOW_SIZE")
		}
		*window = int64(s.Value)
	case xhttp2.SettingMaxFrameSize:
		if s.Value < 1<<14 || s.Value > 1<<24-1 {
			return violation(xhttp2.ErrCodeProtocol, "bad MAX_FRAME_SIZE")
		}
		// Longer frames would keep others waiting.
		c.peerFrame = maxFrameSize
	case xhttp2.SettingEnableConnectProtocol:
		if s.Value > 1 {
			return violation(xhttp2.ErrCodeProtocol, "bad ENABLE_CONNECT_PROTOCOL")
		}
	}
	return nil
}

// setWindow changes the initial window of streams, and so what all of them may send. It
// holds mu.
func (c *conn) setWindow(window int64) error {
	if window == c.peerWindow {
		return nil
	}
	c.peerWindow = window
	if c.maxCredit+window > maxWindow {
		c.maxCredit = 0
		for _, s := range c.streams {
			c.maxCredit = max(c.maxCredit, s.credit)
		}
		if c.maxCredit+window > maxWindow {
			return violation(xhttp2.ErrCodeFlowControl, "window of a stream too large")
		}
	}
	if c.blocked > 0 {
		for _, s := range c.streams {
			s.unblock()
		}
	}
	return nil
}

// unblock lets a stream go on that waited for its window. It holds mu.
func (s *stream) unblock() {
	if s.blocked && s.c.peerWindow+s.credit > 0 {
		s.blocked = false
		s.c.blocked--
		s.writable.Signal()
	}
}

func (c *conn) windowFrame(h frameHeader, p []byte) error {
	if len(p) != 4 {
		return violation(xhttp2.ErrCodeFrameSize, "WINDOW_UPDATE of a wrong size")
	}
	n := int64(binary.BigEndian.Uint32(p) & maxWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.countWindow(); err != nil {
		return err
	}
	if h.stream == 0 {
		return c.widen(n)
	}
	s := c.streams[h.stream]
	switch {
	case s == nil && c.idle(h.stream):
		return violation(xhttp2.ErrCodeProtocol, "WINDOW_UPDATE on an idle stream")
	case s == nil:
		return nil
	case n == 0:
		return streamViolation(h.stream, xhttp2.ErrCodeProtocol, "WINDOW_UPDATE of 0")
	case c.peerWindow+s.credit+n > maxWindow:
		return streamViolation(h.stream, xhttp2.ErrCodeFlowControl, "window of the stream too large")
	}
	s.wire.Received += frameHeaderSize + 4
	s.credit += n
	c.maxCredit = max(c.maxCredit, s.credit)
	s.unblock()
	return nil
}

// widen adds to the connection's window. It holds mu.
func (c *conn) widen(n int64) error {
	switch {
	case n == 0:
		return violation(xhttp2.ErrCodeProtocol, "WINDOW_UPDATE of 0")
	case c.window+n > maxWindow:
		return violation(xhttp2.ErrCodeFlowControl, "window of the connection too large")
	}
	c.window += n
	c.callNext()
	return nil
}
