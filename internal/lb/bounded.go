package lb

import (
	"math"

	"github.com/ginnel/ginnel/filter"
)

// bounded keeps hosts of a hashing policy from being much busier than the average
// (consistent hashing with bounded loads): a busy host's hashes go on to others, in
// an order that follows from the hash.
type bounded struct {
	hashed
	shares []share
	index  map[*filter.Host]int
	factor uint64 // percent of the average
}

func newBounded(t hashed, in []share, factor uint32) *bounded {
	b := &bounded{hashed: t, shares: in, index: make(map[*filter.Host]int, len(in)), factor: uint64(factor)}
	for i, s := range in {
		b.index[s.host] = i
	}
	return b
}

func (b *bounded) find(hash uint64) *filter.Host {
	h := b.hashed.find(hash)
	var total uint64
	for i := range b.shares {
		total += b.shares[i].host.Requests.Load()
	}
	load := b.load(b.index[h], total)
	if load <= 1 {
		return h
	}
	return b.elsewhere(h, hash, load, total)
}

// load is how full a host is: at 1 it has all that the factor allows it.
func (b *bounded) load(i int, total uint64) float64 {
	slots := ((total+1)*b.factor + 99) / 100
	mine := max(math.Ceil(float64(slots)*b.shares[i].part), 1)
	return float64(b.shares[i].host.Requests.Load()) / mine
}

// elsewhere shuffles the hosts by the hash and returns the first that has room, or
// the one with the least load.
func (b *bounded) elsewhere(h *filter.Host, hash uint64, load float64, total uint64) *filter.Host {
	var few [64]uint32
	order := few[:0]
	for i := range b.shares {
		order = append(order, uint32(i))
	}
	r := newTwister(uint32(hash))
	for i := range order {
		j := i + int(r.below(uint32(len(order)-i)))
		order[i], order[j] = order[j], order[i]
		other := b.shares[order[i]].host
		if other == h {
			continue
		}
		l := b.load(int(order[i]), total)
		if l <= 1 {
			return other
		}
		if l < load {
			h, load = other, l
		}
	}
	return h
}

// A twister is the 32-bit Mersenne Twister (std::mt19937), which Envoy shuffles with.
type twister struct {
	state [624]uint32
	at    int
}

func newTwister(seed uint32) (t twister) {
	t.state[0] = seed
	for i := 1; i < len(t.state); i++ {
		t.state[i] = 1812433253*(t.state[i-1]^t.state[i-1]>>30) + uint32(i)
	}
	t.at = len(t.state)
	return t
}

func (t *twister) next() uint32 {
	if t.at == len(t.state) {
		t.twist()
	}
	y := t.state[t.at]
	t.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (t *twister) twist() {
	const n, m = 624, 397
	for i := range t.state {
		y := t.state[i]&0x80000000 | t.state[(i+1)%n]&0x7fffffff
		t.state[i] = t.state[(i+m)%n] ^ y>>1
		if y&1 != 0 {
			t.state[i] ^= 0x9908b0df
		}
	}
	t.at = 0
}

// below returns a number in [0, k).
func (t *twister) below(k uint32) uint32 {
	bucket := uint32((1 << 32) / uint64(k))
	for k > 1 {
		if x := t.next() / bucket; x < k {
			return x
		}
	}
	t.next()
	return 0
}
