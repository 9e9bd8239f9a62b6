package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestQuantile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 100, 10_000} {
		var h histogram
		exact := make([]int64, n)
		for i := range exact {
			exact[i] = int64(math.Exp(random.Float64() * 25))
			h.add(exact[i])
		}
		slices.Sort(exact)
		for _, q := range []float64{0, 0.5, 0.99, 1} {
			want := float64(exact[int(q*float64(n-1))])
			if got := h.quantile(q); math.Abs(got-want) > want/32+1 {
				t.Errorf("quantile %v of %d values: %v, want %v", q, n, got, want)
			}
		}
		if got := h.latency().Max; got != float64(exact[n-1]) {
			t.Errorf("max of %d values: %v, want %v", n, got, exact[n-1])
		}
	}
}

func TestEmptyHistogram(t *testing.T) {
	if got := new(histogram).latency(); got != (latency{}) {
		t.Errorf("latency of nothing: %v", got)
	}
}

// TestBuckets: every value has a bucket whose middle is near, and no bucket is out of
// range.
func TestBuckets(t *testing.T) {
	for shift := range 63 {
		for _, v := range []int64{1<<shift - 1, 1 << shift, 1<<shift + 1<<shift/3} {
			i := bucketOf(v)
			if i >= len(histogram{}.buckets) {
				t.Fatalf("%d is in bucket %d", v, i)
			}
			if m := middle(i); math.Abs(m-float64(v)) > float64(v)/32 {
				t.Errorf("%d is in bucket %d, whose middle is %v", v, i, m)
			}
		}
	}
}
