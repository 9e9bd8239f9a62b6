package stats

import (
	"io"
	"strconv"
)

// Buckets says how histograms are rendered.
type Buckets uint8

// The values of histogram_buckets.
const (
	BucketsDefault    Buckets = iota // quantiles; in Prometheus's format, cumulative buckets
	BucketsCumulative                // per bound, all samples up to it
	BucketsDisjoint                  // per bound, the samples above the bound before
	BucketsDetailed                  // every bin
	BucketsSummary                   // quantiles
	bucketsNative                    // exists in Prometheus's protobuf format only
)

var quantiles = []float64{0, 0.25, 0.5, 0.75, 0.90, 0.95, 0.99, 0.995, 0.999, 1}

var quantileNames = []string{"P0", "P25", "P50", "P75", "P90", "P95", "P99", "P99.5", "P99.9", "P100"}

// WriteText renders s as /stats does: text readouts, then counters and gauges,
// then histograms, each part by name.
func WriteText(w io.Writer, s *Snapshot, mode Buckets) error {
	o := newOutput(w)
	for _, t := range s.Texts {
		o.string(t.Name, `: "`, t.Value, "\"\n")
		o.room()
	}
	for n := range s.numbers() {
		o.string(n.Name, ": ")
		o.buf = append(strconv.AppendUint(o.buf, n.Value, 10), '\n')
		o.room()
	}
	for i := range s.Histograms {
		o.buf = appendHistogramText(o.buf, &s.Histograms[i], mode)
		o.room()
	}
	return o.flush()
}

// numbers yields counters and gauges in one order; of one name, only the gauge.
func (s *Snapshot) numbers() func(yield func(NumberSample) bool) {
	return func(yield func(NumberSample) bool) {
		c, g := s.Counters, s.Gauges
		for len(c) > 0 || len(g) > 0 {
			var next NumberSample
			switch {
			case len(g) == 0 || len(c) > 0 && c[0].Name < g[0].Name:
				next, c = c[0], c[1:]
			case len(c) > 0 && c[0].Name == g[0].Name:
				next, c, g = g[0], c[1:], g[1:]
			default:
				next, g = g[0], g[1:]
			}
			if !yield(next) {
				return
			}
		}
	}
}

func appendHistogramText(to []byte, h *HistogramSample, mode Buckets) []byte {
	to = append(to, h.Name...)
	if !h.Used {
		return append(to, ": No recorded values\n"...)
	}
	switch mode {
	case BucketsCumulative, BucketsDisjoint:
		to = appendBucketsText(append(to, ": "...), h, mode)
	case BucketsDetailed:
		to = appendBinsText(append(to, ":\n  totals="...), h.Cumulative)
		to = appendBinsText(append(to, "\n  intervals="...), h.Interval)
		to = appendQuantilesText(append(to, "\n  summary="...), h)
	default:
		to = appendQuantilesText(append(to, ": "...), h)
	}
	return append(to, '\n')
}

func appendQuantilesText(to []byte, h *HistogramSample) []byte {
	interval, total := h.Interval.Quantiles(quantiles), h.Cumulative.Quantiles(quantiles)
	for i, name := range quantileNames {
		if i > 0 {
			to = append(to, ' ')
		}
		to = append(append(to, name...), '(')
		to = append(appendShortest(to, interval[i]), ',')
		to = append(appendShortest(to, total[i]), ')')
	}
	return to
}

func appendBucketsText(to []byte, h *HistogramSample, mode Buckets) []byte {
	interval, total := h.Interval.buckets(h.Bounds, mode), h.Cumulative.buckets(h.Bounds, mode)
	for i, bound := range h.Bounds {
		if i > 0 {
			to = append(to, ' ')
		}
		to = append(appendG(append(to, 'B'), bound), '(')
		to = append(strconv.AppendUint(to, interval[i], 10), ',')
		to = append(strconv.AppendUint(to, total[i], 10), ')')
	}
	return to
}

// buckets returns the samples for each upper bound.
func (d Distribution) buckets(bounds []float64, mode Buckets) []uint64 {
	out := make([]uint64, len(bounds))
	var before uint64
	for i, b := range bounds {
		out[i] = d.CountAtMost(b)
		if mode == BucketsDisjoint {
			out[i], before = out[i]-before, out[i]
		}
	}
	return out
}

func appendBinsText(to []byte, d Distribution) []byte {
	for i, b := range d.bins {
		if i > 0 {
			to = append(to, ", "...)
		}
		left, width := b.bin.bounds()
		to = append(appendStrCat(to, d.shownBin(left)), ',')
		to = append(appendStrCat(to, d.shownBin(width)), ':')
		to = strconv.AppendUint(to, b.n, 10)
	}
	return to
}
