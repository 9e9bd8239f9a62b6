package app

import (
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/stats"
)

// scope lets extensions make statistics without knowing the store.
type scope struct{ in *stats.Scope }

// Scope implements filter.Scope.
func (s scope) Scope(prefix string) filter.Scope { return scope{s.in.Scope(prefix)} }

// Counter implements filter.Scope.
func (s scope) Counter(name string) filter.Counter { return s.in.Counter(name) }

// Gauge implements filter.Scope.
func (s scope) Gauge(name string) filter.Gauge { return gauge{s.in.Gauge(name)} }

// Histogram implements filter.Scope. Envoy's names end in the unit.
func (s scope) Histogram(name string) filter.Histogram {
	unit := stats.Unspecified
	if strings.HasSuffix(name, "_ms") {
		unit = stats.Milliseconds
	}
	return s.in.Histogram(name, unit)
}

// Close implements filter.Scope.
func (s scope) Close() { s.in.Close() }

type gauge struct{ *stats.Gauge }

// Add implements filter.Gauge.
func (g gauge) Add(n int64) { g.Gauge.Add(uint64(n)) }
