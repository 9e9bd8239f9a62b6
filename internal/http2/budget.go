package http2

import "time"

// A budget bounds what a peer can do that costs it little and this side more. It is the
// reader's own.
type budget struct {
	empty      int    // frames in a row
	priorities uint64 // frames, since the beginning
	windows    uint64
	settings   uint64

	resets  float64 // that may still come; a server's
	rate    float64 // of resets that are allowed again, per second; 0: they are not counted
	burst   float64
	counted time.Time // when resets was right
}

// payload counts frames of messages that carry nothing.
func (b *budget) payload(c *conn, n int, end bool) error {
	if n > 0 || end {
		b.empty = 0
		return nil
	}
	if b.empty++; b.empty > c.o.MaxEmptyFrames {
		return flood(detailEmpty, "too many empty frames", statEmpty)
	}
	return nil
}

func (b *budget) priority(c *conn) error {
	b.priorities++
	if most := uint64(c.o.MaxPriorityFrames) * (1 + c.streamsOpened()); b.priorities > most {
		return flood(detailInbound, "too many PRIORITY frames", statPriority)
	}
	return nil
}

func (b *budget) windowUpdate(c *conn) error {
	b.windows++
	if b.windows <= 5 {
		return nil
	}
	c.mu.Lock()
	most := 5 + 2*(c.opened+uint64(c.o.MaxWindowUpdates)*c.dataFrames)
	c.mu.Unlock()
	if b.windows > most {
		return flood(detailInbound, "too many WINDOW_UPDATE frames", statWindowUpdate)
	}
	return nil
}

// setting counts SETTINGS, each of which can move the windows of all streams.
func (b *budget) setting(c *conn) error {
	b.settings++
	if b.settings > uint64(c.o.MaxOutboundControlFrames)+c.streamsOpened() {
		return flood(detailFlood, "too many SETTINGS frames", statControl)
	}
	return nil
}

// reset counts streams that the client resets, or makes this side reset.
func (b *budget) reset(c *conn) error {
	if b.rate == 0 {
		return nil
	}
	now := time.Now()
	if !b.counted.IsZero() {
		b.resets = min(b.burst, b.resets+now.Sub(b.counted).Seconds()*b.rate)
	}
	b.counted = now
	if b.resets < 1 {
		return flood(detailInbound, "too many streams were reset", nil)
	}
	b.resets--
	return nil
}

func (c *conn) streamsOpened() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}
