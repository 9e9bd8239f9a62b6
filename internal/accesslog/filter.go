package accesslog

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
	"github.com/ginnel/ginnel/internal/state"
)

// An event is an entry that a filter judges.
type event struct {
	info    *filter.Info
	t       filter.AccessLogType
	runtime filter.Runtime // nil: no runtime values
}

func (e event) uint(key string, def uint32) uint64 {
	if key == "" || e.runtime == nil {
		return uint64(def)
	}
	return e.runtime.Uint(key, uint64(def))
}

// A predicate decides whether an entry is written.
type predicate func(event) bool

func always(event) bool { return true }
func never(event) bool  { return false }

// constant is the verdict of a filter that looks at nothing.
func constant(yes bool) predicate {
	if yes {
		return always
	}
	return never
}

var (
	filterFields = extension.Fields{Message: &accesslogv3.AccessLogFilter{}, Obeyed: []string{
		"status_code_filter", "duration_filter", "not_health_check_filter", "traceable_filter", "runtime_filter",
		"and_filter", "or_filter", "header_filter", "response_flag_filter", "grpc_status_filter", "extension_filter",
		"metadata_filter", "log_type_filter",
	}}
	statusFields     = extension.Fields{Message: &accesslogv3.StatusCodeFilter{}, Obeyed: []string{"comparison"}}
	durationFields   = extension.Fields{Message: &accesslogv3.DurationFilter{}, Obeyed: []string{"comparison"}}
	comparisonFields = extension.Fields{Message: &accesslogv3.ComparisonFilter{}, Obeyed: []string{"op", "value"}}
	uint32Fields     = extension.Fields{Message: &corev3.RuntimeUInt32{}, Obeyed: []string{"default_value", "runtime_key"}}
	runtimeFields    = extension.Fields{
		Message: &accesslogv3.RuntimeFilter{},
		Obeyed:  []string{"runtime_key", "percent_sampled", "use_independent_randomness"},
	}
	andFields     = extension.Fields{Message: &accesslogv3.AndFilter{}, Obeyed: []string{"filters"}}
	orFields      = extension.Fields{Message: &accesslogv3.OrFilter{}, Obeyed: []string{"filters"}}
	flagFields    = extension.Fields{Message: &accesslogv3.ResponseFlagFilter{}, Obeyed: []string{"flags"}}
	grpcFields    = extension.Fields{Message: &accesslogv3.GrpcStatusFilter{}, Obeyed: []string{"statuses", "exclude"}}
	logTypeFields = extension.Fields{Message: &accesslogv3.LogTypeFilter{}, Obeyed: []string{"types", "exclude"}}
	extendFields  = extension.Fields{
		Message: &accesslogv3.ExtensionFilter{},
		Obeyed:  []string{"typed_config"},
		Ignored: map[string]string{"name": "the type URL decides which extension it is, in Envoy too"},
	}
)

func filterSupport() []*extension.Fields {
	own := []*extension.Fields{
		&filterFields, &statusFields, &durationFields, &comparisonFields, &uint32Fields, &runtimeFields,
		&andFields, &orFields, &flagFields, &grpcFields, &logTypeFields, &extendFields,
	}
	return append(own, matcherSupport()...)
}

// compileFilter compiles a filter; nil for none. What is wrong is reported.
func compileFilter(s *extension.Scope, m *accesslogv3.AccessLogFilter) predicate {
	if m == nil {
		return nil
	}
	filterFields.Check(s, m)
	switch f := m.GetFilterSpecifier().(type) {
	case *accesslogv3.AccessLogFilter_StatusCodeFilter:
		statusFields.Check(s.Field("status_code_filter"), f.StatusCodeFilter)
		return comparison(s.Field("status_code_filter.comparison"), f.StatusCodeFilter.GetComparison(), status)
	case *accesslogv3.AccessLogFilter_DurationFilter:
		durationFields.Check(s.Field("duration_filter"), f.DurationFilter)
		return comparison(s.Field("duration_filter.comparison"), f.DurationFilter.GetComparison(), millis)
	case *accesslogv3.AccessLogFilter_NotHealthCheckFilter:
		return notHealthCheck
	case *accesslogv3.AccessLogFilter_TraceableFilter:
		return never // nothing is traced
	case *accesslogv3.AccessLogFilter_RuntimeFilter:
		return sampled(s.Field("runtime_filter"), f.RuntimeFilter)
	case *accesslogv3.AccessLogFilter_AndFilter:
		s := s.Field("and_filter")
		andFields.Check(s, f.AndFilter)
		return all(list(s.Field("filters"), f.AndFilter.GetFilters()))
	case *accesslogv3.AccessLogFilter_OrFilter:
		s := s.Field("or_filter")
		orFields.Check(s, f.OrFilter)
		return anyOf(list(s.Field("filters"), f.OrFilter.GetFilters()))
	case *accesslogv3.AccessLogFilter_HeaderFilter:
		return header(s.Field("header_filter"), f.HeaderFilter)
	case *accesslogv3.AccessLogFilter_ResponseFlagFilter:
		return flags(s.Field("response_flag_filter"), f.ResponseFlagFilter)
	case *accesslogv3.AccessLogFilter_GrpcStatusFilter:
		return grpc(s.Field("grpc_status_filter"), f.GrpcStatusFilter)
	case *accesslogv3.AccessLogFilter_ExtensionFilter:
		return extended(s.Field("extension_filter"), f.ExtensionFilter)
	case *accesslogv3.AccessLogFilter_MetadataFilter:
		return metadata(s.Field("metadata_filter"), f.MetadataFilter)
	case *accesslogv3.AccessLogFilter_LogTypeFilter:
		return logTypes(s.Field("log_type_filter"), f.LogTypeFilter)
	}
	s.Errorf("a filter is required")
	return always
}

