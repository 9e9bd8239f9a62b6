package stats

import (
	"io"
	"strconv"
)

const quantilePercents = "[0,25,50,75,90,95,99,99.5,99.9,100]"

// WriteJSON renders s as /stats?format=json does: one line, the histograms
// together as the last element.
func WriteJSON(w io.Writer, s *Snapshot, mode Buckets) error {
	o := newOutput(w)
	o.string(`{"stats":[`)
	sep := ""
	for _, t := range s.Texts {
		o.string(sep, `{"name":`)
		o.buf = append(appendJSONString(o.buf, t.Name), `,"value":`...)
		o.buf = append(appendJSONString(o.buf, t.Value), '}')
		sep = ","
		o.room()
	}
	for n := range s.numbers() {
		o.string(sep, `{"name":`)
		o.buf = append(appendJSONString(o.buf, n.Name), `,"value":`...)
		o.buf = append(strconv.AppendUint(o.buf, n.Value, 10), '}')
		sep = ","
		o.room()
	}
	if len(s.Histograms) > 0 {
		o.string(sep)
		o.histogramsJSON(s.Histograms, mode)
	}
	o.string(`]}`)
	return o.flush()
}

func (o *output) histogramsJSON(hs []HistogramSample, mode Buckets) {
	open, end, one := `{"histograms":{"supported_quantiles":`+quantilePercents+`,"computed_quantiles":[`, `]}}`, appendQuantilesEntry
	switch mode {
	case BucketsCumulative, BucketsDisjoint:
		open, end = `{"histograms":[`, `]}`
		one = func(to []byte, h *HistogramSample) []byte { return appendBucketsEntry(to, h, mode) }
	case BucketsDetailed:
		open, one = `{"histograms":{"supported_percentiles":`+quantilePercents+`,"details":[`, appendDetailEntry
	}
	o.string(open)
	for i := range hs {
		if i > 0 {
			o.string(",")
		}
		o.string(`{"name":`)
		o.buf = appendJSONString(o.buf, hs[i].Name)
		o.buf = append(one(o.buf, &hs[i]), '}')
		o.room()
	}
	o.string(end)
}

func appendQuantilesEntry(to []byte, h *HistogramSample) []byte {
	return appendQuantilesJSON(append(to, `,"values":`...), h)
}

func appendQuantilesJSON(to []byte, h *HistogramSample) []byte {
	interval, total := make([]float64, len(quantiles)), make([]float64, len(quantiles))
	if h.Used {
		interval, total = h.Interval.Quantiles(quantiles), h.Cumulative.Quantiles(quantiles)
	}
	for i := range quantiles {
		to = append(to, "[,"[min(i, 1)])
		to = appendJSON(append(to, `{"cumulative":`...), total[i])
		to = append(appendJSON(append(to, `,"interval":`...), interval[i]), '}')
	}
	return append(to, ']')
}

func appendBucketsEntry(to []byte, h *HistogramSample, mode Buckets) []byte {
	interval, total := h.Interval.buckets(h.Bounds, mode), h.Cumulative.buckets(h.Bounds, mode)
	to = append(to, `,"buckets":[`...)
	for i, bound := range h.Bounds {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendJSON(append(to, `{"upper_bound":`...), bound)
		to = strconv.AppendUint(append(to, `,"interval":`...), interval[i], 10)
		to = append(strconv.AppendUint(append(to, `,"cumulative":`...), total[i], 10), '}')
	}
	return append(to, ']')
}

func appendDetailEntry(to []byte, h *HistogramSample) []byte {
	to = appendBinsJSON(append(to, `,"totals":`...), h.Cumulative)
	to = appendBinsJSON(append(to, `,"intervals":`...), h.Interval)
	return appendQuantilesJSON(append(to, `,"percentiles":`...), h)
}

func appendBinsJSON(to []byte, d Distribution) []byte {
	to = append(to, '[')
	for i, b := range d.bins {
		if i > 0 {
			to = append(to, ',')
		}
		left, width := b.bin.bounds()
		to = appendJSON(append(to, `{"lower_bound":`...), d.shownBin(left))
		to = appendJSON(append(to, `,"width":`...), d.shownBin(width))
		to = append(strconv.AppendUint(append(to, `,"count":`...), b.n, 10), '}')
	}
	return append(to, ']')
}
