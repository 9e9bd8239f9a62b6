// Package lb chooses the host of a cluster for a connection or request, as Envoy
// does: bit for bit where the choice follows from a hash, so that affinity holds
// while both proxies serve the same hosts.
//
// It is pure: no goroutine or IO, and time and randomness are arguments. The hosts
// of a Balancer are fixed; when they, their health or their weights change, a new
// one takes its place.
package lb

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// Health is how far an endpoint may be used.
type Health uint8

// The healths. Excluded endpoints (draining) count neither for nor against the
// health of their priority; like unhealthy ones they only serve in a panic.
const (
	Healthy Health = iota
	Degraded
	Unhealthy
	Excluded
)

// An Endpoint is a host as a balancer sees it.
type Endpoint struct {
	Host   *filter.Host
	Weight uint32 // 0: 1
	Health Health
	Key    string // what hashing policies hash; "": the address
	// Since is when the host became healthy, on Hosts.Clock.
	Since time.Duration
}

// A Locality is the endpoints of one place at one priority.
type Locality struct {
	Region, Zone, SubZone string

	Priority  uint32
	Weight    uint32 // 0: no traffic when localities are weighted
	Endpoints []Endpoint
}

// Hosts is all that a Balancer chooses from.
type Hosts struct {
	Localities []Locality // those of equal place and priority are one
	// Overprovision is the factor, in percent, by which a priority may be short of
	// healthy hosts before traffic leaves it; 0: 140.
	Overprovision uint32
	// WeighHealth measures the health of a priority by the weights of its hosts
	// instead of their number.
	WeighHealth bool
	// Clock and Aggression are for slow starts. Without a clock there are none; nil:
	// the plan's aggression.
	Clock      func() time.Duration
	Aggression func() float64
}

// A Balancer chooses hosts. It is safe for concurrent use.
type Balancer struct {
	policy     plan.LB
	levels     []level
	counts     []headcount // by priority
	loads      loads
	membership Membership
	slow       *slowStart // nil: no host is in a slow start
	subsets    *subsets   // nil: there are none; else levels is empty
}

// Membership counts the endpoints of a balancer.
type Membership struct{ Total, Healthy, Degraded, Excluded int }

// A level is the hosts of one priority.
type level struct {
	panics                 bool
	all, healthy, degraded chooser

	// By locality, when localities are weighted; nil: they are not.
	healthyPlaces, degradedPlaces *places

	table hashed // for hashing policies
}

// A chooser takes one of several hosts; nil when it has none. seed is random.
type chooser interface {
	choose(seed uint64) *filter.Host
}

// New returns a balancer for fixed hosts. seed moves the point where rotations
// begin, so that proxies started together do not all begin with the same host.
func New(policy plan.LB, hosts Hosts, seed uint64) *Balancer {
	hosts.Overprovision = cmp.Or(hosts.Overprovision, 140)
	groups := byPriority(hosts.Localities)
	b := &Balancer{policy: policy, counts: make([]headcount, len(groups))}
	for p, g := range groups {
		b.counts[p] = count(g, &hosts)
		b.membership.add(&b.counts[p])
	}
	if policy.Subset != nil {
		b.subsets = newSubsets(policy, hosts, groups, seed)
		return b
	}
	b.slow = newSlowStart(policy.SlowStart, &hosts)
	b.loads = spread(b.counts, panicBelow(policy.PanicPercent))
	b.levels = make([]level, len(groups))
	for p, g := range groups {
		b.levels[p] = b.level(g, b.loads.panics[p], float64(hosts.Overprovision)/100, seed)
	}
	return b
}

func panicBelow(percent float64) uint32 {
	return min(uint32(max(percent, 0)), 100) // Envoy cuts the fraction off
}

// byPriority groups localities. There is a first priority even without any.
func byPriority(in []Locality) [][]Locality {
	out := make([][]Locality, 1)
	for _, l := range in {
		for int(l.Priority) >= len(out) {
			out = append(out, nil)
		}
		out[l.Priority] = append(out[l.Priority], l)
	}
	return out
}

