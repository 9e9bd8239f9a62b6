package stats

import (
	"slices"
	"strings"
)

// A Snapshot is what a store held at one time: the input of the renderers. All
// its lists are in the byte order of the names.
type Snapshot struct {
	Texts      []TextSample
	Counters   []NumberSample
	Gauges     []NumberSample
	Histograms []HistogramSample

	tags       *Tagger
	namespaces []string
}

type sample struct {
	Name string
	Used bool
	meta *meta // caches the tags
}

// A NumberSample is a counter or gauge in a [Snapshot].
type NumberSample struct {
	sample
	Value uint64
}

// A TextSample is a text readout in a [Snapshot].
type TextSample struct {
	sample
	Value string
}

// A HistogramSample is a histogram in a [Snapshot], as of the last flush.
type HistogramSample struct {
	sample
	Bounds               []float64 // upper bounds of the buckets, ascending
	Interval, Cumulative Distribution
}

// Snapshot lets the live connections settle ([Store.OnRead]) and copies all
// stats.
func (s *Store) Snapshot() *Snapshot {
	s.settle()
	out := &Snapshot{tags: s.opts.Tags, namespaces: s.opts.CustomNamespaces}
	var names arena
	for _, f := range s.families() {
		out.collect(f, &names)
	}
	out.Texts = sorted(out.Texts, func(into *TextSample, t TextSample) { into.Value = t.Value })
	out.Counters = sorted(out.Counters, (*NumberSample).add)
	out.Gauges = sorted(out.Gauges, (*NumberSample).add)
	out.Histograms = sorted(out.Histograms, (*HistogramSample).add)
	return out
}

func (s *Snapshot) collect(f *family, names *arena) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for name, t := range f.texts {
		s.Texts = append(s.Texts, TextSample{newSample(names.join(f.prefix, name), &t.meta), t.Value()})
	}
	for name, c := range f.counters {
		s.Counters = append(s.Counters, NumberSample{newSample(names.join(f.prefix, name), &c.meta), c.Value()})
	}
	for name, g := range f.gauges {
		s.Gauges = append(s.Gauges, NumberSample{newSample(names.join(f.prefix, name), &g.meta), g.Value()})
	}
	for name, h := range f.histograms {
		interval, total := h.flushed()
		s.Histograms = append(s.Histograms, HistogramSample{
			newSample(names.join(f.prefix, name), &h.meta), h.bounds, interval, total,
		})
	}
}

// An arena keeps all names of a snapshot in few allocations.
type arena struct{ buf strings.Builder }

func (a *arena) join(prefix, name string) string {
	a.buf.WriteString(prefix)
	a.buf.WriteString(name)
	return a.buf.String()[a.buf.Len()-len(prefix)-len(name):]
}

func newSample(name string, m *meta) sample { return sample{Name: name, Used: m.Used(), meta: m} }

func (s sample) name() string { return s.Name }
func (s sample) used() bool   { return s.Used }

type named interface {
	name() string
	used() bool
}

func (n *NumberSample) add(m NumberSample) {
	n.Value += m.Value
	n.Used = n.Used || m.Used
}

func (h *HistogramSample) add(i HistogramSample) {
	h.Interval = h.Interval.plus(i.Interval)
	h.Cumulative = h.Cumulative.plus(i.Cumulative)
	h.Used = h.Used || i.Used
}

// sorted orders samples by name and adds samples of one name up.
func sorted[S named](in []S, add func(into *S, s S)) []S {
	slices.SortFunc(in, func(a, b S) int { return strings.Compare(a.name(), b.name()) })
	out := in[:0]
	for _, s := range in {
		if n := len(out); n > 0 && out[n-1].name() == s.name() {
			add(&out[n-1], s)
			continue
		}
		out = append(out, s)
	}
	return out
}

// Select returns a snapshot with the samples for which keep is true.
func (s *Snapshot) Select(keep func(name string, used bool) bool) *Snapshot {
	return &Snapshot{
		Texts:      selected(s.Texts, keep),
		Counters:   selected(s.Counters, keep),
		Gauges:     selected(s.Gauges, keep),
		Histograms: selected(s.Histograms, keep),
		tags:       s.tags,
		namespaces: s.namespaces,
	}
}

func selected[S named](in []S, keep func(name string, used bool) bool) []S {
	var out []S
	for _, s := range in {
		if keep(s.name(), s.used()) {
			out = append(out, s)
		}
	}
	return out
}
