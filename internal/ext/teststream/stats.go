package teststream

import (
	"sync"

	"github.com/ginnel/ginnel/filter"
)

// Stats are statistics by name. The zero value is empty.
type Stats struct {
	mu     sync.Mutex
	values map[string]int64
}

// Get returns the value of a counter or gauge, or how often a histogram was recorded.
func (s *Stats) Get(name string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[name]
}

// All returns all that is not 0.
func (s *Stats) All() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int64)
	for n, v := range s.values {
		if v != 0 {
			out[n] = v
		}
	}
	return out
}

func (s *Stats) add(name string, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = make(map[string]int64)
	}
	s.values[name] += n
}

type scope struct {
	stats  *Stats
	prefix string
}

func (s scope) Scope(prefix string) filter.Scope       { return scope{s.stats, s.prefix + prefix} }
func (s scope) Counter(name string) filter.Counter     { return counter{s.stats, s.prefix + name} }
func (s scope) Gauge(name string) filter.Gauge         { return gauge{s.stats, s.prefix + name} }
func (s scope) Histogram(name string) filter.Histogram { return histogram{s.stats, s.prefix + name} }
func (s scope) Close()                                 {}

type counter struct {
	stats *Stats
	name  string
}

func (c counter) Add(n uint64) { c.stats.add(c.name, int64(n)) }

type gauge struct {
	stats *Stats
	name  string
}

func (g gauge) Add(n int64) { g.stats.add(g.name, n) }

type histogram struct {
	stats *Stats
	name  string
}

func (h histogram) Record(uint64) { h.stats.add(h.name, 1) }
