package upstream

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
)

// subsetStats are what choices and changes of subsets count.
type subsetStats struct {
	selected, fallback, fallbackPanic, created, removed filter.Counter
	active                                              filter.Gauge

	duplicates int64 // as the gauge shows it; guarded by stats.mu
}

func newSubsetStats(s filter.Scope) subsetStats {
	return subsetStats{
		selected: s.Counter("lb_subsets_selected"), fallback: s.Counter("lb_subsets_fallback"),
		fallbackPanic: s.Counter("lb_subsets_fallback_panic"),
		created:       s.Counter("lb_subsets_created"), removed: s.Counter("lb_subsets_removed"),
		active: s.Gauge("lb_subsets_active"),
	}
}

// count counts a choice.
func (s *subsetStats) count(c *lb.Choice) {
	if c.Selected > 0 {
		s.selected.Add(c.Selected)
	}
	if c.Fallback {
		s.fallback.Add(1)
	}
	if c.FallbackPanic {
		s.fallbackPanic.Add(1)
	}
}

// showSubsets shows the subsets that there are now. s.mu is held.
func (s *stats) showSubsets(c *Cluster) {
	b := c.roster.Load().balancer
	d, ok := b.SubsetChanges(s.divided)
	if !ok {
		return
	}
	s.divided = b
	x := &s.subsets
	x.created.Add(uint64(d.Created))
	x.removed.Add(uint64(d.Removed))
	x.active.Add(int64(d.Created - d.Removed))
	s.scope.Gauge("lb_subsets_single_host_per_subset_duplicate").Add(int64(d.Duplicates) - x.duplicates)
	x.duplicates = int64(d.Duplicates)
}

// forgetSubsets counts the subsets of the version before as removed (Envoy). s.mu is held.
func (s *stats) forgetSubsets() {
	if s.divided == nil {
		return
	}
	gone := s.divided.Subsets()
	s.subsets.removed.Add(uint64(gone))
	s.subsets.active.Add(-int64(gone))
	s.divided = nil
}
