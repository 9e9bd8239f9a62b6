package main

import "math/bits"

// A histogram counts durations in buckets at most 1/32 wide of their value. The
// zero value is empty.
type histogram struct {
	buckets [subBuckets * 60]int64
	n, max  int64
}

const (
	subBits    = 5
	subBuckets = 1 << subBits
)

// add counts one duration in nanoseconds.
func (h *histogram) add(ns int64) {
	ns = max(ns, 0)
	h.buckets[bucketOf(ns)]++
	h.n++
	h.max = max(h.max, ns)
}

// bucketOf numbers values below subBuckets one by one, then subBuckets to each
// power of two.
func bucketOf(v int64) int {
	exp := max(bits.Len64(uint64(v))-subBits-1, 0)
	return exp<<subBits + int(v>>exp)
}

// middle is the middle of the values of bucket i.
func middle(i int) float64 {
	if i < 2*subBuckets {
		return float64(i)
	}
	exp := i>>subBits - 1
	low := int64(i-exp<<subBits) << exp
	return float64(low) + float64(int64(1)<<exp-1)/2
}

// quantile is the value below which a part q (0 to 1) of all values lies; 0 when
// there are none.
func (h *histogram) quantile(q float64) float64 {
	rank := int64(q*float64(h.n-1)) + 1
	for i, n := range h.buckets {
		if rank -= n; n > 0 && rank <= 0 {
			return min(middle(i), float64(h.max))
		}
	}
	return 0
}

func (h *histogram) latency() latency {
	return latency{P50: h.quantile(0.5), P99: h.quantile(0.99), Max: float64(h.max)}
}
