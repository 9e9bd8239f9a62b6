package compile

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

var predicateFields = extension.Fields{
	Message: &listenerv3.ListenerFilterChainMatchPredicate{},
	Obeyed:  []string{"or_match", "and_match", "not_match", "any_match", "destination_port_range"},
}

// A predicate tells for which connections a listener filter is disabled.
type predicate func(*filter.Info) bool

// disabling compiles filter_disabled, s being its place.
func disabling(s *extension.Scope, m *listenerv3.ListenerFilterChainMatchPredicate) predicate {
	predicateFields.Check(s, m)
	switch rule := m.GetRule().(type) {
	case *listenerv3.ListenerFilterChainMatchPredicate_OrMatch:
		all := rules(s.Field("or_match.rules"), rule.OrMatch.GetRules())
		return func(i *filter.Info) bool { return first(all, i, true) }
	case *listenerv3.ListenerFilterChainMatchPredicate_AndMatch:
		all := rules(s.Field("and_match.rules"), rule.AndMatch.GetRules())
		return func(i *filter.Info) bool { return !first(all, i, false) }
	case *listenerv3.ListenerFilterChainMatchPredicate_NotMatch:
		not := disabling(s.Field("not_match"), rule.NotMatch)
		return func(i *filter.Info) bool { return !not(i) }
	case *listenerv3.ListenerFilterChainMatchPredicate_AnyMatch:
		return func(*filter.Info) bool { return true }
	case *listenerv3.ListenerFilterChainMatchPredicate_DestinationPortRange:
		r := rule.DestinationPortRange
		if r.GetStart() >= r.GetEnd() {
			s.Field("destination_port_range").Warnf("no port is in [%d, %d)", r.GetStart(), r.GetEnd())
		}
		return ports(r.GetStart(), r.GetEnd())
	}
	return func(*filter.Info) bool { return false } // the rules of the API do not let it pass
}

func rules(s *extension.Scope, list []*listenerv3.ListenerFilterChainMatchPredicate) (all []predicate) {
	for i, m := range list {
		all = append(all, disabling(s.Index(i), m))
	}
	return all
}

// first reports whether any of the predicates gives want.
func first(all []predicate, i *filter.Info, want bool) bool {
	for _, p := range all {
		if p(i) == want {
			return true
		}
	}
	return false
}

// ports is about the destination as it is when it is the filter's turn: the one that a
// filter before it has restored. What is no IP address is in every range (Envoy).
func ports(start, end int32) predicate {
	return func(i *filter.Info) bool {
		a, ok := i.Local.(filter.IPAddr)
		return !ok || start <= int32(a.Port()) && int32(a.Port()) < end
	}
}

// conditional is a listener filter that passes over some connections.
type conditional struct {
	filter.ListenerFilterFactory
	disabled predicate
}

// NewListenerFilter implements filter.ListenerFilterFactory.
func (c conditional) NewListenerFilter(env *filter.Env) (filter.ListenerFilter, error) {
	f, err := c.ListenerFilterFactory.NewListenerFilter(env)
	return skipping{f, c.disabled}, err
}

type skipping struct {
	filter.ListenerFilter
	disabled predicate
}

// Inspect implements filter.ListenerFilter.
func (f skipping) Inspect(i *filter.Info, p filter.Peeker) error {
	if f.disabled(i) {
		return nil
	}
	return f.ListenerFilter.Inspect(i, p)
}
