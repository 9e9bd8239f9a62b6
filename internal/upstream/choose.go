package upstream

import (
	"math/rand/v2"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

// pick chooses a host; nil: none may be used. Of an aggregate cluster it is another one's.
func (c *Cluster) pick(i *filter.Info, q lb.Request) *host {
	q.Random = rand.Uint64()
	var h *host
	switch {
	case c.origin != nil:
		h = c.origin.choose(i)
	case c.aggregate != nil:
		h = c.aggregate.choose(q)
	default:
		r := c.roster.Load()
		if q.Tried == nil {
			h = c.forecast.take(r)
		}
		if h == nil {
			h = c.choose(r, q)
		}
	}
	if h == nil {
		c.stats.noneHealthy.Add(1)
	}
	return h
}

// choose chooses a host of a roster, and counts how that went.
func (c *Cluster) choose(r *roster, q lb.Request) *host {
	x := r.balancer.Pick(q)
	if x.Panics > 0 {
		c.stats.panics.Add(x.Panics)
	}
	if c.plan.LB.Subset != nil {
		c.stats.subsets.count(&x)
	}
	return r.byHost[x.Host]
}

// balance makes the balancer of a roster, by the health that its hosts have now.
// c.changing is held.
func (c *Cluster) balance(r *roster) *lb.Balancer {
	hosts := c.current(r)
	hosts.Clock = c.set.now
	if s := c.plan.LB.SlowStart; s != nil && s.AggressionKey != "" {
		hosts.Aggression = func() float64 { return c.set.double(s.AggressionKey, s.Aggression) }
	}
	return lb.New(c.policy(), hosts, rand.Uint64())
}

// policy is the plan's, with what the runtime has over it (Envoy).
func (c *Cluster) policy() plan.LB {
	p := c.plan.LB
	if r := c.set.opts.Runtime; r != nil {
		const none = 1 << 32
		if v := r.Uint("upstream.healthy_panic_threshold", none); v != none {
			p.PanicPercent = float64(v)
		}
	}
	if p.BiasKey != "" {
		if p.ActiveBias = c.set.double(p.BiasKey, p.ActiveBias); !(p.ActiveBias >= 0) { // NaN neither
			p.ActiveBias = 1
		}
	}
	return p
}

// double is a value of the runtime.
func (s *Set) double(key string, def float64) float64 {
	if r, ok := s.opts.Runtime.(filter.Doubles); ok {
		return r.Double(key, def)
	}
	return def
}

// healthySince is when the host's slow start began: when it was first seen healthy, and
// anew after it had failed its active health checks (Envoy; an ejected host has its whole
// weight when it comes back). c.changing is held.
func (h *host) healthySince(now time.Duration, health lb.Health) time.Duration {
	switch {
	case h.check != nil && h.check.Failed():
		h.since = 0
	case h.since == 0 && health == lb.Healthy:
		h.since = max(now, 1)
	}
	return h.since
}
