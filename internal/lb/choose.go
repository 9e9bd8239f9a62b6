package lb

import (
	"math"
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

type none struct{}

func (none) choose(uint64) *filter.Host { return nil }

type anyOf []*filter.Host

func (a anyOf) choose(seed uint64) *filter.Host { return a[seed%uint64(len(a))] }

// rotation is ROUND_ROBIN for equal weights.
type rotation struct {
	hosts []*filter.Host
	turn  atomic.Uint64
}

func (t *rotation) choose(uint64) *filter.Host {
	return t.hosts[(t.turn.Add(1)-1)%uint64(len(t.hosts))]
}

// leastBusy is LEAST_REQUEST for equal weights: the least busy one of a few, taken
// at random and perhaps more than once; of equals the first.
type leastBusy struct {
	hosts   []*filter.Host
	choices uint32
}

func (l *leastBusy) choose(seed uint64) *filter.Host {
	n, r := uint64(len(l.hosts)), random(seed)
	best := l.hosts[r.next()%n]
	for range l.choices - 1 {
		if h := l.hosts[r.next()%n]; h.Requests.Load() < best.Requests.Load() {
			best = h
		}
	}
	return best
}

// leastOfAll is LEAST_REQUEST that looks at all hosts: of those that are least busy each is
// as likely.
type leastOfAll []*filter.Host

func (l leastOfAll) choose(seed uint64) *filter.Host {
	best, least, same, r := l[0], l[0].Requests.Load(), uint64(1), random(seed)
	for _, h := range l[1:] {
		switch n := h.Requests.Load(); {
		case n < least:
			best, least, same = h, n, 1
		case n == least:
			if same++; r.next()%same == 0 {
				best = h
			}
		}
	}
	return best
}

// scheduled is a policy for unequal weights.
type scheduled struct {
	hosts    []*filter.Host
	schedule *edf
}

func (s *scheduled) choose(uint64) *filter.Host { return s.hosts[s.schedule.next()] }

// schedule gives each host turns by its weight; under LEAST_REQUEST that weight
// shrinks as the host gets busier: weight / (active + 1) ^ bias. In a slow start it grows.
func (b *Balancer) schedule(in []Endpoint, seed uint64) *scheduled {
	s := &scheduled{hosts: hostsOf(in)}
	weights := make([]float64, len(in))
	for i := range in {
		weights[i] = float64(in[i].weight())
	}
	current := b.burdened(s.hosts, weights)
	if b.slow != nil {
		current = b.slow.scaled(in, weights, current)
	}
	s.schedule = newEDF(weights, current, seed)
	return s
}

// burdened returns what the weights are as the hosts are busy; nil: what they are in any
// case.
func (b *Balancer) burdened(hosts []*filter.Host, weights []float64) func(i int) float64 {
	bias := b.policy.ActiveBias
	if b.policy.Policy != plan.LeastRequest || bias <= 0 {
		return nil
	}
	return func(i int) float64 {
		busy := float64(hosts[i].Requests.Load()) + 1
		if bias != 1 {
			busy = math.Pow(busy, bias)
		}
		return weights[i] / busy
	}
}
