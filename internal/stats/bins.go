package stats

import (
	"math"
	"math/bits"
)

// Samples are counted in the log-linear bins of circllhist, which Envoy uses:
// two decimal digits of precision, 90 bins a decade, one bin for 0. Counts per
// bin, and all that is computed from them, therefore equal Envoy's to the bit.
const (
	binsPerDecade = 90
	decades       = 19 // MaxInt64 has 19 digits
	decimalDigits = 20 // of MaxUint64
)

// A bin is 0 for the sample 0, else 1 + decade*90 + (two digits - 10).
type bin uint16

type binCount struct {
	bin bin
	n   uint64
}

var pow10 = [decimalDigits]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
	1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// binOf returns the bin of v. Values above MaxInt64 count as MaxInt64.
func binOf(v uint64) bin {
	switch {
	case v == 0:
		return 0
	case v < 10:
		return bin(1 + v*10 - 10)
	case v > math.MaxInt64:
		v = math.MaxInt64
	}
	// 1233/4096 approximates log10(2) well enough for 64 bits.
	decade := bits.Len64(v) * 1233 >> 12
	if v < pow10[decade] {
		decade--
	}
	return bin(1 + uint64(decade)*binsPerDecade + v/pow10[decade-1] - 10)
}

// bounds returns the lower bound and the width of b, computed in the order in
// which circllhist does so that rounding is the same.
func (b bin) bounds() (left, width float64) {
	if b == 0 {
		return 0, 0
	}
	scale := float64(pow10[(b-1)/binsPerDecade])
	return float64((b-1)%binsPerDecade+10) / 10 * scale, scale / 10
}

// A Distribution is how many samples fell into each bin, in ascending order. It
// never changes.
type Distribution struct {
	bins  []binCount
	scale float64 // what a sample is divided by to be shown; 0: 1
}

// Count returns the number of samples.
func (d Distribution) Count() uint64 {
	var n uint64
	for _, b := range d.bins {
		n += b.n
	}
	return n
}

// Sum returns the approximate sum of the samples.
func (d Distribution) Sum() float64 {
	var sum float64
	for _, b := range d.bins {
		left, width := b.bin.bounds()
		if left == 0 {
			continue
		}
		// The middle of a bin is weighted towards its lower bound.
		middle := left + width*(left/(left+left+width))
		sum += middle * float64(b.n)
	}
	return d.shown(sum)
}

// CountAtMost returns the number of samples in the bins that begin at or below
// bound.
func (d Distribution) CountAtMost(bound float64) uint64 {
	if d.scale != 0 {
		bound *= d.scale
	}
	var n uint64
	for _, b := range d.bins {
		if left, _ := b.bin.bounds(); bound < left {
			break
		}
		n += b.n
	}
	return n
}

// Quantiles returns the samples of the ranks that the fractions qs, ascending in
// 0..1, of all samples have; NaN when there are none. The n samples of one bin
// are taken to cut it into n+1 equal parts.
func (d Distribution) Quantiles(qs []float64) []float64 {
	out := make([]float64, len(qs))
	total := d.Count()
	if total == 0 {
		for i := range out {
			out[i] = math.NaN()
		}
		return out
	}
	at, before := 0, 0.0
	for i, q := range qs {
		rank := max(1, math.Ceil(q*float64(total)))
		for at < len(d.bins)-1 && before+float64(d.bins[at].n) < rank {
			before += float64(d.bins[at].n)
			at++
		}
		left, width := d.bins[at].bin.bounds()
		out[i] = d.shown(left + (rank-before)/(float64(d.bins[at].n)+1)*width)
	}
	return out
}

func (d Distribution) shown(x float64) float64 {
	if d.scale == 0 {
		return x
	}
	return x / d.scale
}

// shownBin is shown for the bounds of bins, where Envoy rounds otherwise.
func (d Distribution) shownBin(x float64) float64 {
	if d.scale == 0 {
		return x
	}
	return x * (1 / d.scale)
}

// plus returns the distribution of the samples of both.
func (d Distribution) plus(e Distribution) Distribution {
	out := make([]binCount, 0, len(d.bins)+len(e.bins))
	a, b := d.bins, e.bins
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].bin < b[0].bin:
			out, a = append(out, a[0]), a[1:]
		case a[0].bin > b[0].bin:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, binCount{a[0].bin, a[0].n + b[0].n})
			a, b = a[1:], b[1:]
		}
	}
	return Distribution{bins: append(append(out, a...), b...), scale: d.scale}
}

// since returns what d has more than the earlier e of the same histogram.
func (d Distribution) since(e Distribution) Distribution {
	var out []binCount
	b := e.bins
	for _, c := range d.bins {
		if len(b) > 0 && b[0].bin == c.bin {
			c.n -= b[0].n
			b = b[1:]
		}
		if c.n != 0 {
			out = append(out, c)
		}
	}
	return Distribution{bins: out, scale: d.scale}
}
