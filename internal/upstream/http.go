package upstream

import (
	"math/rand/v2"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

// Info implements filter.HTTPCluster.
func (c *Cluster) Info() *filter.ClusterInfo {
	if c.aggregate != nil {
		return c.aggregate.info()
	}
	return &c.info
}

// Stats implements filter.HTTPCluster.
func (c *Cluster) Stats() filter.Scope { return c.stats.scope }

// Refuses implements filter.HTTPCluster. The runtime may lower what the hosts came with.
func (c *Cluster) Refuses() filter.Refusal {
	r := c.set.opts.Runtime
	if r != nil && r.Enabled(c.maintenance, 0) {
		return filter.InMaintenance
	}
	drop := c.roster.Load().assignment.DropsOfMillion
	if drop > 0 && r != nil {
		drop = uint32(min(uint64(drop), r.Uint("load_balancing_policy.drop_overload_limit", 100)*(plan.Million/100)))
	}
	switch {
	case drop == 0:
		return filter.NotRefused
	case drop >= plan.Million:
		return filter.AllDropped
	case rand.Uint32N(plan.Million) < drop:
		return filter.Dropped
	}
	return filter.NotRefused
}

// Retry implements filter.HTTPCluster.
func (c *Cluster) Retry(high bool) (done func(), ok bool) {
	b := c.breaker(high)
	if !b.retry() {
		return nil, false
	}
	return func() { b.release(&b.retries) }, true
}

func (c *Cluster) breaker(high bool) *breaker {
	if high {
		return c.stats.breakers[1]
	}
	return c.stats.breakers[0]
}

// Open implements filter.HTTPCluster. The request's own deadline ends the wait as
// canceling does, with ErrCanceled.
func (c *Cluster) Open(r *filter.StreamRequest) (filter.UpstreamStream, error) {
	r.Info.Up.ClusterInfo = &c.info
	if err := c.resolveRequest(r); err != nil {
		return nil, err
	}
	h := c.pickFor(r)
	if h == nil {
		return nil, filter.ErrNoHost
	}
	c.tell(r.Info, h)
	tries(r.Info, h)
	o := order{r: r, shared: r.Info.State.Shared()}
	c.foresee(&o)
	for {
		p, err := h.pools.get(&o)
		if err != nil {
			r.Info.Up.Host = nil
			return nil, err
		}
		s, err := p.open(&o)
		if err == errGone {
			continue
		}
		if err != nil {
			h.noStream(err)
			return nil, err
		}
		if h.outlier != nil {
			h.outlier.Connected(false)
		}
		o.opened(s)
		return s, nil
	}
}

// pickFor chooses the host of a request.
func (c *Cluster) pickFor(r *filter.StreamRequest) *host {
	if h := c.named(r.Info, r.Try); h != nil {
		return h
	}
	q := lb.Request{Hash: r.Hash, Tried: r.Tried, Every: r.TriedEvery, Match: r.Match}
	h := c.pick(r.Info, q)
	for n := 0; n < r.AvoidTries && h != nil && r.Avoid != nil && r.Avoid(&h.Host); n++ {
		h = c.pick(r.Info, q)
	}
	return h
}

// An order is a request that asks for a stream, on its way to a host.
type order struct {
	r      *filter.StreamRequest
	shared []filter.Entry

	asked time.Duration // in the set's time, when it began to wait; 0: it did not
}

// protocol is what the request will be sent in, or the most that may be negotiated.
func (o *order) protocol(p *plan.Cluster) httpmsg.Protocol {
	switch v := p.HTTP.Version; {
	case v == plan.HTTP2Only, v == plan.Negotiated, v == plan.AsDownstream && o.r.Protocol == httpmsg.HTTP2:
		return httpmsg.HTTP2
	}
	return httpmsg.HTTP11
}

// connection returns the downstream connection of the request.
func (o *order) connection() *filter.Info {
	if h := o.r.Info.HTTP(); h != nil && h.Conn != nil {
		return h.Conn
	}
	return o.r.Info
}

// opened writes down where the request goes.
func (o *order) opened(s *exchange) {
	i, m := o.r.Info, s.member
	s.info = i
	up, set := &i.Up, m.pool.host.cluster.set
	up.Local, up.Remote, up.ID = m.local, m.remote, m.id
	if m.tls != nil || i.Rest().UpTLS != nil { // of a try before
		i.More().UpTLS = m.tls
	}
	if begun := m.born - i.Start.Sub(set.epoch); begun >= 0 { // made for it
		up.Begun, up.Ready = begun, begun+m.took
	}
	if o.shared != nil || i.Rest().UpState != nil { // of a try before
		i.More().UpState = o.shared
	}
	if h := i.HTTP(); h != nil {
		h.UpProtocol = m.protocol
		if h.PoolReady = 1; o.asked != 0 {
			h.PoolReady = set.now() - o.asked
		}
	}
}
