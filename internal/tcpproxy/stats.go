package tcpproxy

import "github.com/ginnel/ginnel/filter"

// stats is tcp.<stat_prefix>. under Envoy's names.
type stats struct {
	total, noRoute, sent, received filter.Counter
	paused, resumed                filter.Counter
	idle, duration, flushes, early filter.Counter
	flushing                       filter.Gauge
}

func newStats(root filter.Scope, prefix string) *stats {
	s := root.Scope("tcp." + prefix + ".")
	for _, name := range []string{"downstream_cx_drain_close", "downstream_cx_overload_close", "route_delayed_total"} {
		s.Counter(name) // never moved yet, but part of the set
	}
	s.Gauge("downstream_cx_rx_bytes_buffered") // the pump buffers in the kernel
	s.Gauge("downstream_cx_tx_bytes_buffered")
	return &stats{
		total:    s.Counter("downstream_cx_total"),
		noRoute:  s.Counter("downstream_cx_no_route"),
		sent:     s.Counter("downstream_cx_tx_bytes_total"),
		received: s.Counter("downstream_cx_rx_bytes_total"),
		paused:   s.Counter("downstream_flow_control_paused_reading_total"),
		resumed:  s.Counter("downstream_flow_control_resumed_reading_total"),
		idle:     s.Counter("idle_timeout"),
		duration: s.Counter("max_downstream_connection_duration"),
		flushes:  s.Counter("upstream_flush_total"),
		flushing: s.Gauge("upstream_flush_active"),
		early:    s.Counter("early_data_received_count_total"),
	}
}
