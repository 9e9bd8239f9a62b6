package hcm

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// never is later than every limit.
const never = time.Duration(math.MaxInt64)

// watch starts the connection's timer.
func (c *conn) watch() {
	l := &c.service.config.Limits
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.longest = l.duration; c.longest > 0 && l.durationJitter > 0 {
		c.longest += time.Duration(rand.Float64() * l.durationJitter * float64(l.duration))
	}
	c.idleSince.Store(int64(c.since()))
	c.due = c.next()
	c.timer = time.AfterFunc(c.due-c.since(), c.tick)
}

// arm makes the timer fire at a time, if it would later. The caller holds mu.
func (c *conn) arm(at time.Duration) {
	if at < c.due && c.timer != nil && !c.finished {
		c.due = at
		c.timer.Reset(max(at-c.since(), 0))
	}
}

// tick does what is due and sets the timer for what comes next.
func (c *conn) tick() {
	now := c.since()
	var over, entries []expired
	c.mu.Lock()
	if c.finished {
		c.mu.Unlock()
		return
	}
	c.due = never
	for s := c.streams; s != nil; s = s.next {
		l, at := s.earliest()
		if at <= now {
			over = append(over, expired{s, s.turn, l})
			at = now + s.flushLimit()
		}
		if s.passEntry(now) {
			entries = append(entries, expired{stream: s, turn: s.turn})
		}
		c.due = min(c.due, at, s.nextEntry())
	}
	do := c.overdue(now)
	c.due = max(min(c.due, c.next()), now+time.Millisecond)
	c.timer.Reset(c.due - now)
	c.mu.Unlock()
	for _, e := range entries {
		e.stream.callEntry(e.turn)
	}
	for _, e := range over {
		e.stream.strike(e.turn, e.limit)
	}
	if do != nil {
		do()
	}
}

// expired is a stream that has reached a limit.
type expired struct {
	stream *stream
	turn   uint64
	limit  *limit
}

// next is when the connection itself is to be looked at. The caller holds mu.
func (c *conn) next() time.Duration {
	at := never
	idle := c.active.Load() == 0
	if d := c.service.config.Limits.idle; d > 0 && !c.draining {
		since := time.Duration(c.idleSince.Load())
		if !idle {
			since = c.since()
		}
		at = min(at, since+d)
	}
	if c.longest > 0 {
		at = min(at, c.longest)
	}
	if c.parting != 0 && c.server != nil {
		at = min(at, c.parting)
	}
	return at
}

// overdue returns what a limit of the connection demands; nil: nothing. The caller
// holds mu, but not when it does it.
func (c *conn) overdue(now time.Duration) func() {
	l, st := &c.service.config.Limits, c.service.stats
	idle := c.active.Load() == 0
	switch {
	case c.parting != 0 && c.server != nil && now >= c.parting:
		c.parting = 0
		if !c.draining {
			st.cxDrainClose.Add(1)
			return c.drain
		}
	case c.longest > 0 && now >= c.longest:
		c.longest = 0
		st.cxDuration.Add(1)
		return c.outlived
	case c.draining: // the codec ends it
	case idle && l.idle > 0 && now-time.Duration(c.idleSince.Load()) >= l.idle:
		st.cxIdle.Add(1)
		c.idleSince.Store(int64(now)) // the clock may look again before this is done
		if c.silent() {
			return func() { c.CloseLocal(idleReason) }
		}
		return c.drain
	}
	return nil
}

// silent reports whether the client has never sent anything. The caller holds mu.
func (c *conn) silent() bool {
	if c.server == nil {
		return true
	}
	received, _ := c.server.Bytes()
	return received == 0
}

// The local close reasons of a connection manager.
const (
	idleReason     = "on_idle_timeout"
	durationReason = "max_connection_duration_reached"
)

// outlived ends a connection that has reached its maximum duration.
func (c *conn) outlived() {
	c.mu.Lock()
	silent := c.silent()
	c.mu.Unlock()
	switch {
	case silent:
		c.CloseLocal(durationReason)
	case c.service.config.Limits.safeDuration && c.server.Protocol() != httpmsg.HTTP2:
		c.soften()
	default:
		c.drain()
	}
}

// soften makes the request that begins next the last one, whenever that is, for then no
// request can meet a connection that is just being closed.
func (c *conn) soften() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining && !c.finished {
		c.soft.Store(true)
		c.service.stats.cxSoftDrain.Add(1)
	}
}
