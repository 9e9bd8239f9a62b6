package upstream

import (
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// An exchange is one on a connection of a pool.
type exchange struct {
	httpmsg.Exchange
	member *member
	reset  atomic.Bool
}

var (
	_ filter.UpstreamStream = (*exchange)(nil)
	_ httpmsg.Watched       = (*exchange)(nil)
)

// Host implements filter.UpstreamStream.
func (x *exchange) Host() *filter.Host { return &x.member.pool.host.Host }

// Protocol implements filter.UpstreamStream.
func (x *exchange) Protocol() httpmsg.Protocol { return x.member.pool.key.protocol }

// Wire implements filter.UpstreamStream.
func (x *exchange) Wire() filter.HTTPBytes {
	if m, ok := x.Exchange.(httpmsg.Metered); ok {
		return m.Wire()
	}
	return filter.HTTPBytes{}
}

// ReadResponse implements httpmsg.Exchange. A host that says that it wants no requests gets
// none from then on.
func (x *exchange) ReadResponse() (*httpmsg.Response, error) {
	r, err := x.Exchange.ReadResponse()
	if h := x.member.pool.host; h.check != nil && err == nil && r.Header.Has("x-envoy-immediate-health-check-fail") {
		h.check.Immediate()
	}
	return r, err
}

// Reset implements httpmsg.Writer.
func (x *exchange) Reset(why *httpmsg.ResetError) {
	if !x.reset.Swap(true) && x.Protocol() == httpmsg.HTTP2 {
		x.member.pool.host.cluster.stats.http.sent.Add(1)
	}
	x.Exchange.Reset(why)
}

// OnReset implements httpmsg.Watched.
func (x *exchange) OnReset(f func(*httpmsg.ResetError)) {
	if w, ok := x.Exchange.(httpmsg.Watched); ok {
		w.OnReset(f)
	}
}

// Outcome implements filter.UpstreamStream.
func (x *exchange) Outcome(status int, why *httpmsg.ResetError) {
	x.member.pool.host.outcome(status, why)
	if why == nil || x.Protocol() != httpmsg.HTTP2 {
		return
	}
	stats := x.member.pool.host.cluster.stats
	switch why.Reason { // Envoy counts these of multiplexed connections alone
	case httpmsg.RemoteReset:
		stats.http.received.Add(1)
	case httpmsg.ConnectionTermination, httpmsg.LocalConnectionFailure, httpmsg.RemoteConnectionFailure, httpmsg.ConnectionTimeout:
		stats.ejected.Add(1)
	}
}

// Release implements httpmsg.Exchange.
func (x *exchange) Release() {
	m := x.member
	p := m.pool
	f, ok := x.Exchange.(httpmsg.Finite)
	cut := ok && !f.Finished()
	m.releasing.Add(1)
	x.Exchange.Release()
	p.mu.Lock()
	m.releasing.Add(-1)
	if cut {
		m.broken()
	}
	p.end(m)
	p.mu.Unlock()
}

// end settles an exchange that was released.
func (p *pool) end(m *member) {
	m.active--
	p.active--
	p.host.cluster.stats.requestsActive.Add(-1)
	p.host.Requests.Add(^uint64(0))
	p.breaker.release(&p.breaker.requests)
	m.refresh()
	p.serve()
	m.rest()
}
