package hcm

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// stats is http.<stat_prefix>. under Envoy's names.
type stats struct {
	cxTotal, cxDestroy, cxDestroyLocal, cxDestroyRemote          filter.Counter
	cxDestroyActive, cxDestroyLocalActive, cxDestroyRemoteActive filter.Counter
	cxProtocolError, cxDrainClose, cxIdle, cxDuration            filter.Counter
	cxRequests, cxUpgrades, cxDelayed                            filter.Counter
	received, sent                                               filter.Counter
	cxSSL                                                        filter.Counter
	cxSSLActive                                                  filter.Gauge
	cxActive, cxUpgradesActive, cxSoftDrain                      filter.Gauge
	cxLength                                                     filter.Histogram

	rqTotal, rqCompleted, rqEarlyResponse                   filter.Counter
	rqRxReset, rqTxReset, rqNonRelative, rqPremature        filter.Counter
	rqBadPath, rqRedirectedPath, rqTooLarge, rqNoUpgrade    filter.Counter
	rqIdle, rqDuration, rqTimeout, rqHeaderTimeout, rqPanic filter.Counter
	rqNoAddress                                             filter.Counter
	rqActive                                                filter.Gauge
	rqTime                                                  filter.Histogram

	rqResolving, rqResolutions filter.Histogram // of routes; nil: not wanted

	byProtocol [2]protocolStats  // HTTP/1, HTTP/2
	status     [6]filter.Counter // by the first digit; 0: never used
	listener   listenerStats
}

// protocolStats are counted apart for each version.
type protocolStats struct {
	cxTotal, rqTotal filter.Counter
	cxActive         filter.Gauge
}

// listenerStats is listener.<address>.http.<stat_prefix>.
type listenerStats struct {
	completed filter.Counter
	status    [6]filter.Counter
}

func newStats(root filter.Scope, prefix string) *stats {
	s := root.Scope("http." + prefix + ".")
	for _, name := range unmoved {
		s.Counter(name)
	}
	for _, name := range []string{"downstream_cx_http3_active",
		"downstream_cx_rx_bytes_buffered", "downstream_cx_tx_bytes_buffered"} {
		s.Gauge(name)
	}
	st := &stats{
		cxTotal: s.Counter("downstream_cx_total"), cxDestroy: s.Counter("downstream_cx_destroy"),
		cxDestroyLocal: s.Counter("downstream_cx_destroy_local"), cxDestroyRemote: s.Counter("downstream_cx_destroy_remote"),
		cxDestroyActive:       s.Counter("downstream_cx_destroy_active_rq"),
		cxDestroyLocalActive:  s.Counter("downstream_cx_destroy_local_active_rq"),
		cxDestroyRemoteActive: s.Counter("downstream_cx_destroy_remote_active_rq"),
		cxProtocolError:       s.Counter("downstream_cx_protocol_error"),
		cxDrainClose:          s.Counter("downstream_cx_drain_close"),
		cxIdle:                s.Counter("downstream_cx_idle_timeout"),
		cxDuration:            s.Counter("downstream_cx_max_duration_reached"),
		cxSoftDrain:           s.Gauge("downstream_cx_http1_soft_drain"),
		cxRequests:            s.Counter("downstream_cx_max_requests_reached"),
		cxDelayed:             s.Counter("downstream_cx_delayed_close_timeout"),
		cxUpgrades:            s.Counter("downstream_cx_upgrades_total"),
		received:              s.Counter("downstream_cx_rx_bytes_total"), sent: s.Counter("downstream_cx_tx_bytes_total"),
		cxSSL: s.Counter("downstream_cx_ssl_total"), cxSSLActive: s.Gauge("downstream_cx_ssl_active"),
		cxActive: s.Gauge("downstream_cx_active"), cxUpgradesActive: s.Gauge("downstream_cx_upgrades_active"),
		cxLength: s.Histogram("downstream_cx_length_ms"),
	}
	st.requests(s)
	return st
}

