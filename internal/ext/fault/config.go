package fault

import (
	"cmp"
	"math"
	"strings"
	"time"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

var (
	faultFields = extension.Fields{
		Message: &faultv3.HTTPFault{},
		Obeyed: []string{"delay", "abort", "upstream_cluster", "headers", "downstream_nodes", "max_active_faults",
			"response_rate_limit", "delay_percent_runtime", "abort_percent_runtime", "delay_duration_runtime",
			"abort_http_status_runtime", "max_active_faults_runtime", "response_rate_limit_percent_runtime",
			"abort_grpc_status_runtime", "disable_downstream_cluster_stats", "filter_metadata"},
	}
	abortFields = extension.Fields{
		Message: &faultv3.FaultAbort{},
		Obeyed:  []string{"http_status", "grpc_status", "header_abort", "percentage", "response_body"},
	}
	delayFields = extension.Fields{
		Message: &commonv3.FaultDelay{},
		Obeyed:  []string{"fixed_delay", "header_delay", "percentage"},
	}
	rateFields = extension.Fields{
		Message: &commonv3.FaultRateLimit{},
		Obeyed:  []string{"fixed_limit", "header_limit", "percentage"},
	}
	fixedFields = extension.Fields{
		Message: &commonv3.FaultRateLimit_FixedLimit{},
		Obeyed:  []string{"limit_kbps"},
	}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{&faultFields, &abortFields, &delayFields, &rateFields, &fixedFields}
}

// settings are what the filter, or a route in its place, says.
type settings struct {
	delay *delay // nil: none, and so on
	abort *abort
	rate  *rate

	cluster  string // "": any
	headers  httpmatch.Headers
	nodes    []string // nil: any
	most     uint64   // active faults
	perPeer  bool     // statistics and runtime keys of downstream clusters
	metadata *structpb.Struct
	keys     keys
}

// keys are of the runtime.
type keys struct{ delayPercent, delay, abortPercent, abortStatus, grpcStatus, most, ratePercent string }

// A share is how many requests are meant.
type share struct{ numerator, one uint64 }

// A delay is fixed, or 0: the request says it.
type delay struct {
	fixed time.Duration
	share share
}

// An abort has an HTTP status, a gRPC status, or neither: the request says it.
type abort struct {
	status, grpc uint64
	isGRPC       bool
	share        share
	body         string
}

// A rate is fixed, in KiB/s, or 0: the request says it.
type rate struct {
	kbps  uint64
	share share
}

func compile(s *extension.Scope, m *faultv3.HTTPFault) *settings {
	faultFields.Check(s, m)
	out := &settings{
		delay:   compileDelay(s.Field("delay"), m.GetDelay()),
		abort:   compileAbort(s.Field("abort"), m.GetAbort()),
		rate:    compileRate(s.Field("response_rate_limit"), m.GetResponseRateLimit()),
		cluster: m.GetUpstreamCluster(), nodes: m.GetDownstreamNodes(),
		headers: httpmatch.CompileHeaders(s.Field("headers"), m.GetHeaders()),
		most:    math.MaxUint64, perPeer: !m.GetDisableDownstreamClusterStats(),
		keys: keys{
			delayPercent: cmp.Or(m.GetDelayPercentRuntime(), "fault.http.delay.fixed_delay_percent"),
			delay:        cmp.Or(m.GetDelayDurationRuntime(), "fault.http.delay.fixed_duration_ms"),
			abortPercent: cmp.Or(m.GetAbortPercentRuntime(), "fault.http.abort.abort_percent"),
			abortStatus:  cmp.Or(m.GetAbortHttpStatusRuntime(), "fault.http.abort.http_status"),
			grpcStatus:   cmp.Or(m.GetAbortGrpcStatusRuntime(), "fault.http.abort.grpc_status"),
			most:         cmp.Or(m.GetMaxActiveFaultsRuntime(), "fault.http.max_active_faults"),
			ratePercent:  cmp.Or(m.GetResponseRateLimitPercentRuntime(), "fault.http.rate_limit.response_percent"),
		},
	}
	if v := m.GetMaxActiveFaults(); v != nil {
		out.most = uint64(v.Value)
	}
	if out.metadata = m.GetFilterMetadata(); out.metadata == nil {
		out.metadata = &structpb.Struct{} // the namespace is there all the same (Envoy)
	}
	return out
}

func compileDelay(s *extension.Scope, m *commonv3.FaultDelay) *delay {
	if m == nil {
		return nil
	}
	delayFields.Check(s, m)
	d := &delay{share: shareOf(m.GetPercentage())}
	switch x := m.GetFaultDelaySecifier().(type) {
	case *commonv3.FaultDelay_FixedDelay:
		if d.fixed = x.FixedDelay.AsDuration(); d.fixed <= 0 {
			s.Field("fixed_delay").Errorf("value must be greater than 0s")
		}
	case *commonv3.FaultDelay_HeaderDelay_:
	default:
		s.Errorf("fixed_delay or header_delay is required")
	}
	return d
}

func compileAbort(s *extension.Scope, m *faultv3.FaultAbort) *abort {
	if m == nil {
		return nil
	}
	abortFields.Check(s, m)
	a := &abort{share: shareOf(m.GetPercentage()), body: cmp.Or(m.GetResponseBody(), "fault filter abort")}
	switch x := m.GetErrorType().(type) {
	case *faultv3.FaultAbort_HttpStatus:
		if a.status = uint64(x.HttpStatus); a.status < 200 || a.status >= 600 {
			s.Field("http_status").Errorf("value must be inside range [200, 600)")
		}
	case *faultv3.FaultAbort_GrpcStatus:
		a.grpc, a.isGRPC = uint64(x.GrpcStatus), true
	case *faultv3.FaultAbort_HeaderAbort_:
	default:
		s.Errorf("http_status, grpc_status or header_abort is required")
	}
	return a
}

func compileRate(s *extension.Scope, m *commonv3.FaultRateLimit) *rate {
	if m == nil {
		return nil
	}
	rateFields.Check(s, m)
	r := &rate{share: shareOf(m.GetPercentage())}
	switch x := m.GetLimitType().(type) {
	case *commonv3.FaultRateLimit_FixedLimit_:
		fixedFields.Check(s.Field("fixed_limit"), x.FixedLimit)
		if r.kbps = x.FixedLimit.GetLimitKbps(); r.kbps < 1 {
			s.Field("fixed_limit.limit_kbps").Errorf("value must be greater than or equal to 1")
		}
	case *commonv3.FaultRateLimit_HeaderLimit_:
	default:
		s.Errorf("fixed_limit or header_limit is required")
	}
	return r
}

func shareOf(m *typev3.FractionalPercent) share {
	return share{uint64(m.GetNumerator()), httpmatch.Denominator(m)}
}

// tidy is a downstream cluster as statistics and runtime keys name it.
func tidy(cluster string) string { return strings.ReplaceAll(cluster, ":", "_") }
