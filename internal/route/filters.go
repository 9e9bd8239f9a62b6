package route

import (
	"maps"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/extension"
)

// perFilter is what a level and those above it say to HTTP filters, by their names.
type perFilter struct {
	configs  map[string][]any // the most general first
	disabled map[string]bool  // what the most specific one says
}

// compileFilters compiles typed_per_filter_config over what the levels above say; above
// itself where there is none.
func compileFilters(s *extension.Scope, m map[string]*anypb.Any, above *perFilter) *perFilter {
	if len(m) == 0 {
		return above
	}
	p := &perFilter{configs: make(map[string][]any), disabled: make(map[string]bool)}
	if above != nil {
		maps.Copy(p.configs, above.configs)
		maps.Copy(p.disabled, above.disabled)
	}
	for name, a := range m {
		p.add(s.Key(name), name, a)
	}
	return p
}

func (p *perFilter) add(s *extension.Scope, name string, a *anypb.Any) {
	optional := false
	if a.MessageIs((*routev3.FilterConfig)(nil)) {
		msg, ok := s.Unpack(a)
		if !ok {
			return
		}
		m := msg.(*routev3.FilterConfig)
		filterFields.Check(s, m)
		switch {
		case m.Disabled:
			p.disabled[name] = true
			return
		case m.Config == nil:
			s.Errorf("Empty route/virtual host per filter configuration for %s filter", name)
			return
		case m.Config.TypeUrl == "": // enabled, and nothing else
			p.disabled[name] = false
			return
		}
		a, optional, s = m.Config, m.IsOptional, s.Field("config")
	}
	if optional && !extension.Has(s, extension.HTTPRouteFilter, a) {
		return
	}
	c, ok := extension.Compile(s, extension.HTTPRouteFilter, a)
	if !ok {
		return
	}
	p.disabled[name] = false
	list := p.configs[name]
	p.configs[name] = append(list[:len(list):len(list)], c)
}
