package localratelimit

import (
	"cmp"
	"net/netip"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

const literal = "it is about formats, which Envoy has switched off by default"

var (
	limitFields = extension.Fields{
		Message: &routev3.RateLimit{},
		Obeyed:  []string{"actions", "hits_addend"},
	}
	hitsFields   = extension.Fields{Message: &routev3.RateLimit_HitsAddend{}, Obeyed: []string{"number"}}
	actionFields = extension.Fields{
		Message: &routev3.RateLimit_Action{},
		Obeyed: []string{"source_cluster", "destination_cluster", "request_headers", "query_parameters",
			"remote_address", "generic_key", "header_value_match", "masked_remote_address",
			"query_parameter_value_match"},
	}
	headersFields = extension.Fields{
		Message: &routev3.RateLimit_Action_RequestHeaders{},
		Obeyed:  []string{"header_name", "descriptor_key", "skip_if_absent"},
	}
	parametersFields = extension.Fields{
		Message: &routev3.RateLimit_Action_QueryParameters{},
		Obeyed:  []string{"query_parameter_name", "descriptor_key", "skip_if_absent"},
	}
	genericFields = extension.Fields{
		Message: &routev3.RateLimit_Action_GenericKey{},
		Obeyed:  []string{"descriptor_value", "descriptor_key"},
		Ignored: map[string]string{"default_value": literal},
	}
	headerMatchFields = extension.Fields{
		Message: &routev3.RateLimit_Action_HeaderValueMatch{},
		Obeyed:  []string{"descriptor_value", "descriptor_key", "expect_match", "headers"},
		Ignored: map[string]string{"default_value": literal},
	}
	queryMatchFields = extension.Fields{
		Message: &routev3.RateLimit_Action_QueryParameterValueMatch{},
		Obeyed:  []string{"descriptor_value", "descriptor_key", "expect_match", "query_parameters"},
		Ignored: map[string]string{"default_value": literal},
	}
	maskedFields = extension.Fields{
		Message: &routev3.RateLimit_Action_MaskedRemoteAddress{},
		Obeyed:  []string{"v4_prefix_mask_len", "v6_prefix_mask_len"},
	}
)

// A limit makes a descriptor of a request: the entries of all its actions.
type limit struct {
	actions []action
	hits    float64 // tokens that a request costs
}

// An action gives one entry of a descriptor. Without ok there is no descriptor; skip
// tells that there is one, without this entry.
type action func(s *filter.HTTPStream, env *filter.HTTPEnv) (e entry, ok, skip bool)

// describe appends the entries of a request; false: the limit does not concern it.
func (l *limit) describe(to []entry, s *filter.HTTPStream, env *filter.HTTPEnv) ([]entry, bool) {
	for _, a := range l.actions {
		e, ok, skip := a(s, env)
		switch {
		case ok:
			to = append(to, e)
		case !skip:
			return to, false
		}
	}
	return to, true
}

func compileLimits(s *extension.Scope, list []*routev3.RateLimit) []limit {
	var out []limit
	for i, m := range list {
		s := s.Index(i)
		l := limit{hits: 1}
		switch {
		case m.GetStage() != nil || m.GetDisableKey() != "":
			s.Errorf("'stage' field and 'disable_key' field are not supported")
		case m.GetLimit() != nil:
			s.Field("limit").Errorf("'limit' field is not supported")
		default:
			limitFields.Check(s, m)
		}
		if h := m.GetHitsAddend(); h != nil {
			hitsFields.Check(s.Field("hits_addend"), h)
			if h.Number != nil {
				l.hits = float64(h.Number.Value)
			}
		}
		if len(m.GetActions()) == 0 {
			s.Field("actions").Errorf("value must contain at least 1 item(s)")
		}
		for j, a := range m.GetActions() {
			l.actions = append(l.actions, compileAction(s.Field("actions").Index(j), a))
		}
		out = append(out, l)
	}
	return out
}

func compileAction(s *extension.Scope, m *routev3.RateLimit_Action) action {
	actionFields.Check(s, m)
	switch a := m.GetActionSpecifier().(type) {
	case *routev3.RateLimit_Action_SourceCluster_:
		return func(_ *filter.HTTPStream, env *filter.HTTPEnv) (entry, bool, bool) {
			return entry{"source_cluster", env.Local.Cluster}, true, false
		}
	case *routev3.RateLimit_Action_DestinationCluster_:
		return destination
	case *routev3.RateLimit_Action_RemoteAddress_:
		return remote
	case *routev3.RateLimit_Action_RequestHeaders_:
		return compileRequestHeader(s.Field("request_headers"), a.RequestHeaders)
	case *routev3.RateLimit_Action_QueryParameters_:
		return compileParameter(s.Field("query_parameters"), a.QueryParameters)
	case *routev3.RateLimit_Action_GenericKey_:
		genericFields.Check(s.Field("generic_key"), a.GenericKey)
		e := entry{cmp.Or(a.GenericKey.GetDescriptorKey(), "generic_key"), a.GenericKey.GetDescriptorValue()}
		return func(*filter.HTTPStream, *filter.HTTPEnv) (entry, bool, bool) { return e, true, false }
	case *routev3.RateLimit_Action_HeaderValueMatch_:
		return compileHeaderMatch(s.Field("header_value_match"), a.HeaderValueMatch)
	case *routev3.RateLimit_Action_QueryParameterValueMatch_:
		return compileQueryMatch(s.Field("query_parameter_value_match"), a.QueryParameterValueMatch)
	case *routev3.RateLimit_Action_MaskedRemoteAddress_:
		return compileMasked(s.Field("masked_remote_address"), a.MaskedRemoteAddress)
	case nil:
		s.Errorf("an action is required")
	}
	return func(*filter.HTTPStream, *filter.HTTPEnv) (e entry, ok, skip bool) { return e, false, false }
}

func destination(s *filter.HTTPStream, _ *filter.HTTPEnv) (entry, bool, bool) {
	name, ok := filter.ClusterOf(s.Route(), s.Request)
	return entry{"destination_cluster", name}, ok, false
}

func remote(s *filter.HTTPStream, _ *filter.HTTPEnv) (entry, bool, bool) {
	a, ok := filter.IP(s.Info.Remote)
	return entry{"remote_address", a.Addr().Unmap().String()}, ok, false
}

func compileRequestHeader(s *extension.Scope, m *routev3.RateLimit_Action_RequestHeaders) action {
	headersFields.Check(s, m)
	name, key, skip := strings.ToLower(m.GetHeaderName()), m.GetDescriptorKey(), m.GetSkipIfAbsent()
	if name == "" || key == "" {
		s.Errorf("header_name and descriptor_key are required")
	}
	return func(s *filter.HTTPStream, _ *filter.HTTPEnv) (entry, bool, bool) {
		v, ok := s.Request.Lookup(name)
		return entry{key, v}, ok, skip
	}
}

func compileParameter(s *extension.Scope, m *routev3.RateLimit_Action_QueryParameters) action {
	parametersFields.Check(s, m)
	name, key, skip := m.GetQueryParameterName(), m.GetDescriptorKey(), m.GetSkipIfAbsent()
	if name == "" || key == "" {
		s.Errorf("query_parameter_name and descriptor_key are required")
	}
	return func(s *filter.HTTPStream, _ *filter.HTTPEnv) (entry, bool, bool) {
		v, ok := httpmatch.Parameter(s.Request.Path, name)
		return entry{key, v}, ok, skip
	}
}

func compileHeaderMatch(s *extension.Scope, m *routev3.RateLimit_Action_HeaderValueMatch) action {
	headerMatchFields.Check(s, m)
	e := entry{cmp.Or(m.GetDescriptorKey(), "header_match"), m.GetDescriptorValue()}
	want := m.GetExpectMatch() == nil || m.ExpectMatch.Value
	headers := httpmatch.CompileHeaders(s.Field("headers"), m.GetHeaders())
	return func(s *filter.HTTPStream, _ *filter.HTTPEnv) (entry, bool, bool) {
		return e, headers.Request(s.Request) == want, false
	}
}

func compileQueryMatch(s *extension.Scope, m *routev3.RateLimit_Action_QueryParameterValueMatch) action {
	queryMatchFields.Check(s, m)
	e := entry{cmp.Or(m.GetDescriptorKey(), "query_match"), m.GetDescriptorValue()}
	want := m.GetExpectMatch() == nil || m.ExpectMatch.Value
	var all []httpmatch.Query
	for i, q := range m.GetQueryParameters() {
		all = append(all, httpmatch.CompileQuery(s.Field("query_parameters").Index(i), q))
	}
	return func(s *filter.HTTPStream, _ *filter.HTTPEnv) (entry, bool, bool) {
		match := true
		for i := range all {
			match = match && all[i].Path(s.Request.Path)
		}
		return e, match == want, false
	}
}

func compileMasked(s *extension.Scope, m *routev3.RateLimit_Action_MaskedRemoteAddress) action {
	maskedFields.Check(s, m)
	v4, v6 := 32, 128
	if n := m.GetV4PrefixMaskLen(); n != nil {
		v4 = int(n.Value)
	}
	if n := m.GetV6PrefixMaskLen(); n != nil {
		v6 = int(n.Value)
	}
	if v4 > 32 {
		s.Field("v4_prefix_mask_len").Errorf("value must be less than or equal to 32")
	}
	if v6 > 128 {
		s.Field("v6_prefix_mask_len").Errorf("value must be less than or equal to 128")
	}
	return func(s *filter.HTTPStream, _ *filter.HTTPEnv) (entry, bool, bool) {
		a, ok := filter.IP(s.Info.Remote)
		if !ok {
			return entry{}, false, false
		}
		ip, bits := a.Addr().Unmap().WithZone(""), v6
		if ip.Is4() {
			bits = v4
		}
		p := netip.PrefixFrom(ip, bits).Masked()
		return entry{"masked_remote_address", p.String()}, p.IsValid(), false
	}
}
