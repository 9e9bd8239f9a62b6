package compile

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	sinkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/health_check/event_sinks/file/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

const defaultNoTraffic = time.Minute

// healthCheck compiles the one health check that a cluster may have; nil: there is none.
func healthCheck(s *extension.Scope, c *clusterv3.Cluster) *plan.HealthCheck {
	switch all := c.GetHealthChecks(); {
	case len(all) == 0:
		return nil
	case len(all) > 1:
		s.Errorf("Multiple health checks not supported")
		return nil
	}
	s, m := s.Index(0), c.GetHealthChecks()[0]
	healthCheckFields.Check(s, m)
	interval := m.GetInterval().AsDuration()
	p := &plan.HealthCheck{
		Timeout: m.GetTimeout().AsDuration(), Interval: interval,
		Healthy: max(m.GetHealthyThreshold().GetValue(), 1), Unhealthy: max(m.GetUnhealthyThreshold().GetValue(), 1),
		OneConnection: m.GetReuseConnection() != nil && !m.GetReuseConnection().GetValue(),
		AltPort:       uint16(m.GetAltPort().GetValue()),
		Protocols:     m.GetTlsOptions().GetAlpnProtocols(), Transport: m.GetTransportSocketMatchCriteria(),
		NoTraffic: durationOr(m.GetNoTrafficInterval(), defaultNoTraffic), UnhealthyAfter: durationOr(m.GetUnhealthyInterval(), interval),
		HealthyEdge:   durationOr(m.GetHealthyEdgeInterval(), interval),
		InitialJitter: durationOr(m.GetInitialJitter(), 0), IntervalJitter: durationOr(m.GetIntervalJitter(), 0),
		JitterPercent: m.GetIntervalJitterPercent(),
		ExcludeNew:    c.GetCommonLbConfig().GetIgnoreNewHostsUntilFirstHc(),
		EventLogs:     eventLogs(s, m),
		LogFailures:   m.GetAlwaysLogHealthCheckFailures(), LogSuccesses: m.GetAlwaysLogHealthCheckSuccess(),
	}
	if t := m.GetTlsOptions(); t != nil {
		checkTLSFields.Check(s.Field("tls_options"), t)
	}
	p.NoTrafficHealthy = durationOr(m.GetNoTrafficHealthyInterval(), p.NoTraffic)
	p.UnhealthyEdge = durationOr(m.GetUnhealthyEdgeInterval(), p.UnhealthyAfter)
	switch k := m.GetHealthChecker().(type) {
	case *corev3.HealthCheck_HttpHealthCheck_:
		p.HTTP = httpCheck(s.Field("http_health_check"), k.HttpHealthCheck)
	case *corev3.HealthCheck_TcpHealthCheck_:
		at := s.Field("tcp_health_check")
		tcpCheckFields.Check(at, k.TcpHealthCheck)
		p.TCP = &plan.TCPCheck{
			Send: payload(at.Field("send"), k.TcpHealthCheck.GetSend()), Receive: payloads(at.Field("receive"), k.TcpHealthCheck.GetReceive()),
			Proxy: checkProxy(at.Field("proxy_protocol_config"), k.TcpHealthCheck.GetProxyProtocolConfig()),
		}
	case *corev3.HealthCheck_GrpcHealthCheck_:
		p.GRPC = grpcCheck(s.Field("grpc_health_check"), k.GrpcHealthCheck)
	}
	return p
}

// eventLogs returns the paths of the files that events go to.
func eventLogs(s *extension.Scope, m *corev3.HealthCheck) []string {
	var out []string
	if p := m.GetEventLogPath(); p != "" { //nolint:staticcheck // it is still obeyed
		out = append(out, p)
	}
	for i, l := range m.GetEventLogger() {
		s := s.Field("event_logger").Index(i)
		if !typed(s, l.GetName(), l.GetTypedConfig()) {
			continue
		}
		at := s.Field("typed_config")
		switch sink, ok := at.Unpack(l.GetTypedConfig()); f := sink.(type) {
		case *sinkv3.HealthCheckEventFileSink:
			eventSinkFields.Check(at, f)
			out = append(out, f.GetEventLogPath())
		default:
			if ok {
				at.Errorf("not supported yet: the event sink %s", sink.ProtoReflect().Descriptor().FullName())
			}
		}
	}
	return out
}

