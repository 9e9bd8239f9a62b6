package dnscache

import "github.com/ginnel/ginnel/filter"

// counts are a cache's, under Envoy's names.
type counts struct {
	scope filter.Scope

	attempt, success, failure, timeout filter.Counter
	added, removed, changed, overflow  filter.Counter
	pendingOverflow, filtered          filter.Counter
	hosts, open, remaining             filter.Gauge

	isOpen bool  // as the gauge shows it
	left   int64 // as the gauge shows it
}

func newCounts(root filter.Scope, name string) *counts {
	s := root.Scope("dns_cache." + name + ".")
	b := s.Scope("circuit_breakers.")
	s.Counter("cache_load") // of files, which there are none of
	return &counts{
		scope:   s,
		attempt: s.Counter("dns_query_attempt"), success: s.Counter("dns_query_success"),
		failure: s.Counter("dns_query_failure"), timeout: s.Counter("dns_query_timeout"),
		added: s.Counter("host_added"), removed: s.Counter("host_removed"),
		changed: s.Counter("host_address_changed"), overflow: s.Counter("host_overflow"),
		pendingOverflow: s.Counter("dns_rq_pending_overflow"), filtered: s.Counter("dns_address_filter_out"),
		hosts: s.Gauge("num_hosts"), open: b.Gauge("rq_pending_open"), remaining: b.Gauge("rq_pending_remaining"),
	}
}

// pending shows how many lookups are waited for, of most.
func (s *counts) pending(n, most int) {
	left := int64(max(most-n, 0))
	s.remaining.Add(left - s.left)
	s.left = left
	if isOpen := n >= most; isOpen != s.isOpen {
		s.isOpen = isOpen
		if isOpen {
			s.open.Add(1)
		} else {
			s.open.Add(-1)
		}
	}
}

// close takes the statistics off the lists.
func (s *counts) close() {
	s.remaining.Add(-s.left)
	if s.isOpen {
		s.open.Add(-1)
	}
	s.scope.Close()
}
