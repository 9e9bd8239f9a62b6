package hcm

import (
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// An httpFilter is a compiled entry of http_filters. Exactly one of the factories is set.
type httpFilter struct {
	name     string
	filter   filter.HTTPFilterFactory
	terminal filter.HTTPTerminalFactory
	disabled bool // unless a route says otherwise
}

// compileFilters compiles a list of HTTP filters; s is its place. A list whose last
// filter ends no request gets a router, which Envoy would refuse: a chain without one
// answers nothing.
func compileFilters(s *extension.Scope, list []*hcmv3.HttpFilter) []httpFilter {
	var out []httpFilter
	for i, m := range list {
		if f, ok := compileFilter(s.Index(i), m, i == len(list)-1); ok {
			out = append(out, f)
		}
	}
	if n := len(out); n > 0 && out[n-1].terminal != nil || s.Failed() {
		return out
	}
	a, err := anypb.New(&routerv3.Router{})
	if err != nil {
		s.Errorf("%v", err)
		return out
	}
	if t, ok := extension.Compile(s, extension.HTTPTerminal, a); ok {
		s.Warnf("no envoy.filters.http.router at its end: one is added, for without it no request would be answered")
		out = append(out, httpFilter{name: "envoy.filters.http.router", terminal: t})
	}
	return out
}

func compileFilter(s *extension.Scope, m *hcmv3.HttpFilter, last bool) (f httpFilter, ok bool) {
	filterFields.Check(s, m)
	f = httpFilter{name: m.GetName(), disabled: m.GetDisabled()}
	if f.name == "" {
		s.Field("name").Errorf("is required")
	}
	a, at := m.GetTypedConfig(), s.Field("typed_config")
	if a == nil {
		if m.GetConfigDiscovery() == nil && !m.GetIsOptional() {
			at.Errorf("is required: the filter %q is found by the type of its configuration", f.name)
		}
		return f, false
	}
	switch {
	case extension.Has(at, extension.HTTPTerminal, a):
		if !last {
			s.Errorf("terminal filter named %s must be the last filter in a http filter chain", f.name)
		}
		if f.disabled {
			s.Field("disabled").Errorf("the terminal filter %s cannot be disabled", f.name)
		}
		f.terminal, ok = extension.Compile(at, extension.HTTPTerminal, a)
		return f, ok && f.terminal != nil
	case m.GetIsOptional() && !extension.Has(at, extension.HTTPFilter, a):
		at.Warnf("the filter %q is left out, for it is not known and is_optional", f.name)
		return f, false
	}
	f.filter, ok = extension.Compile(at, extension.HTTPFilter, a)
	return f, ok && f.filter != nil
}