// checkProxy returns the version of a header; 0: there is none.
func checkProxy(s *extension.Scope, m *corev3.ProxyProtocolConfig) int {
	if m == nil {
		return 0
	}
	checkProxyFields.Check(s, m)
	if m.GetVersion() == corev3.ProxyProtocolConfig_V2 {
		return 2
	}
	return 1
}

// checksHTTP2 reports that gRPC health checks need a cluster that speaks HTTP/2 (Envoy).
func checksHTTP2(s *extension.Scope, p *plan.Cluster) {
	if p.Check != nil && p.Check.GRPC != nil && p.HTTP.Version == plan.HTTP1Only {
		s.Field("health_checks").Errorf("%s cluster must support HTTP/2 for gRPC healthchecking", p.Name)
	}
}

func httpCheck(s *extension.Scope, m *corev3.HealthCheck_HttpHealthCheck) *plan.HTTPCheck {
	httpCheckFields.Check(s, m)
	p := &plan.HTTPCheck{
		Protocol: httpmsg.HTTP11, Method: "GET", Host: m.GetHost(), Path: m.GetPath(),
		Add: checkHeaders(s.Field("request_headers_to_add"), m.GetRequestHeadersToAdd()), Remove: lower(m.GetRequestHeadersToRemove()),
		Body:     payload(s.Field("send"), m.GetSend()),
		Expected: statuses(s, "expected", m.GetExpectedStatuses()), Retriable: statuses(s, "retriable", m.GetRetriableStatuses()),
		Receive: payloads(s.Field("receive"), m.GetReceive()), ReceiveBytes: 1024,
	}
	if v := m.GetResponseBufferSize(); v != nil {
		p.ReceiveBytes = int(v.GetValue())
	}
	if len(p.Expected) == 0 {
		p.Expected = []plan.StatusRange{{Start: 200, End: 201}}
	}
	switch m.GetCodecClientType() {
	case typev3.CodecClientType_HTTP2:
		p.Protocol = httpmsg.HTTP2
	case typev3.CodecClientType_HTTP3:
		s.Field("codec_client_type").Errorf("HTTP3 is not supported yet")
	}
	if v := m.GetMethod(); v != corev3.RequestMethod_METHOD_UNSPECIFIED {
		p.Method = v.String()
	}
	if p.Body != nil && !slices.Contains([]string{"POST", "PUT", "PATCH", "OPTIONS"}, p.Method) {
		s.Field("send").Errorf("HTTP health check cannot specify a request payload with method '%s'. Only methods that support a request body (POST, PUT, PATCH, OPTIONS) can be used with payload.", p.Method)
	}
	return p
}

func grpcCheck(s *extension.Scope, m *corev3.HealthCheck_GrpcHealthCheck) *plan.GRPCCheck {
	grpcCheckFields.Check(s, m)
	return &plan.GRPCCheck{
		Service: m.GetServiceName(), Authority: m.GetAuthority(),
		Add: checkHeaders(s.Field("initial_metadata"), m.GetInitialMetadata()),
	}
}

func lower(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, strings.ToLower(n))
	}
	return out
}

func statuses(s *extension.Scope, kind string, in []*typev3.Int64Range) []plan.StatusRange {
	var out []plan.StatusRange
	for i, r := range in {
		at := s.Field(kind + "_statuses").Index(i)
		switch {
		case r.GetStart() >= r.GetEnd():
			at.Errorf("Invalid http %s status range: expecting start < end, but found start=%d and end=%d", kind, r.GetStart(), r.GetEnd())
		case r.GetStart() < 100:
			at.Errorf("Invalid http %s status range: expecting start >= 100, but found start=%d", kind, r.GetStart())
		case r.GetEnd() > 600:
			at.Errorf("Invalid http %s status range: expecting end <= 600, but found end=%d", kind, r.GetEnd())
		}
		out = append(out, plan.StatusRange{Start: int(r.GetStart()), End: int(r.GetEnd())})
	}
	return out
}

func payloads(s *extension.Scope, in []*corev3.HealthCheck_Payload) [][]byte {
	var out [][]byte
	for i, m := range in {
		out = append(out, payload(s.Index(i), m))
	}
	return out
}

// payload is bytes, or hex digits; nil: none.
func payload(s *extension.Scope, m *corev3.HealthCheck_Payload) []byte {
	switch p := m.GetPayload().(type) {
	case *corev3.HealthCheck_Payload_Text:
		b, err := hex.DecodeString(p.Text)
		if err != nil {
			s.Field("text").Errorf("invalid hex string '%s'", p.Text)
		}
		return b
	case *corev3.HealthCheck_Payload_Binary:
		return p.Binary
	}
	return nil
}

