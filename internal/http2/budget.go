package http2

import "time"

// A budget bounds what a peer can do that costs it little and this side more. It is the
// reader's own.
type budget struct {
	empty    int    // frames in a row
	settings uint64 // frames, since the beginning

	limited bool    // resets are counted: a server's
	resets  float64 // that may still come
	rate    float64 // of resets that are allowed again, per second
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

// scheduling counts frames that a peer may send for its streams without sending or taking
// content: so many for each stream that is open, as in Envoy, whose counts never go down.
// Here a stream that has left takes with it what was allowed for it, or a connection that
// lasts would run out of them. It is guarded by mu.
type scheduling struct{ priorities, windows int }

func (n *scheduling) forget(o *Options) {
	n.priorities = max(n.priorities-o.MaxPriorityFrames, 0)
	n.windows = max(n.windows-2, 0)
}

func (c *conn) countPriority() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scheduling.priorities++
	if c.scheduling.priorities > c.o.MaxPriorityFrames*(1+len(c.streams)) {
		return flood(detailInbound, "too many PRIORITY frames", statPriority)
	}
	return nil
}

// countWindow counts WINDOW_UPDATE. It holds mu.
func (c *conn) countWindow() error {
	c.scheduling.windows++
	most := 5 + 2*(uint64(len(c.streams))+uint64(c.o.MaxWindowUpdates)*c.dataFrames)
	if uint64(c.scheduling.windows) > most {
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
	if !b.limited {
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