func (st *stats) requests(s filter.Scope) {
	st.rqTotal, st.rqCompleted = s.Counter("downstream_rq_total"), s.Counter("downstream_rq_completed")
	st.rqEarlyResponse = s.Counter("downstream_rq_response_before_rq_complete")
	st.rqRxReset, st.rqTxReset = s.Counter("downstream_rq_rx_reset"), s.Counter("downstream_rq_tx_reset")
	st.rqPremature = s.Counter("downstream_rq_too_many_premature_resets")
	st.rqNonRelative = s.Counter("downstream_rq_non_relative_path")
	st.rqBadPath = s.Counter("downstream_rq_failed_path_normalization")
	st.rqRedirectedPath = s.Counter("downstream_rq_redirected_with_normalized_path")
	st.rqTooLarge = s.Counter("downstream_rq_too_large")
	st.rqNoUpgrade = s.Counter("downstream_rq_ws_on_non_ws_route")
	st.rqIdle, st.rqDuration = s.Counter("downstream_rq_idle_timeout"), s.Counter("downstream_rq_max_duration_reached")
	st.rqTimeout, st.rqHeaderTimeout = s.Counter("downstream_rq_timeout"), s.Counter("downstream_rq_header_timeout")
	st.rqNoAddress = s.Counter("downstream_rq_rejected_via_ip_detection")
	st.rqPanic = s.Counter("downstream_rq_panic")
	st.rqActive, st.rqTime = s.Gauge("downstream_rq_active"), s.Histogram("downstream_rq_time")
	for i, v := range []string{"http1", "http2"} {
		st.byProtocol[i] = protocolStats{
			cxTotal: s.Counter("downstream_cx_" + v + "_total"), rqTotal: s.Counter("downstream_rq_" + v + "_total"),
			cxActive: s.Gauge("downstream_cx_" + v + "_active"),
		}
	}
	st.status = classes(s)
}

// of returns the listener's own statistics of the connection manager.
func (l *listenerStats) of(s filter.Scope) {
	l.completed, l.status = s.Counter("downstream_rq_completed"), classes(s)
}

func classes(s filter.Scope) (c [6]filter.Counter) {
	for i := 1; i < len(c); i++ {
		c[i] = s.Counter("downstream_rq_" + string(rune('0'+i)) + "xx")
	}
	return c
}

// unmoved are never counted here, but part of the set.
var unmoved = []string{
	"downstream_cx_http3_total", "downstream_cx_overload_disable_keepalive",
	"downstream_flow_control_paused_reading_total", "downstream_flow_control_resumed_reading_total",
	"downstream_rq_http3_total", "downstream_rq_overload_close",
	"rs_too_large", "tracing.client_enabled", "tracing.health_check",
	"tracing.not_traceable", "tracing.random_sampling", "tracing.service_forced",
}

func (st *stats) of(p httpmsg.Protocol) *protocolStats {
	if p == httpmsg.HTTP2 {
		return &st.byProtocol[1]
	}
	return &st.byProtocol[0]
}

// destroyed counts a connection that has ended; cut: with requests under way.
func (st *stats) destroyed(by side, cut bool) {
	st.cxDestroy.Add(1)
	all, active := st.cxDestroyRemote, st.cxDestroyRemoteActive
	if by == localSide {
		all, active = st.cxDestroyLocal, st.cxDestroyLocalActive
	}
	all.Add(1)
	if cut {
		st.cxDestroyActive.Add(1)
		active.Add(1)
	}
}

// answered counts the head of a response; informational ones are no less (Envoy).
func (st *stats) answered(status int) {
	st.rqCompleted.Add(1)
	if class := status / 100; class > 0 && class < len(st.status) {
		st.status[class].Add(1)
	}
	if l := &st.listener; l.completed != nil {
		l.completed.Add(1)
		if class := status / 100; class > 0 && class < len(l.status) {
			l.status[class].Add(1)
		}
	}
}
