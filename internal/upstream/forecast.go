package upstream

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

// A forecast has connections made to the hosts that the next requests will go to, before
// there are any (predictive_preconnect_ratio). It chooses hosts ahead of the requests, which
// then get those.
type forecast struct {
	ratio float64 // of the requests that connections are made for, to those there are; above 1

	// Of all pools together: requests, and how many the connections have, or have room for.
	streams, provided atomic.Int64

	mu   sync.Mutex
	of   *roster // what next was chosen from
	next []*host // in the order in which requests get them
}

// newForecast returns nil where nothing is made in advance: where a request decides where it
// goes, or how busy the hosts are then, that cannot be known before (Envoy).
func newForecast(p *plan.Cluster) *forecast {
	ahead := p.LB.Policy == plan.RoundRobin || p.LB.Policy == plan.Random
	if p.PredictivePreconnect <= 1 || !ahead || p.LB.Subset != nil || p.Aggregate != nil || p.OriginalDst != nil || p.Forward != nil {
		return nil
	}
	return &forecast{ratio: p.PredictivePreconnect}
}

// take returns the host that was chosen for the next request; nil: none was.
func (f *forecast) take(r *roster) *host {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of != r || len(f.next) == 0 {
		return nil
	}
	h := f.next[0]
	f.next = f.next[1:]
	return h
}

// choose chooses one more host in advance, of no more than there are healthy ones; nil: none.
func (f *forecast) choose(c *Cluster, r *roster) *host {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of != r { // what was chosen may not be there any more
		f.of, f.next = r, nil
	}
	if len(f.next) >= r.balancer.Membership().Healthy {
		return nil
	}
	h := c.choose(r, lb.Request{Random: rand.Uint64()})
	if h != nil {
		f.next = append(f.next, h)
	}
	return h
}

// short reports whether connections are too few with one request more.
func (f *forecast) short(streams, provided int) bool {
	return float64(streams+1)*f.ratio > float64(provided)
}

// foresee makes connections for requests that are like an order, which is about to be sent; a
// few at a time (Envoy).
func (c *Cluster) foresee(o *order) {
	f := c.forecast
	if f == nil {
		return
	}
	r := c.roster.Load()
	for range 3 {
		if !f.short(int(f.streams.Load()), int(f.provided.Load())) {
			return
		}
		h := f.choose(c, r)
		if h == nil {
			return
		}
		if p, err := h.pools.get(o); err != nil || !p.ahead(o, f) {
			return
		}
	}
}

// ahead makes a connection for a request that has not come yet. It reports whether it did.
func (p *pool) ahead(o *order, f *forecast) bool {
	p.mu.Lock()
	defer p.unlock()
	defer p.tidy() // it may have been made for this
	if p.gone || p.draining || p.key.unique || !p.host.healthy() || !f.short(p.streams(), p.provided()) || !p.mayPreconnect() {
		return false
	}
	p.origin = newOrigin(o)
	return p.dial()
}

// unlock ends what was done with the pool, and tells the forecast of it.
func (p *pool) unlock() {
	if f := p.host.cluster.forecast; f != nil {
		streams, provided := p.streams(), p.provided()
		f.streams.Add(int64(streams - p.told.streams))
		f.provided.Add(int64(provided - p.told.provided))
		p.told.streams, p.told.provided = streams, provided
	}
	p.mu.Unlock()
}
