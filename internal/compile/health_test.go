package compile_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
)

const often = `timeout: 1s, interval: 10s, healthy_threshold: 2, unhealthy_threshold: 3, `

func TestHealthCheck(t *testing.T) {
	got := compiled(t,
		`health_checks: [{`+often+`http_health_check: {path: /hc}}]`,
		`health_checks: [{`+often+`unhealthy_interval: 7s, no_traffic_interval: 8s, alt_port: 9, reuse_connection: false, interval_jitter_percent: 5,
			tcp_health_check: {send: {text: "70696e67"}, receive: [{binary: cG9uZw==}]}}], common_lb_config: {ignore_new_hosts_until_first_hc: true}`,
		`health_checks: [{`+often+`grpc_health_check: {service_name: s, initial_metadata: [{header: {key: X-A, value: "1%%"}, append_action: OVERWRITE_IF_EXISTS}]}}], http2_protocol_options: {}`,
		`health_checks: [{`+often+`http_health_check: {path: /, host: h, method: POST, send: {text: "61"}, codec_client_type: HTTP2, expected_statuses: [{start: 200, end: 300}],
			retriable_statuses: [{start: 500, end: 600}], response_buffer_size: 0, request_headers_to_remove: [User-Agent]}}]`,
		`health_checks: [{`+often+`tcp_health_check: {}, event_log_path: a, always_log_health_check_failures: true, always_log_health_check_success: true,
			event_logger: [{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink, event_log_path: b}}]}]`,
	)
	base := plan.HealthCheck{
		Timeout: time.Second, Interval: 10 * time.Second, Healthy: 2, Unhealthy: 3,
		HealthyEdge: 10 * time.Second, UnhealthyEdge: 10 * time.Second, UnhealthyAfter: 10 * time.Second,
		NoTraffic: time.Minute, NoTrafficHealthy: time.Minute,
	}
	a, b, c, d := base, base, base, base
	a.HTTP = &plan.HTTPCheck{Protocol: httpmsg.HTTP11, Method: "GET", Path: "/hc", Expected: []plan.StatusRange{{Start: 200, End: 201}}, ReceiveBytes: 1024}
	b.TCP = &plan.TCPCheck{Send: []byte("ping"), Receive: [][]byte{[]byte("pong")}}
	b.UnhealthyAfter, b.UnhealthyEdge, b.NoTraffic, b.NoTrafficHealthy = 7*time.Second, 7*time.Second, 8*time.Second, 8*time.Second
	b.AltPort, b.OneConnection, b.JitterPercent, b.ExcludeNew = 9, true, 5, true
	c.GRPC = &plan.GRPCCheck{Service: "s", Add: []plan.HeaderAdd{{Name: "x-a", Value: "1%", Overwrite: true, IfPresent: true}}}
	d.HTTP = &plan.HTTPCheck{
		Protocol: httpmsg.HTTP2, Method: "POST", Path: "/", Host: "h", Body: []byte("a"), Remove: []string{"user-agent"},
		Expected: []plan.StatusRange{{Start: 200, End: 300}}, Retriable: []plan.StatusRange{{Start: 500, End: 600}},
	}
	e := base
	e.TCP, e.EventLogs, e.LogFailures, e.LogSuccesses = &plan.TCPCheck{}, []string{"a", "b"}, true, true
	for i, want := range []plan.HealthCheck{a, b, c, d, e} {
		if d := cmp.Diff(&want, got[i].Check, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%d (-want +got):\n%s", i, d)
		}
	}
}

func TestEndpointCheck(t *testing.T) {
	got := compiled(t, `load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {
		address: {socket_address: {address: 127.0.0.1, port_value: 80}},
		health_check_config: {port_value: 81, hostname: h, disable_active_health_check: true,
		address: {socket_address: {address: 127.0.0.2, port_value: 82}}}}}]}]}`)[0].Assignment.Localities[0].Endpoints[0].Check
	want := plan.EndpointCheck{Disabled: true, Port: 81, Hostname: "h", Addr: filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.2:82")}}
	if got != want {
		t.Errorf("%+v", got)
	}
}

func TestHealthCheckRefused(t *testing.T) {
	for fields, want := range map[string]string{ // as Envoy words it
		`health_checks: [{` + often + `grpc_health_check: {}}]`:                                                                                                       "c cluster must support HTTP/2 for gRPC healthchecking",
		`health_checks: [{` + often + `http_health_check: {path: /, expected_statuses: [{start: 300, end: 200}]}}]`:                                                   "Invalid http expected status range: expecting start < end, but found start=300 and end=200",
		`health_checks: [{` + often + `http_health_check: {path: /, expected_statuses: [{start: 99, end: 200}]}}]`:                                                    "Invalid http expected status range: expecting start >= 100, but found start=99",
		`health_checks: [{` + often + `http_health_check: {path: /, send: {text: "61"}}}]`:                                                                            "HTTP health check cannot specify a request payload with method 'GET'",
		`health_checks: [{` + often + `tcp_health_check: {send: {text: "6x"}}}]`:                                                                                      "invalid hex string '6x'",
		`health_checks: [{` + often + `tcp_health_check: {}}, {` + often + `tcp_health_check: {}}]`:                                                                   "Multiple health checks not supported",
		`health_checks: [{` + often + `http_health_check: {path: /, service_name_matcher: {exact: a}}}]`:                                                              "service_name_matcher",
		`health_checks: [{` + often + `http_health_check: {path: /, request_headers_to_add: [{header: {key: a, value: "%HOSTNAME%"}}]}}]`:                             "formatters",
		`health_checks: [{` + often + `tcp_health_check: {}, event_logger: [{name: f, typed_config: {"@type": type.googleapis.com/envoy.config.core.v3.Locality}}]}]`: "not supported yet: the event sink envoy.config.core.v3.Locality",
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
