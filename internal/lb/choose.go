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

// scheduled is a policy for unequal weights.
type scheduled struct {
	hosts    []*filter.Host
	schedule *edf
}

func (s *scheduled) choose(uint64) *filter.Host { return s.hosts[s.schedule.next()] }

// schedule gives each host turns by its weight; under LEAST_REQUEST that weight
// shrinks as the host gets busier: weight / (active + 1) ^ bias.
func (b *Balancer) schedule(in []Endpoint, seed uint64) *scheduled {
	s := &scheduled{hosts: hostsOf(in)}
	weights := make([]float64, len(in))
	for i := range in {
		weights[i] = float64(in[i].weight())
	}
	var current func(i int) float64
	if bias := b.policy.ActiveBias; b.policy.Policy == plan.LeastRequest && bias > 0 {
		current = func(i int) float64 {
			busy := float64(s.hosts[i].Requests.Load()) + 1
			if bias != 1 {
				busy = math.Pow(busy, bias)
			}
			return weights[i] / busy
		}
	}
	s.schedule = newEDF(weights, current, seed)
	return s
}
