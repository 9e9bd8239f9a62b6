package stats

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// family is the stats of one prefix, shared by all open scopes of that prefix.
type family struct {
	store  *Store
	prefix string // "" or ends in a dot
	refs   int    // guarded by store.mu

	mu         sync.RWMutex
	counters   map[string]*Counter
	gauges     map[string]*Gauge
	histograms map[string]*Histogram
	texts      map[string]*Text
}

// A Scope makes stats under one prefix. Whoever opened it closes it when the
// thing it counts is gone.
type Scope struct {
	family *family

	mu       sync.Mutex
	closed   bool
	parent   *Scope // nil: opened from the store
	children map[*Scope]struct{}
}

// Prefix returns the prefix of the scope's stats, with its dot at the end.
func (s *Scope) Prefix() string { return s.family.prefix }

// Store returns the store that the scope belongs to.
func (s *Scope) Store() *Store { return s.family.store }

// Scope opens the scope of s's prefix followed by prefix. It is closed with s,
// or before.
func (s *Scope) Scope(prefix string) *Scope {
	c := s.family.store.open(joinPrefix(s.family.prefix, prefix))
	c.parent = s
	s.mu.Lock()
	closed := s.closed
	if !closed {
		if s.children == nil {
			s.children = map[*Scope]struct{}{}
		}
		s.children[c] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		c.Close()
	}
	return c
}

// Close gives the scope and the scopes opened from it back. With the last scope
// of a prefix its stats leave all listings; their objects can still be written.
// Closing twice does nothing.
func (s *Scope) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	children := s.children
	s.children = nil
	s.mu.Unlock()
	for c := range children {
		c.Close()
	}
	if s.parent != nil {
		s.parent.forget(s)
	}
	s.family.store.release(s.family)
}

func (s *Scope) forget(c *Scope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.children, c)
}

// Counter returns the counter of this name; the same name is the same counter.
func (s *Scope) Counter(name string) *Counter {
	return lookup(s.family, &s.family.counters, name, func(string) *Counter { return new(Counter) })
}

// Gauge returns the gauge of this name; the same name is the same gauge.
func (s *Scope) Gauge(name string) *Gauge {
	return lookup(s.family, &s.family.gauges, name, func(string) *Gauge { return new(Gauge) })
}

// Text returns the text readout of this name; the same name is the same text.
func (s *Scope) Text(name string) *Text {
	return lookup(s.family, &s.family.texts, name, func(string) *Text { return new(Text) })
}

// Histogram returns the histogram of this name; the same name is the same
// histogram, and keeps the unit that it was made with.
func (s *Scope) Histogram(name string, unit Unit) *Histogram {
	return lookup(s.family, &s.family.histograms, name, func(full string) *Histogram {
		return &Histogram{unit: unit, bounds: s.family.store.bounds(full)}
	})
}

// lookup finds or makes the stat called name in *m, which f.mu guards.
func lookup[T any](f *family, m *map[string]*T, name string, build func(full string) *T) *T {
	name = strings.TrimRight(name, ".")
	f.mu.RLock()
	v := (*m)[name]
	f.mu.RUnlock()
	if v != nil {
		return v
	}
	full := f.prefix + name
	if r := f.store.opts.Rejects; r != nil && r(full) {
		return build(full)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := (*m)[name]; v != nil {
		return v
	}
	if *m == nil {
		*m = map[string]*T{}
	}
	v = build(full)
	(*m)[name] = v
	return v
}

func (f *family) allHistograms() []*Histogram {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if len(f.histograms) == 0 {
		return nil
	}
	return slices.Collect(maps.Values(f.histograms))
}

func (s *Store) bounds(full string) []float64 {
	if s.opts.Buckets != nil {
		if b := s.opts.Buckets(full); b != nil {
			return b
		}
	}
	return defaultBounds
}

// unsafeInName lists what Envoy's Stats::Utility::sanitizeStatsName replaces;
// the longest match wins.
var unsafeInName = strings.NewReplacer("://", "_", ":/", "_", ":", "_", "\x00", "_")

// joinPrefix appends the sanitised prefix to base, which is "" or ends in a dot.
// Envoy takes one dot off each end and its name encoding drops further trailing
// ones.
func joinPrefix(base, prefix string) string {
	prefix = strings.TrimSuffix(prefix, ".")
	prefix = strings.TrimPrefix(prefix, ".")
	prefix = strings.TrimRight(unsafeInName.Replace(prefix), ".")
	if prefix == "" {
		return base
	}
	return base + prefix + "."
}

// Sanitize returns name as Envoy writes it inside a stat name: "://", ":/", ":"
// and NUL become "_", one dot at either end goes.
func Sanitize(name string) string {
	name = strings.TrimPrefix(strings.TrimSuffix(name, "."), ".")
	return unsafeInName.Replace(name)
}
