package hcm

import (
	"sync"

	"github.com/ginnel/ginnel/filter"
)

// scope keeps statistics in a map.
type scope struct {
	prefix string
	in     *numbers
}

type numbers struct {
	mu sync.Mutex
	of map[string]*number
}

type number struct {
	in *numbers
	n  int64
}

func newScope() scope { return scope{in: &numbers{of: make(map[string]*number)}} }

func (s scope) get(name string) *number {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	n := s.in.of[s.prefix+name]
	if n == nil {
		n = &number{in: s.in}
		s.in.of[s.prefix+name] = n
	}
	return n
}

func (n *number) add(d int64) {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	n.n += d
}

// value returns a statistic of the connection manager under test.
func (s scope) value(name string) int64 {
	n := s.get("http.test." + name)
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	return n.n
}

type (
	counter struct{ *number }
	gauge   struct{ *number }
)

func (c counter) Add(n uint64)                         { c.add(int64(n)) }
func (c counter) Record(n uint64)                      { c.add(1) }
func (g gauge) Add(n int64)                            { g.add(n) }
func (s scope) Scope(prefix string) filter.Scope       { return scope{s.prefix + prefix, s.in} }
func (s scope) Counter(name string) filter.Counter     { return counter{s.get(name)} }
func (s scope) Gauge(name string) filter.Gauge         { return gauge{s.get(name)} }
func (s scope) Histogram(name string) filter.Histogram { return counter{s.get(name)} }
func (s scope) Close()                                 {}
