package compile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
)

const httpType = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// typed returns the field of a cluster that holds HttpProtocolOptions with these fields.
func typed(fields string) string {
	return `typed_extension_protocol_options: {` + httpType + `: {"@type": type.googleapis.com/` + httpType + `, ` + fields + `}}`
}

func TestClusterHTTP(t *testing.T) {
	for name, c := range map[string]struct {
		fields string
		want   func(*plan.HTTP)
	}{
		"nothing":    {"", func(*plan.HTTP) {}},
		"HTTP/1":     {typed(`explicit_http_config: {http_protocol_options: {}}`), func(*plan.HTTP) {}},
		"HTTP/2":     {typed(`explicit_http_config: {http2_protocol_options: {}}`), func(h *plan.HTTP) { h.Version = plan.HTTP2Only }},
		"downstream": {typed(`use_downstream_protocol_config: {}`), func(h *plan.HTTP) { h.Version = plan.AsDownstream }},
		"negotiated": {
			typed(`auto_config: {http2_protocol_options: {max_concurrent_streams: 9}}`) + `, transport_socket: {name: tls, typed_config:
				{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext}}`,
			func(h *plan.HTTP) { h.Version, h.HTTP2.MaxStreams = plan.Negotiated, 9 },
		},
		"common": {
			typed(`explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {idle_timeout: 0s,
				max_connection_duration: 3s, max_connection_duration_jitter: {value: 10}, max_requests_per_connection: 7,
				max_stream_duration: 2s, max_headers_count: 5, max_response_headers_kb: 3}`),
			func(h *plan.HTTP) {
				h.IdleTimeout, h.MaxDuration, h.MaxDurationJitter = 0, 3*time.Second, 10
				h.MaxRequests, h.MaxStreamDuration, h.MaxHeaders, h.MaxHeaderBytes = 7, 2*time.Second, 5, 3072
			},
		},
		"older fields": {
			`http2_protocol_options: {max_concurrent_streams: 9, hpack_table_size: 0}, max_requests_per_connection: 4,
			common_http_protocol_options: {idle_timeout: 5s}`,
			func(h *plan.HTTP) {
				h.Version, h.MaxRequests, h.IdleTimeout = plan.HTTP2Only, 4, 5*time.Second
				h.HTTP2 = plan.HTTP2{MaxStreams: 9, TableBytes: -1}
			},
		},
		"older selection": {
			`protocol_selection: USE_DOWNSTREAM_PROTOCOL, http_protocol_options: {enable_trailers: true}, http2_protocol_options: {}`,
			func(h *plan.HTTP) { h.Version, h.HTTP1.Trailers = plan.AsDownstream, true },
		},
		"typed beside older": { // accepted, and the typed ones count (Envoy)
			typed(`explicit_http_config: {http_protocol_options: {}}`) + `, http2_protocol_options: {}, common_http_protocol_options: {idle_timeout: 5s}`,
			func(*plan.HTTP) {},
		},
		"requests of both": {
			typed(`explicit_http_config: {http_protocol_options: {}}, common_http_protocol_options: {}`) + `, max_requests_per_connection: 4`,
			func(h *plan.HTTP) { h.MaxRequests = 4 },
		},
		"header case": {
			typed(`explicit_http_config: {http_protocol_options: {send_fully_qualified_url: true, header_key_format: {stateful_formatter: {name: p, typed_config:
				{"@type": type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig,
				formatter_type_on_envoy_headers: PROPER_CASE, forward_reason_phrase: true}}}}}`),
			func(h *plan.HTTP) {
				h.HTTP1 = plan.HTTP1{PreserveCase: true, ProperCase: true, ForwardPhrase: true, FullURL: true}
			},
		},
		"keep-alive": {
			typed(`explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 30s, timeout: 5s}, allow_connect: true}}`),
			func(h *plan.HTTP) {
				h.Version, h.HTTP2.AllowConnect = plan.HTTP2Only, true
				h.HTTP2.Keepalive = plan.HTTP2Keepalive{Interval: 30 * time.Second, Timeout: 5 * time.Second, JitterPercent: 15}
			},
		},
		"the codec as the only filter": {
			typed(`explicit_http_config: {http_protocol_options: {}}, http_filters: [{name: c, typed_config:
				{"@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}}]`),
			func(*plan.HTTP) {},
		},
		"pools": {
			`connection_pool_per_downstream_connection: true, preconnect_policy: {per_upstream_preconnect_ratio: 1.5}`,
			func(h *plan.HTTP) { h.PerDownstream, h.PerHostPreconnect = true, 1.5 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := plan.HTTP{IdleTimeout: time.Hour}
			c.want(&want)
			if d := cmp.Diff(want, compiled(t, c.fields)[0].HTTP); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestClusterHTTPRefused(t *testing.T) {
	for fields, want := range map[string]string{
		typed(`common_http_protocol_options: {}`):                   "expected one of explicit_http_config",
		typed(`auto_config: {}`):                                    "ALPN configured for cluster c which has a non-ALPN transport socket",
		typed(`auto_config: {http3_protocol_options: {}}`):          "auto_config.http3_protocol_options",
		typed(`explicit_http_config: {http3_protocol_options: {}}`): "explicit_http_config.http3_protocol_options",
		typed(`explicit_http_config: {http_protocol_options: {}}, retry_policy: {retry_back_off: {base_interval: 2s, max_interval: 1s}}`):                                                  "retry_policy.max_interval must",
		typed(`explicit_http_config: {http_protocol_options: {}}, hash_policy: [{header: {header_name: x, regex_rewrite: {pattern: {regex: "("}}}}]`):                                      "hash_policy[0].header.regex_rewrite",
		typed(`explicit_http_config: {http_protocol_options: {}}, request_mirror_policies: [{cluster: a, cluster_header: b}]`):                                                             "request_mirror_policies[0]",
		typed(`explicit_http_config: {http2_protocol_options: {allow_metadata: true}}`):                                                                                                    "allow_metadata",
		typed(`explicit_http_config: {http_protocol_options: {}}, http_filters: [{name: c, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]`): "http_filters[0]",
		`http_protocol_options: {}, http2_protocol_options: {}`:                                                                                                                            "Both HTTP1 and HTTP2 options",
		`circuit_breakers: {thresholds: [{retry_budget: {budget_interval: 1s}}]}`:                                                                                                          "budget_interval",
	} {
		r, err := load.Load(load.Source{Path: "t.yaml", Data: []byte("static_resources:\n  clusters:\n  - {name: c, " + fields + "}\n")}, builtin.Registry())
		if err == nil {
			err = r.Err(false)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", fields, err, want)
		}
	}
}

func TestRetryBudget(t *testing.T) {
	got := compiled(t, `circuit_breakers: {thresholds: [{retry_budget: {}}, {priority: HIGH, retry_budget: {budget_percent: {value: 50}, min_retry_concurrency: 9}}]}`)[0]
	want := [2]*plan.RetryBudget{{Percent: 20, MinConcurrency: 3}, {Percent: 50, MinConcurrency: 9}}
	if d := cmp.Diff(want, [2]*plan.RetryBudget{got.Breakers[0].RetryBudget, got.Breakers[1].RetryBudget}); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestOutlier(t *testing.T) {
	got := compiled(t, `outlier_detection: {}`, `outlier_detection: {base_ejection_time: 600s, enforcing_consecutive_gateway_failure: 50, always_eject_one_host: true}`, ``)
	want := &plan.Outlier{
		Interval: 10 * time.Second, BaseEjection: 30 * time.Second, MaxEjection: 300 * time.Second, MaxPercent: 10,
		Consecutive5xx: 5, ConsecutiveGateway: 5, ConsecutiveLocal: 5, RateHosts: 5, RateRequests: 100, StdevFactor: 1900,
		FailurePercent: 85, FailureHosts: 5, FailureRequests: 50, HealthCheckReturns: true,
		Enforce: [plan.OutlierKinds]uint32{plan.Consecutive5xx: 100, plan.ConsecutiveLocalFailure: 100, plan.SuccessRate: 100, plan.LocalSuccessRate: 100},
	}
	if d := cmp.Diff(want, got[0].Outlier); d != "" {
		t.Errorf("defaults (-want +got):\n%s", d)
	}
	want.BaseEjection, want.MaxEjection, want.AlwaysOne, want.Enforce[plan.ConsecutiveGatewayFailure] = 600*time.Second, 600*time.Second, true, 50
	if d := cmp.Diff(want, got[1].Outlier); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got[2].Outlier != nil {
		t.Error("detection that nobody asked for")
	}
}
