package compile

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/matcher"
	"github.com/ginnel/ginnel/internal/plan"
)

// A connection is what a chain is chosen by.
type connection struct {
	info    *filter.Info
	runtime filter.Runtime
}

// chainMatcher compiles filter_chain_matcher, whose actions are names of chains.
func chainMatcher(s *extension.Scope, m *listenerv3.Listener, p *plan.Listener) {
	named := uniqueNames(s.Field("filter_chains"), m, p)
	at := s.Field("filter_chain_matcher")
	tree := matcher.Compile(at, m.GetFilterChainMatcher(), matcher.Context[connection, string]{
		Inputs:  connectionInputs(),
		Runtime: func(c connection) filter.Runtime { return c.runtime },
		Action: func(s *extension.Scope, m proto.Message) string {
			name, ok := m.(*wrapperspb.StringValue)
			if !ok {
				s.Errorf("%s is a known type, but nothing that names a filter chain: google.protobuf.StringValue does",
					m.ProtoReflect().Descriptor().FullName())
				return ""
			}
			if !named[name.GetValue()] {
				s.Field("value").Warnf("no filter chain is named %q: connections that are led to it are closed", name.GetValue())
			}
			return name.GetValue()
		},
	})
	p.Matcher = func(i *filter.Info, r filter.Runtime) (string, bool) {
		name, out := tree.Match(connection{i, r}, nil)
		return name, out == matcher.Matched
	}
}

// uniqueNames returns the names of the chains, which a matcher needs. s is the place of
// their list; the errors are Envoy's.
func uniqueNames(s *extension.Scope, m *listenerv3.Listener, p *plan.Listener) map[string]bool {
	named := make(map[string]bool)
	for i, c := range m.GetFilterChains() {
		name, at := c.GetName(), s.Index(i).Field("name")
		switch {
		case name == "":
			at.Errorf(`error adding listener '%s': "name" field is required when using a listener matcher`, where(p))
		case named[name]:
			at.Errorf(`error adding listener '%s': "name" field is duplicated with value '%s'`, where(p), name)
		}
		named[name] = true
	}
	return named
}

// connectionInputs are what is known of a connection when its chain is chosen: the TLS
// of the chain, if any, comes after that.
func connectionInputs() *matcher.Inputs[connection] {
	in := new(matcher.Inputs[connection])
	info := func(c connection) *filter.Info { return c.info }
	matcher.AddNetwork(in, info)
	matcher.AddTLS(in, info)
	// Listeners in other network namespaces are refused, so no connection has one.
	matcher.Add(in, func(*extension.Scope, *networkv3.NetworkNamespaceInput) matcher.Input[connection] {
		return func(connection) matcher.Value { return matcher.Value{} }
	})
	in.Strict("Envoy 1.40 has no such input for filter chains", &networkv3.DynamicMetadataInput{})
	return in
}
