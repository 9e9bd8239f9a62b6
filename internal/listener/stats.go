package listener

import (
	"fmt"
	"net"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// stats is a listener's statistics under Envoy's names.
type stats struct {
	total, destroy, noChain              filter.Counter
	overflow, globalOverflow             filter.Counter
	preTimeout, preRemoteClose, preError filter.Counter
	transportTimeout                     filter.Counter
	active, preActive                    filter.Gauge
	length, accepted                     filter.Histogram
	workers                              []worker
}

// A worker is the share of connections that Envoy gives to one worker thread. Ours
// have no threads: a connection counts for the worker its id falls to, or that the
// balance says, so that sums and dashboards hold.
type worker struct {
	total  filter.Counter
	active filter.Gauge
}

func newStats(root filter.Scope, prefix string, workers int) *stats {
	s := root.Scope(prefix)
	st := &stats{
		total: s.Counter("downstream_cx_total"), destroy: s.Counter("downstream_cx_destroy"),
		noChain:  s.Counter("no_filter_chain_match"),
		overflow: s.Counter("downstream_cx_overflow"), globalOverflow: s.Counter("downstream_global_cx_overflow"),
		preTimeout:     s.Counter("downstream_pre_cx_timeout"),
		preRemoteClose: s.Counter("downstream_listener_filter_remote_close"),
		preError:       s.Counter("downstream_listener_filter_error"),
		active:         s.Gauge("downstream_cx_active"), preActive: s.Gauge("downstream_pre_cx_active"),
		length: s.Histogram("downstream_cx_length_ms"), accepted: s.Histogram("connections_accepted_per_socket_event"),

		transportTimeout: s.Counter("downstream_cx_transport_socket_connect_timeout"),
	}
	for _, name := range []string{"downstream_cx_overload_reject", "extension_config_missing", "network_extension_config_missing"} {
		s.Counter(name) // never moved yet, but Envoy's dashboards ask for it
	}
	for i := range max(workers, 1) {
		w := s.Scope(fmt.Sprintf("worker_%d.", i))
		st.workers = append(st.workers, worker{w.Counter("downstream_cx_total"), w.Gauge("downstream_cx_active")})
	}
	return st
}

func (s *stats) opened(c *conn) {
	w := &s.workers[c.Info.Worker]
	s.total.Add(1)
	s.active.Add(1)
	w.total.Add(1)
	w.active.Add(1)
}

func (s *stats) ended(c *conn) {
	s.destroy.Add(1)
	s.active.Add(-1)
	s.workers[c.Info.Worker].active.Add(-1)
	s.length.Record(uint64(c.Info.Duration.Milliseconds()))
}

// statRoot is the prefix of the listener's statistics.
func (l *Listener) statRoot() string {
	switch {
	case l.plan.StatPrefix != "":
		return "listener." + l.plan.StatPrefix + "."
	case l.plan.Internal:
		return "listener.envoy_internal_" + l.plan.Info.Name + "."
	}
	return "listener." + statAddress(l.Addrs(), l.plan) + "."
}

func statAddress(bound []net.Addr, p *plan.Listener) string {
	if len(bound) > 0 {
		return strings.ReplaceAll(bound[0].String(), ":", "_")
	}
	return p.Info.Name
}
