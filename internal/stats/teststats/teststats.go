// Package teststats is a filter.Scope that remembers, for tests.
package teststats

import (
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// Counts are the statistics below a prefix, those of all scopes together. A histogram counts its records.
type Counts struct {
	prefix string
	in     *values
}

type values struct {
	mu sync.Mutex
	of map[string]int64 // those that are not 0
}

// New returns statistics that are all 0.
func New() Counts { return Counts{in: &values{of: make(map[string]int64)}} }

// Below are the statistics below a prefix that comes after that of c.
func (c Counts) Below(prefix string) Counts { return Counts{c.prefix + prefix, c.in} }

// Want fails the test unless those that are not 0 are just these.
func (c Counts) Want(t *testing.T, want map[string]int64) {
	t.Helper()
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	got := make(map[string]int64)
	for name, n := range c.in.of {
		if name, below := strings.CutPrefix(name, c.prefix); below {
			got[name] = n
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("statistics %v, want %v", got, want)
	}
}

// Value returns what a statistic has come to.
func (c Counts) Value(name string) int64 {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	return c.in.of[c.prefix+name]
}

// Scope implements filter.Scope.
func (c Counts) Scope(prefix string) filter.Scope { return c.Below(prefix) }

// Counter implements filter.Scope.
func (c Counts) Counter(name string) filter.Counter { return counter{c.named(name)} }

// Gauge implements filter.Scope.
func (c Counts) Gauge(name string) filter.Gauge { return gauge{c.named(name)} }

// Histogram implements filter.Scope.
func (c Counts) Histogram(name string) filter.Histogram { return counter{c.named(name)} }

// Close implements filter.Scope. What was counted stays.
func (c Counts) Close() {}

func (c Counts) named(name string) value { return value{c.in, c.prefix + name} }

type value struct {
	in   *values
	name string
}

func (v value) add(n int64) {
	v.in.mu.Lock()
	defer v.in.mu.Unlock()
	if v.in.of[v.name] += n; v.in.of[v.name] == 0 {
		delete(v.in.of, v.name)
	}
}

type counter struct{ value }

func (c counter) Add(n uint64)  { c.add(int64(n)) }
func (c counter) Record(uint64) { c.add(1) }

type gauge struct{ value }

func (g gauge) Add(n int64) { g.add(n) }