func checkHeaders(s *extension.Scope, in []*corev3.HeaderValueOption) []plan.HeaderAdd {
	var out []plan.HeaderAdd
	for i, m := range in {
		at := s.Index(i)
		checkHeaderFields.Check(at, m)
		h, value := m.GetHeader(), m.GetHeader().GetValue()
		if raw := h.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		if plain := strings.ReplaceAll(value, "%%", ""); strings.Contains(plain, "%") {
			at.Field("header.value").Errorf("not supported yet: health checks send no formatters, only %%%%")
		}
		if value == "" && !m.GetKeepEmptyValue() {
			continue
		}
		a := plan.HeaderAdd{Name: strings.ToLower(h.GetKey()), Value: strings.ReplaceAll(value, "%%", "%")}
		switch m.GetAppendAction() {
		case corev3.HeaderValueOption_ADD_IF_ABSENT:
			a.IfAbsent = true
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			a.Overwrite = true
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
			a.Overwrite, a.IfPresent = true, true
		}
		if v := m.GetAppend(); v != nil && !v.GetValue() {
			a.Overwrite = true
		}
		out = append(out, a)
	}
	return out
}

// endpointCheck compiles what is special to the check of an endpoint.
func (h hosts) endpointCheck(s *extension.Scope, m *endpointv3.Endpoint_HealthCheckConfig) plan.EndpointCheck {
	if m == nil {
		return plan.EndpointCheck{}
	}
	endpointCheckFields.Check(s, m)
	p := plan.EndpointCheck{Disabled: m.GetDisableActiveHealthCheck(), Port: uint16(m.GetPortValue()), Hostname: m.GetHostname()}
	if m.GetAddress() != nil {
		p.Addr, _ = h.address(s.Field("address"), m.GetAddress())
	}
	return p
}

var (
	healthCheckFields = extension.Fields{
		Message: &corev3.HealthCheck{},
		Obeyed: []string{
			"name", "timeout", "interval", "initial_jitter", "interval_jitter", "interval_jitter_percent", "unhealthy_threshold",
			"healthy_threshold", "alt_port", "reuse_connection", "http_health_check", "tcp_health_check", "grpc_health_check",
			"no_traffic_interval", "no_traffic_healthy_interval", "unhealthy_interval", "unhealthy_edge_interval", "healthy_edge_interval",
			"event_log_path", "event_logger", "always_log_health_check_failures", "always_log_health_check_success",
			"tls_options", "transport_socket_match_criteria",
		},
	}
	checkTLSFields = extension.Fields{
		Message: &corev3.HealthCheck_TlsOptions{},
		Obeyed:  []string{"alpn_protocols"},
	}
	eventSinkFields = extension.Fields{
		Message: &sinkv3.HealthCheckEventFileSink{},
		Obeyed:  []string{"event_log_path"},
	}
	httpCheckFields = extension.Fields{
		Message: &corev3.HealthCheck_HttpHealthCheck{},
		Obeyed: []string{
			"host", "path", "send", "receive", "response_buffer_size", "request_headers_to_add", "request_headers_to_remove",
			"expected_statuses", "retriable_statuses", "codec_client_type", "method",
		},
	}
	tcpCheckFields = extension.Fields{
		Message: &corev3.HealthCheck_TcpHealthCheck{},
		Obeyed:  []string{"send", "receive", "proxy_protocol_config"},
	}
	checkProxyFields = extension.Fields{Message: &corev3.ProxyProtocolConfig{}, Where: "health check", Obeyed: []string{"version"}}
	grpcCheckFields  = extension.Fields{
		Message: &corev3.HealthCheck_GrpcHealthCheck{},
		Obeyed:  []string{"service_name", "authority", "initial_metadata"},
	}
	checkHeaderFields = extension.Fields{
		Message: &corev3.HeaderValueOption{},
		Obeyed:  []string{"header", "append", "append_action", "keep_empty_value"},
	}
	endpointCheckFields = extension.Fields{
		Message: &endpointv3.Endpoint_HealthCheckConfig{},
		Obeyed:  []string{"port_value", "hostname", "address", "disable_active_health_check"},
	}
)
