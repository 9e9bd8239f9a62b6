package lb

import (
	"slices"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// level prepares one priority. Only what can be chosen is built.
func (b *Balancer) level(g []Locality, panics bool, overprovision float64, seed uint64) level {
	all := flat(g, nil)
	l := level{panics: panics}
	if b.hashing() {
		l.table = b.table(g, panics)
		return l
	}
	if panics {
		l.all = none{}
		if !b.policy.FailOnPanic {
			l.all = b.chooser(all, seed)
		}
		return l
	}
	l.healthy = b.chooser(only(all, Healthy), seed)
	l.degraded = b.chooser(only(all, Degraded), seed)
	if b.policy.LocalityWeights {
		l.healthyPlaces = b.places(g, Healthy, overprovision, seed)
		l.degradedPlaces = b.places(g, Degraded, overprovision, seed)
	}
	return l
}

func flat(g []Locality, out []Endpoint) []Endpoint {
	for _, l := range g {
		out = append(out, l.Endpoints...)
	}
	return out
}

func only(in []Endpoint, h Health) []Endpoint {
	return slices.DeleteFunc(slices.Clone(in), func(e Endpoint) bool { return e.Health != h })
}

// chooser returns the policy for some hosts. Weights that are all equal need no
// schedule (Envoy) unless a host is in a slow start, and RANDOM knows no weights.
func (b *Balancer) chooser(in []Endpoint, seed uint64) chooser {
	hosts := hostsOf(in)
	switch {
	case len(hosts) == 0:
		return none{}
	case b.policy.Policy == plan.Random:
		return anyOf(hosts)
	case !equalWeights(in), b.slow != nil && len(in) > 1:
		return b.schedule(in, seed)
	case b.policy.Policy == plan.LeastRequest && b.policy.FullScan:
		return leastOfAll(hosts)
	case b.policy.Policy == plan.LeastRequest:
		return &leastBusy{hosts: hosts, choices: max(b.policy.ChoiceCount, 2)}
	default:
		r := &rotation{hosts: hosts}
		r.turn.Store(seed)
		return r
	}
}

func hostsOf(in []Endpoint) []*filter.Host {
	out := make([]*filter.Host, len(in))
	for i := range in {
		out[i] = in[i].Host
	}
	return out
}

func equalWeights(in []Endpoint) bool {
	return !slices.ContainsFunc(in, func(e Endpoint) bool { return e.weight() != in[0].weight() })
}

// places spreads the traffic of a priority over its localities by their weights.
type places struct {
	schedule *edf
	choosers []chooser
}

// places returns nil when no locality has a weight and hosts of that health: then
// the priority is not divided.
func (b *Balancer) places(g []Locality, h Health, overprovision float64, seed uint64) *places {
	p := &places{}
	var weights []float64
	for _, l := range merge(g) {
		if w := l.effectiveWeight(h, overprovision); w > 0 {
			weights = append(weights, w)
			p.choosers = append(p.choosers, b.chooser(only(l.Endpoints, h), seed))
		}
	}
	if len(weights) == 0 {
		return nil
	}
	p.schedule = newEDF(weights, nil, seed)
	return p
}

// effectiveWeight is the weight of a locality, less what it is short of hosts of
// that health beyond the overprovisioning factor.
func (l *Locality) effectiveWeight(h Health, overprovision float64) float64 {
	var total, eligible int
	for _, e := range l.Endpoints {
		if e.Health != Excluded {
			total++
		}
		if e.Health == h {
			eligible++
		}
	}
	if total == 0 {
		return 0
	}
	return float64(l.Weight) * min(1, overprovision*float64(eligible)/float64(total))
}

func (p *places) choose(seed uint64, undivided chooser) *filter.Host {
	if p == nil {
		return undivided.choose(seed)
	}
	return p.choosers[p.schedule.next()].choose(seed)
}