// status is 0 where there is none, as of a connection.
func status(e event) uint64 {
	if h := e.info.HTTP(); h != nil {
		return uint64(h.Code)
	}
	return 0
}

func notHealthCheck(e event) bool {
	h := e.info.HTTP()
	return h == nil || !h.HealthCheck
}

func millis(e event) uint64 { return uint64(state.Elapsed(e.info) / time.Millisecond) }

func comparison(s *extension.Scope, m *accesslogv3.ComparisonFilter, of func(event) uint64) predicate {
	if m.GetValue() == nil {
		s.Field("value").Errorf("is required")
		return always
	}
	comparisonFields.Check(s, m)
	uint32Fields.Check(s.Field("value"), m.Value)
	key, def := m.Value.GetRuntimeKey(), m.Value.GetDefaultValue()
	switch m.GetOp() {
	case accesslogv3.ComparisonFilter_EQ:
		return func(e event) bool { return of(e) == e.uint(key, def) }
	case accesslogv3.ComparisonFilter_GE:
		return func(e event) bool { return of(e) >= e.uint(key, def) }
	case accesslogv3.ComparisonFilter_LE:
		return func(e event) bool { return of(e) <= e.uint(key, def) }
	case accesslogv3.ComparisonFilter_NE:
		return func(e event) bool { return of(e) != e.uint(key, def) }
	}
	s.Field("op").Errorf("unknown operation %d", m.GetOp())
	return always
}

// sampled keeps a share of the entries. By the id of the request, so that all who log it
// decide the same, if it has one; else, and if the configuration wants that, by chance.
func sampled(s *extension.Scope, m *accesslogv3.RuntimeFilter) predicate {
	runtimeFields.Check(s, m)
	key, p := m.GetRuntimeKey(), m.GetPercentSampled()
	if key == "" {
		s.Field("runtime_key").Errorf("is required")
	}
	share, one := p.GetNumerator(), httpmatch.Denominator(p)
	independent := m.GetUseIndependentRandomness()
	return func(e event) bool {
		n, ok := uint64(0), false
		if !independent {
			n, ok = ofRequestID(e.info.HTTP())
		}
		if !ok {
			n = rand.Uint64()
		}
		return n%one < e.uint(key, share)
	}
}

// ofRequestID is the number that the first 8 digits of a request id make; false: there is
// no such id.
func ofRequestID(h *filter.HTTPInfo) (uint64, bool) {
	if h == nil || len(h.StreamID) < 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(h.StreamID[:8], 16, 64)
	return n, err == nil
}

func list(s *extension.Scope, filters []*accesslogv3.AccessLogFilter) []predicate {
	if len(filters) < 2 {
		s.Errorf("at least two filters are required")
	}
	var out []predicate
	for i, f := range filters {
		out = append(out, compileFilter(s.Index(i), f))
	}
	return out
}

func all(list []predicate) predicate {
	return func(e event) bool {
		for _, p := range list {
			if !p(e) {
				return false
			}
		}
		return true
	}
}

func anyOf(list []predicate) predicate {
	return func(e event) bool {
		for _, p := range list {
			if p(e) {
				return true
			}
		}
		return false
	}
}

// flags keeps entries with one of the flags; with any flag when none is listed.
func flags(s *extension.Scope, m *accesslogv3.ResponseFlagFilter) predicate {
	flagFields.Check(s, m)
	var want filter.Flags
	for i, name := range m.GetFlags() {
		f, ok := filter.ParseFlag(name)
		if !ok {
			s.Field("flags").Index(i).Errorf("unknown response flag %q", name)
		}
		want |= f
	}
	if want == 0 {
		return func(e event) bool { return e.info.Flags != 0 }
	}
	return func(e event) bool { return e.info.Flags&want != 0 }
}

// grpc judges by the gRPC status of any response. What has none counts as UNKNOWN, and a
// status beyond those of gRPC as none of the list (Envoy).
func grpc(s *extension.Scope, m *accesslogv3.GrpcStatusFilter) predicate {
	grpcFields.Check(s, m)
	var listed [17]bool
	for _, st := range m.GetStatuses() {
		if n := int(st); n >= 0 && n < len(listed) {
			listed[n] = true
		}
	}
	exclude := m.GetExclude()
	return func(e event) bool {
		n := int(accesslogv3.GrpcStatusFilter_UNKNOWN)
		if h := e.info.HTTP(); h != nil {
			if st, ok := state.GRPCStatus(h); ok {
				n = st
			}
		}
		return (n >= 0 && n < len(listed) && listed[n]) != exclude
	}
}

func logTypes(s *extension.Scope, m *accesslogv3.LogTypeFilter) predicate {
	logTypeFields.Check(s, m)
	var names []string
	for _, t := range m.GetTypes() {
		names = append(names, t.String())
	}
	exclude := m.GetExclude()
	return func(e event) bool { return slices.Contains(names, e.t.String()) != exclude }
}

func extended(s *extension.Scope, m *accesslogv3.ExtensionFilter) predicate {
	extendFields.Check(s, m)
	at := s.Field("typed_config")
	if m.GetTypedConfig() == nil {
		at.Errorf("is required: the filter %q is found by the type of its configuration", m.GetName())
		return always
	}
	f, ok := extension.Compile(at, extension.AccessLogFilter, m.GetTypedConfig())
	if !ok || f == nil {
		return always
	}
	return func(e event) bool { return f(e.info, e.t) }
}
