package hcm

import (
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// Envoy's limits (overload.premature_reset_total_stream_count and
// premature_reset_min_stream_lifetime_seconds, the latter in whole seconds).
const (
	prematureTotal    = 500
	prematureLifetime = 2 * time.Second
)

// premature counts the streams of a connection that ended, and those that ended young and
// without a response: a client that makes work and takes nothing for it.
type premature struct {
	ended, young atomic.Uint64
	closed       atomic.Bool
}

// tooMany counts a stream that lived so long, and reports whether the connection shall be
// closed for all of them.
func (p *premature) tooMany(lived time.Duration, answered bool) bool {
	ended, young := p.ended.Add(1), p.young.Load()
	if !answered && lived < prematureLifetime {
		young = p.young.Add(1)
	}
	return 2*young >= max(ended, prematureTotal)
}

// prematureResets is why a connection is closed.
const prematureResets = "too_many_premature_resets"

// enhanceYourCalm is the code of a connection that is closed so (HTTP/2 ENHANCE_YOUR_CALM).
const enhanceYourCalm = 11

// judge closes the connection of a stream that is the one too many.
func (c *conn) judge(lived time.Duration, answered bool) {
	if c.server.Protocol() == httpmsg.HTTP2 && c.premature.tooMany(lived, answered) && c.premature.closed.CompareAndSwap(false, true) {
		c.service.stats.rqPremature.Add(1)
		c.CloseLocal(prematureResets)
	}
}
