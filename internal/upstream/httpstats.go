package upstream

import "github.com/ginnel/ginnel/filter"

// httpStats are what pools count beside what TCP does.
type httpStats struct {
	http1, http2, closeNotify, protocolError filter.Counter
	idleTimeout, maxDuration, maxRequests    filter.Counter
	poolOverflow, activeOverflow             filter.Counter
	received, sent                           filter.Counter // resets
	perConnection                            filter.Histogram
}

func newHTTPStats(s filter.Scope) httpStats {
	return httpStats{
		http1: s.Counter("upstream_cx_http1_total"), http2: s.Counter("upstream_cx_http2_total"),
		closeNotify: s.Counter("upstream_cx_close_notify"), protocolError: s.Counter("upstream_cx_protocol_error"),
		idleTimeout: s.Counter("upstream_cx_idle_timeout"), maxDuration: s.Counter("upstream_cx_max_duration_reached"),
		maxRequests: s.Counter("upstream_cx_max_requests"), poolOverflow: s.Counter("upstream_cx_pool_overflow"),
		activeOverflow: s.Counter("upstream_rq_active_overflow"),
		received:       s.Counter("upstream_rq_rx_reset"), sent: s.Counter("upstream_rq_tx_reset"),
		perConnection: s.Histogram("upstream_rq_per_cx"),
	}
}
