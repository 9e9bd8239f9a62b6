package upstream

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// An exchange is one on a connection of a pool. The codec's may be another request's once it
// was released; this one is not used again, so that whoever comes too late does no harm.
type exchange struct {
	httpmsg.Exchange
	member *member
	info   *filter.Info // of the request
	reset  atomic.Bool

	// life is held for reading by those who may come too late, who need not wait for who
	// releases, and for writing to release.
	life     sync.RWMutex
	released bool
}

// enter reports whether the exchange is not released, nor being so; leave must follow.
func (x *exchange) enter() bool {
	if !x.life.TryRLock() {
		return false
	}
	if x.released {
		x.life.RUnlock()
		return false
	}
	return true
}

func (x *exchange) leave() { x.life.RUnlock() }

var (
	_ filter.UpstreamStream = (*exchange)(nil)
	_ httpmsg.Watched       = (*exchange)(nil)
)

// Host implements filter.UpstreamStream.
func (x *exchange) Host() *filter.Host { return &x.member.pool.host.Host }

// Protocol implements filter.UpstreamStream.
func (x *exchange) Protocol() httpmsg.Protocol { return x.member.protocol }

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
	err = x.explain(err)
	if h := x.member.pool.host; h.check != nil && err == nil && r.Header.Has("x-envoy-immediate-health-check-fail") {
		h.check.Immediate()
	}
	return r, err
}

// WriteRequest implements httpmsg.Exchange.
func (x *exchange) WriteRequest(r *httpmsg.Request, end bool) error {
	return x.explain(x.Exchange.WriteRequest(r, end))
}

// Flush implements httpmsg.Writer.
func (x *exchange) Flush() error { return x.explain(x.Exchange.Flush()) }

// explain adds to the end of a connection to an internal listener what its hop could not be
// connected for.
func (x *exchange) explain(err error) error {
	why, ok := err.(*httpmsg.ResetError)
	if !ok || why.Reason != httpmsg.ConnectionTermination || x.member.stream == nil {
		return err
	}
	var c *filter.ConnectError
	if !errors.As(x.member.stream.Why(), &c) {
		return err
	}
	told := *why
	told.Failure, told.Err = c.Reason, c
	if c.Told != nil {
		e := x.info.More()
		e.UpState = append(slices.Clip(e.UpState), c.Told...)
	}
	return &told
}

// Reset implements httpmsg.Writer.
func (x *exchange) Reset(why *httpmsg.ResetError) {
	if !x.enter() {
		return
	}
	defer x.leave()
	if !x.reset.Swap(true) && x.Protocol() == httpmsg.HTTP2 {
		x.member.pool.host.cluster.stats.http.sent.Add(1)
	}
	x.Exchange.Reset(why)
}

// OnReset implements httpmsg.Watched.
func (x *exchange) OnReset(f func(*httpmsg.ResetError)) {
	if !x.enter() {
		return
	}
	defer x.leave()
	if w, ok := x.Exchange.(httpmsg.Watched); ok {
		w.OnReset(f)
	}
}

// Outcome implements filter.UpstreamStream.
func (x *exchange) Outcome(status int, why *httpmsg.ResetError) {
	if !x.enter() {
		return
	}
	defer x.leave()
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
	x.life.Lock()
	x.released = true
	x.life.Unlock()
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
	p.unlock()
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