// merge returns the localities of one priority in the order of their first mention
// (seen on Envoy 1.40), those of one place as one, with the last weight that was set.
func merge(g []Locality) []Locality {
	var out []Locality
	for _, l := range g {
		i := slices.IndexFunc(out, l.samePlace)
		if i < 0 {
			out = append(out, l)
			continue
		}
		out[i].Endpoints = slices.Concat(out[i].Endpoints, l.Endpoints)
		out[i].Weight = cmp.Or(l.Weight, out[i].Weight)
	}
	return out
}

func (l *Locality) samePlace(o Locality) bool {
	return l.Region == o.Region && l.Zone == o.Zone && l.SubZone == o.SubZone
}

// Membership returns how many endpoints the balancer has.
func (b *Balancer) Membership() Membership { return b.membership }

// A Request is what a choice depends on.
type Request struct {
	Random uint64  // uniformly distributed; a choice uses no other randomness
	Hash   *uint64 // for hashing policies; nil: they choose at random
	// Tried are hosts whose priorities are left out, after each Every of them, but by
	// hashing policies (Envoy). 0: they are not.
	Tried []*filter.Host
	Every int
	// Match are the criteria (envoy.lb) for subsets; nil: none.
	Match *structpb.Struct
	// Place is given by a Chain; nil: the balancer chooses the priority.
	Place *Place
}

// A Place is a priority of a balancer, and which of its hosts are meant.
type Place struct {
	Priority int
	Degraded bool
}

// A Choice is a host, and what there is to count about it.
type Choice struct {
	Host *filter.Host // nil: none may be used
	// Panics are the choices, each of its own set of hosts, for which too few hosts of a
	// priority were healthy, so that all were eligible.
	Panics uint64

	Selected                uint64 // subsets found
	Fallback, FallbackPanic bool   // the host is not from a subset that was asked for
}

// Pick chooses a host.
func (b *Balancer) Pick(q Request) Choice {
	if b.subsets != nil {
		return b.subsets.pick(&q)
	}
	r := random(q.Random)
	if b.hashing() {
		return b.pickHashed(r.next(), q.Hash)
	}
	at := b.place(&q, &r)
	if at.Priority >= len(b.levels) {
		return Choice{}
	}
	l := &b.levels[at.Priority]
	if l.panics {
		return Choice{Host: l.all.choose(r.next()), Panics: 1}
	}
	if at.Degraded {
		return Choice{Host: l.degradedPlaces.choose(r.next(), l.degraded)}
	}
	return Choice{Host: l.healthyPlaces.choose(r.next(), l.healthy)}
}

func (b *Balancer) place(q *Request, r *random) Place {
	n := r.next()
	if q.Place != nil {
		return *q.Place
	}
	p, degraded := b.loads.untried(q.Tried, q.Every, ownPriority).choose(n)
	return Place{p, degraded}
}

func ownPriority(h *filter.Host) int { return int(h.Priority) }

func (b *Balancer) hashing() bool {
	return b.policy.Policy == plan.RingHash || b.policy.Policy == plan.Maglev
}

// pickHashed uses the one number for the priority and for the place in its table
// (Envoy). Degraded hosts take no part in hashing.
func (b *Balancer) pickHashed(h uint64, hash *uint64) Choice {
	if hash != nil {
		h = *hash
	}
	p, _ := b.loads.choose(h)
	c := Choice{Host: b.levels[p].table.find(h)}
	if b.levels[p].panics {
		c.Panics = 1
	}
	return c
}

// random is a stream of numbers made from one (SplitMix64).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (m *Membership) add(c *headcount) {
	m.Total += c.all
	m.Healthy += c.healthy
	m.Degraded += c.degraded
	m.Excluded += c.excluded
}
