package upstream

import (
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A conn is a connection to a host. It is small, for every hop of an idle connection
// keeps one.
type conn struct {
	stream filter.Stream // nil: handed over
	host   *host
	begun  time.Duration // in the set's time
}

var _ filter.UpstreamConn = (*conn)(nil)

// Stream implements filter.UpstreamConn.
func (c *conn) Stream() filter.Stream { return c.stream }

// Moved implements filter.UpstreamConn.
func (c *conn) Moved(received, sent uint64) {
	s := c.host.cluster.stats
	if received > 0 {
		s.received.Add(received)
	}
	if sent > 0 {
		s.sent.Add(sent)
	}
}

// Flow implements filter.UpstreamConn.
func (c *conn) Flow(paused bool) {
	if s := c.host.cluster.stats; paused {
		s.paused.Add(1)
	} else {
		s.resumed.Add(1)
	}
}

// Closed implements filter.UpstreamConn.
func (c *conn) Closed(local bool) {
	s := c.host.cluster.stats
	s.requestsActive.Add(-1)
	c.host.Requests.Add(^uint64(0))
	s.cutOff(local)
	s.breakers[0].closed()
	s.ended(c.host, local, c.host.cluster.set.now()-c.begun)
}

// cutOff counts a connection that ended with a request under way.
func (s *stats) cutOff(local bool) {
	s.withRequest.Add(1)
	if local {
		s.localWithRequest.Add(1)
	} else {
		s.remoteWithRequest.Add(1)
	}
}

// opened counts a connection that is being made.
func (s *stats) opened(h *host) {
	s.total.Add(1)
	if !s.used.Load() {
		s.used.Store(true)
	}
	s.active.Add(1)
	h.Total.Add(1)
	h.Active.Add(1)
}

// ended counts a connection that is no more, whether it was ever made or not.
func (s *stats) ended(h *host, local bool, lived time.Duration) {
	s.destroy.Add(1)
	if local {
		s.destroyLocal.Add(1)
	} else {
		s.destroyRemote.Add(1)
	}
	s.active.Add(-1)
	s.lengthMillis.Record(uint64(lived.Milliseconds()))
	h.Active.Add(^uint64(0))
	h.slots.release()
}
