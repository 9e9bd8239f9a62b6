package router

import (
	"strings"

	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/accesslog"
)

// Config is a compiled Router message. The zero value is an empty message's.
type Config struct {
	// NoStatistics leaves out what is counted for each response code.
	NoStatistics bool
	// NoGRPCFailures leaves out the codes of gRPC requests.
	NoGRPCFailures bool
	// Quiet adds no x-envoy- headers.
	Quiet bool
	// Strict are headers whose values must be right, in lower case.
	Strict []string
	// RespectExpected takes x-envoy-expected-rq-timeout-ms for the time a request has.
	RespectExpected bool
	// NoEarlyData refuses a CONNECT with bytes behind it before it was answered.
	NoEarlyData bool

	Logs      []filter.AccessLogFactory // one entry for each try
	LogOnPool bool                      // one more when its connection is ready
}

var fields = extension.Fields{
	Message: &routerv3.Router{},
	Obeyed: []string{"dynamic_stats", "upstream_log", "upstream_log_options", "suppress_envoy_headers",
		"strict_check_headers", "respect_expected_rq_timeout", "suppress_grpc_request_failure_code_stats",
		"reject_connect_request_early_data"},
	Ignored: map[string]string{"start_child_span": "there is no tracing, and the field is deprecated"},
}

var logFields = extension.Fields{
	Message: &routerv3.Router_UpstreamAccessLogOptions{},
	Obeyed:  []string{"flush_upstream_log_on_upstream_stream"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields, &logFields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) { extension.Register(r, extension.HTTPTerminal, compile) }

func compile(s *extension.Scope, m *routerv3.Router) filter.HTTPTerminalFactory {
	fields.Check(s, m)
	c := &Config{
		NoStatistics:    m.DynamicStats != nil && !m.DynamicStats.Value,
		NoGRPCFailures:  m.SuppressGrpcRequestFailureCodeStats,
		Quiet:           m.SuppressEnvoyHeaders,
		RespectExpected: m.RespectExpectedRqTimeout,
		NoEarlyData:     m.RejectConnectRequestEarlyData.GetValue(),
		Logs:            accesslog.Compile(s.Field("upstream_log"), m.UpstreamLog),
	}
	for _, name := range m.StrictCheckHeaders { // the constraints of the message know them
		c.Strict = append(c.Strict, strings.ToLower(name))
	}
	if o := m.UpstreamLogOptions; o != nil {
		logFields.Check(s.Field("upstream_log_options"), o)
		c.LogOnPool = o.FlushUpstreamLogOnUpstreamStream
	}
	return c
}
