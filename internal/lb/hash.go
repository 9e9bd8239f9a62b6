package lb

import (
	"cmp"
	"encoding/binary"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// hashed finds the host of a hash; nil when there is none.
type hashed interface {
	find(hash uint64) *filter.Host
	describe() TableStats
}

// TableStats describes the table of a hashing policy: how many entries it has, and
// how many the hosts with the fewest and the most have.
type TableStats struct{ Size, Least, Most uint64 }

func (t *TableStats) note(n uint64) { t.Least, t.Most = min(t.Least, n), max(t.Most, n) }

// Table describes the table of the last priority that has hosts, as Envoy's gauges
// do; ok is false for policies without tables.
func (b *Balancer) Table() (t TableStats, ok bool) {
	if !b.hashing() {
		return t, false
	}
	for i := len(b.levels) - 1; i >= 0 && t.Size == 0; i-- {
		t = b.levels[i].table.describe()
	}
	return t, true
}

// A share is a host's part of all traffic; all parts together are 1.
type share struct {
	host *filter.Host
	key  string
	part float64
}

// table builds the table of one priority.
func (b *Balancer) table(g []Locality, panics bool) hashed {
	in := b.shares(g, panics)
	if len(in) == 0 {
		return emptyTable{}
	}
	var t hashed
	if b.policy.Policy == plan.Maglev {
		t = newMaglev(in, cmp.Or(b.policy.MaglevSize, 65537))
	} else {
		t = newRing(in, cmp.Or(b.policy.MinRing, 1024), cmp.Or(b.policy.MaxRing, 8<<20), b.policy.Murmur)
	}
	if b.policy.BalanceFactor > 0 {
		t = newBounded(t, in, b.policy.BalanceFactor)
	}
	return t
}

// shares returns the eligible hosts with their parts: within their localities when
// these are weighted, else all alike.
func (b *Balancer) shares(g []Locality, panics bool) (out []share) {
	eligible := func(in []Endpoint) []Endpoint {
		if panics {
			return in
		}
		return only(in, Healthy)
	}
	if !b.policy.LocalityWeights {
		return appendShares(nil, eligible(flat(g, nil)), 1)
	}
	merged, sum := merge(g), 0.0
	for _, l := range merged {
		sum += float64(l.Weight)
	}
	for _, l := range merged {
		if l.Weight > 0 {
			out = appendShares(out, eligible(l.Endpoints), float64(l.Weight)/sum)
		}
	}
	return out
}

func appendShares(out []share, in []Endpoint, part float64) []share {
	sum := 0.0
	for _, e := range in {
		sum += float64(e.weight())
	}
	for _, e := range in {
		key := e.Key
		if key == "" {
			key = e.Host.Addr.String()
		}
		out = append(out, share{e.Host, key, float64(e.weight()) * part / sum})
	}
	return out
}

type emptyTable struct{}

func (emptyTable) find(uint64) *filter.Host { return nil }
func (emptyTable) describe() TableStats     { return TableStats{} }

// murmur2 is MurmurHash64A with the seed of libstdc++ (Envoy's MURMUR_HASH_2).
func murmur2(p []byte) uint64 {
	const mul = 0xc6a4a7935bd1e995
	mix := func(v uint64) uint64 { return v ^ v>>47 }
	h := 0xc70f6907 ^ uint64(len(p))*mul
	for ; len(p) >= 8; p = p[8:] {
		h = (h ^ mix(binary.LittleEndian.Uint64(p)*mul)*mul) * mul
	}
	if len(p) > 0 {
		var tail [8]byte
		copy(tail[:], p)
		h = (h ^ binary.LittleEndian.Uint64(tail[:])) * mul
	}
	return mix(mix(h) * mul)
}
