package tcpproxy

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A hop is one connection that passes the proxy: it connects it to a host, then
// observes the pump that serves it, perhaps together with hops further in.
type hop struct {
	proxy *Proxy
	conn  *filter.Conn
	up    filter.UpstreamConn // nil until connected; fixed from then on
	clock *clock              // nil: no times are configured that need one

	mu     sync.Mutex
	server filter.Pump // who moves the bytes, or is about to
}

// A clock is what a hop keeps of times that are rarely configured: an idle connection
// has a hop for each listener it passes.
type clock struct {
	duration time.Duration // longest; 0: none

	// Guarded by hop.mu.
	over     bool
	periodic *time.Timer // nil: no periodic entries
	drain    *time.Timer // nil: drains are left to the listener
	seen     uint64      // bytes when drain fired last
}

func (p *Proxy) newHop(c *filter.Conn) *hop {
	h := &hop{proxy: p, conn: c}
	c.Info.UpClose = filter.CloseNormal
	c.Info.Shown = c.Info.Shown || len(p.logs) > 0
	if c.AwaitsData() {
		c.Guard(&h.mu) // of periodic entries
	}
	every := p.config.LogEvery
	if every <= 0 && p.config.MaxDuration <= 0 && !p.config.DrainClose {
		return h
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = &clock{duration: p.maxDuration()}
	if every > 0 {
		h.clock.periodic = time.AfterFunc(every, h.logPeriodic)
	}
	if p.config.DrainClose {
		h.clock.drain = time.AfterFunc(drainEvery, h.askDrain)
	}
	return h
}

// Outer implements filter.Outer.
func (h *hop) Outer() filter.Outer { return h.conn.Outer }

// Limits implements filter.Outer. The idle time counts from the beginning, so that
// connecting is part of it (Envoy).
func (h *hop) Limits() filter.Limits {
	l := filter.Limits{Idle: h.proxy.idleTimeout(&h.conn.Info), IdleSince: h.conn.Info.Start}
	if own := h.conn.Info.Listener; own != nil {
		l.BufferBytes, l.DownstreamHighWatermark = own.BufferBytes, own.HighWatermarkTimeout
	}
	if c := h.conn.Info.Up.ClusterInfo; c != nil {
		l.UpstreamHighWatermark = c.HighWatermarkTimeout
		if c.BufferBytes > 0 && (l.BufferBytes == 0 || c.BufferBytes < l.BufferBytes) {
			l.BufferBytes = c.BufferBytes
		}
	}
	if h.clock != nil && h.clock.duration > 0 {
		l.Deadline = l.IdleSince.Add(h.clock.duration)
	}
	return l
}

// Serves implements filter.Outer.
func (h *hop) Serves(p filter.Pump) {
	h.mu.Lock()
	before := h.server
	h.server = p
	h.mu.Unlock()
	if before != p {
		unwatch(before)
	}
	if reason := h.conn.Closing(); reason != "" {
		p.CloseLocal(h, reason)
	}
}

// CloseLocal implements filter.Closer.
func (h *hop) CloseLocal(reason string) {
	h.mu.Lock()
	p := h.server
	h.mu.Unlock()
	if p != nil {
		p.CloseLocal(h, reason)
	}
}

// Moved implements filter.Outer.
func (h *hop) Moved(up, down uint64) {
	h.mu.Lock()
	i := &h.conn.Info
	i.Received += up
	i.Sent += down
	i.Up.Sent += up
	i.Up.Received += down
	h.mu.Unlock()
	h.up.Moved(down, up)
	h.proxy.stats.received.Add(up)
	h.proxy.stats.sent.Add(down)
}

// Bytes returns the bytes from and to downstream so far. The pump has told of them
// when it was settled last.
func (h *hop) Bytes() (received, sent uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conn.Info.Received, h.conn.Info.Sent
}

// Flow implements filter.Outer.
func (h *hop) Flow(from filter.Direction, paused bool) {
	switch {
	case from == filter.FromUpstream:
		h.up.Flow(paused)
	case paused:
		h.proxy.stats.paused.Add(1)
	default:
		h.proxy.stats.resumed.Add(1)
	}
}

// Flushing tells that downstream is gone and bytes for the host are left to write.
func (h *hop) Flushing(begins bool) {
	if begins {
		h.proxy.stats.flushes.Add(1)
		h.proxy.stats.flushing.Add(1)
	} else {
		h.proxy.stats.flushing.Add(-1)
	}
}

// Ended implements filter.Outer.
func (h *hop) Ended(e filter.Ending) {
	h.mu.Lock()
	before := h.server
	h.server = nil
	if k := h.clock; k != nil {
		k.over = true
		for _, t := range []*time.Timer{k.periodic, k.drain} {
			if t != nil {
				t.Stop()
			}
		}
	}
	h.mu.Unlock()
	unwatch(before)
	h.note(e)
	if h.up != nil {
		h.up.Closed(e.Cause != filter.UpstreamClosed && e.Cause != filter.UpstreamReset)
	}
	h.conn.Info.Duration = time.Since(h.conn.Info.Start)
	h.log(filter.TCPConnectionEnd)
	h.conn.End()
}

// note writes down how the connection ended, in Envoy's words (StreamInfo's
// LocalCloseReasons).
func (h *hop) note(e filter.Ending) {
	i := &h.conn.Info
	if e.Cause == filter.DownstreamClosed || e.Cause == filter.UpstreamClosed {
		// Where several hops of a chain are ended, the first one ends the others.
		if reason := h.conn.Closing(); reason != "" {
			e = filter.Ending{Cause: filter.LocalClose, Reason: reason}
		}
	}
	switch e.Cause {
	case filter.UpstreamClosed:
		h.lateRefusal(e.Why)
	case filter.DownstreamReset:
		i.DownClose = filter.CloseRemoteReset
	case filter.UpstreamReset:
		i.Raise(filter.UpstreamRemoteReset)
		i.UpClose, i.DownClose = filter.CloseRemoteReset, filter.CloseLocalReset
	case filter.IdleTimeout:
		h.proxy.stats.idle.Add(1)
		h.closedFor("tcp_session_idle_timeout")
	case filter.DurationReached:
		h.proxy.stats.duration.Add(1)
		i.Raise(filter.DurationTimeout)
		h.closedFor("max_connection_duration_reached")
	case filter.DownstreamHighWatermarkReached:
		h.closedFor(filter.HighWatermarkReason)
	case filter.UpstreamHighWatermarkReached:
		i.More().UpReason = filter.HighWatermarkReason
	case filter.LocalClose:
		h.closedFor(e.Reason)
	}
}

// lateRefusal notes that a hop further in had accepted the connection, and then could not
// be connected. It was no success of this one, either.
func (h *hop) lateRefusal(why error) {
	if why == nil {
		return
	}
	i := &h.conn.Info
	i.Raise(filter.UpstreamConnectionFailure)
	var c *filter.ConnectError
	if errors.As(why, &c) {
		x := i.More()
		x.UpFailure, x.UpState = c.Reason, append(slices.Clip(x.UpState), c.Told...)
	}
}

// closedFor notes a reason of our own, for both sides as far as there are two.
func (h *hop) closedFor(reason string) {
	x := h.conn.Info.More()
	x.DownReason = reason
	if h.up != nil {
		x.UpReason = reason
	}
}

// log writes an entry to the filter's access logs.
func (h *hop) log(t filter.AccessLogType) {
	for _, l := range h.proxy.logs {
		l.Log(&h.conn.Info, t)
	}
}

// settled returns the pump that moves the bytes, which has told of them. While the connection
// is still being made, and its Info belongs to who makes it, it is nil.
func (h *hop) settled() filter.Pump {
	h.mu.Lock()
	p := h.server
	h.mu.Unlock()
	if _, connecting := p.(*attempt); connecting || p == nil {
		return nil
	}
	p.Settle()
	return p
}

// logPeriodic writes an entry while bytes flow, with those so far.
func (h *hop) logPeriodic() {
	p := h.settled()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.clock.over {
		return
	}
	if p != nil {
		h.conn.Info.Duration = time.Since(h.conn.Info.Start)
		h.log(filter.TCPPeriodic)
	}
	h.clock.periodic.Reset(h.proxy.config.LogEvery)
}

// drainEvery is how often a connection is looked at that ends when bytes pass while its
// listener drains. Envoy asks for each read and write, and drops what it has just read; here
// whoever moves bytes does not know of drains, whose decisions change with each second only.
const drainEvery = time.Second

// askDrain ends the connection if bytes have passed and it is to end.
func (h *hop) askDrain() {
	p := h.settled()
	h.mu.Lock()
	if h.clock.over {
		h.mu.Unlock()
		return
	}
	moved := false
	if p != nil {
		now := h.conn.Info.Received + h.conn.Info.Sent
		moved, h.clock.seen = now != h.clock.seen, now
	}
	h.clock.drain.Reset(drainEvery)
	h.mu.Unlock()
	if moved && h.conn.DrainClose() {
		p.CloseLocal(h, "tcp_proxy_drain_close")
	}
}

// DrainBegins implements filter.DrainWatcher: what has passed before does not end it.
func (h *hop) DrainBegins() {
	if h.proxy.config.DrainClose && h.settled() != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.clock.seen = h.conn.Info.Received + h.conn.Info.Sent
	}
}

// pump hands both streams over to a pump.
func (h *hop) pump() {
	c := h.conn
	var first func() error
	if c.AwaitsData() {
		first = c.FirstData
	}
	h.proxy.env.Pumps.Start(c.Stream, h.up.Stream(), h, first)
}
