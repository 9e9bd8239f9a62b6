package stats

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Unit says what a histogram measures.
type Unit uint8

// The units of Envoy.
const (
	Unspecified Unit = iota
	Bytes
	Microseconds
	Milliseconds
	Percent // samples are millionths of one: 1_000_000 is shown as 1
)

// PercentScale is the sample that a histogram of unit [Percent] shows as 1.
const PercentScale = 1_000_000

var defaultBounds = []float64{
	0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000,
	30000, 60000, 300000, 600000, 1800000, 3600000,
}

// A Histogram counts samples by their size. Memory for a decade of values is
// taken when the first sample of it comes; at most 14 KB in all.
// The zero value is a working histogram that no store lists.
type Histogram struct {
	unit    Unit
	bounds  []float64
	zero    atomic.Uint64
	decades atomic.Pointer[[decades]atomic.Pointer[decade]]
	meta    // used is set by the first flush after a sample, as in Envoy

	mu              sync.Mutex
	interval, total Distribution // as of the last flush
}

type decade [binsPerDecade]atomic.Uint64

// Unit returns the unit that the histogram was made with.
func (h *Histogram) Unit() Unit { return h.unit }

// Record counts the sample v, in the histogram's unit.
func (h *Histogram) Record(v uint64) {
	b := binOf(v)
	if b == 0 {
		h.zero.Add(1)
		return
	}
	b--
	h.decade(int(b / binsPerDecade))[b%binsPerDecade].Add(1)
}

// RecordDuration counts d in the histogram's unit of time; a negative d counts
// as 0.
func (h *Histogram) RecordDuration(d time.Duration) {
	unit := time.Millisecond
	if h.unit == Microseconds {
		unit = time.Microsecond
	}
	h.Record(uint64(max(0, d/unit)))
}

func (h *Histogram) decade(i int) *decade {
	if ds := h.decades.Load(); ds != nil {
		if d := ds[i].Load(); d != nil {
			return d
		}
	}
	return h.grow(i)
}

func (h *Histogram) grow(i int) *decade {
	h.decades.CompareAndSwap(nil, new([decades]atomic.Pointer[decade]))
	p := &h.decades.Load()[i]
	p.CompareAndSwap(nil, new(decade))
	return p.Load()
}

// flush ends the interval. It uses scratch's memory and returns it for the next.
func (h *Histogram) flush(scratch []binCount) []binCount {
	scratch = h.appendBins(scratch)
	if len(scratch) == 0 {
		return scratch
	}
	h.used.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Equal(scratch, h.total.bins) {
		h.interval = Distribution{scale: h.total.scale}
		return scratch
	}
	now := Distribution{bins: slices.Clone(scratch)}
	if h.unit == Percent {
		now.scale = PercentScale
	}
	h.interval, h.total = now.since(h.total), now
	return scratch
}

func (h *Histogram) appendBins(to []binCount) []binCount {
	if n := h.zero.Load(); n != 0 {
		to = append(to, binCount{0, n})
	}
	ds := h.decades.Load()
	if ds == nil {
		return to
	}
	for i := range ds {
		d := ds[i].Load()
		if d == nil {
			continue
		}
		for j := range d {
			if n := d[j].Load(); n != 0 {
				to = append(to, binCount{bin(1 + i*binsPerDecade + j), n})
			}
		}
	}
	return to
}

func (h *Histogram) flushed() (interval, total Distribution) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.interval, h.total
}
