package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// withoutMatch is for the filter_chain_match of c, whose place is s, where a
// filter_chain_matcher decides.
func withoutMatch(s *extension.Scope, c *listenerv3.FilterChain) {
	if m := c.GetFilterChainMatch(); m != nil && !addressSuffix(s, c) {
		s.Warnf("is without effect: filter_chain_matcher decides")
	}
}

// addressSuffix refuses what even a match that is without effect must not have (Envoy).
func addressSuffix(s *extension.Scope, c *listenerv3.FilterChain) bool {
	m := c.GetFilterChainMatch()
	if m.GetAddressSuffix() == "" && m.GetSuffixLen() == nil {
		return false
	}
	s.Errorf("filter chain '%s' contains unimplemented fields: neither Envoy nor ginnel matches suffixes of addresses", c.GetName())
	return true
}

// chainMatch compiles the filter_chain_match of c, whose place is s.
func chainMatch(s *extension.Scope, c *listenerv3.FilterChain) plan.ChainMatch {
	m := c.GetFilterChainMatch()
	if !addressSuffix(s, c) && m != nil {
		matchFields.Check(s, m)
	}
	p := plan.ChainMatch{
		DestinationPort:      uint16(m.GetDestinationPort().GetValue()),
		Destinations:         prefixes(s.Field("prefix_ranges"), m.GetPrefixRanges()),
		ServerNames:          serverNames(s.Field("server_names"), m.GetServerNames()),
		TransportProtocol:    m.GetTransportProtocol(),
		ApplicationProtocols: m.GetApplicationProtocols(),
		DirectSources:        prefixes(s.Field("direct_source_prefix_ranges"), m.GetDirectSourcePrefixRanges()),
		SourceType:           m.GetSourceType(),
		Sources:              prefixes(s.Field("source_prefix_ranges"), m.GetSourcePrefixRanges()),
	}
	for _, port := range m.GetSourcePorts() {
		p.SourcePorts = append(p.SourcePorts, uint16(port))
	}
	return p
}

// prefixes compiles address ranges without their host bits. A length beyond the
// address is its whole length (Envoy).
func prefixes(s *extension.Scope, list []*corev3.CidrRange) []netip.Prefix {
	var out []netip.Prefix
	for i, r := range list {
		if ip, ok := parseIP(s.Index(i).Field("address_prefix"), r.GetAddressPrefix()); ok {
			bits := min(int(r.GetPrefixLen().GetValue()), ip.BitLen())
			out = append(out, netip.PrefixFrom(ip.WithZone(""), bits).Masked())
		}
	}
	return out
}

func serverNames(s *extension.Scope, list []string) []string {
	var out []string
	for i, name := range list {
		if strings.Contains(name, "*") && !strings.HasPrefix(name, "*.") {
			s.Index(i).Errorf("partial wildcards are not supported in \"server_names\": %q; a name may begin with \"*.\"", name)
		}
		out = append(out, strings.ToLower(name))
	}
	return out
}

// distinct reports chains that ask for the same connections; s is the place of the
// list of chains.
func distinct(s *extension.Scope, list []*listenerv3.FilterChain, p *plan.Listener) {
	type group struct {
		port      uint16
		transport string
		source    listenerv3.FilterChainMatch_ConnectionSourceType
	}
	groups := make(map[group][]int)
	for i, c := range p.Chains {
		at := s.Index(i)
		if partial(list[i].GetFilterChainMatch(), &c.Match) {
			continue
		}
		if list[i].GetFilterChainMatch() != nil {
			at = at.Field("filter_chain_match")
		}
		if repeats(&c.Match) {
			at.Errorf("error adding listener '%s': multiple filter chains with overlapping matching rules are defined: %s lists a value twice", where(p), chainName(s, p, i))
		}
		g := group{c.Match.DestinationPort, c.Match.TransportProtocol, c.Match.SourceType}
		for _, j := range groups[g] {
			if compare(at, s, list, p, j, i) {
				break
			}
		}
		groups[g] = append(groups[g], i)
	}
}

// partial reports whether some range could not be read, so that a match seems wider
// than it is.
func partial(m *listenerv3.FilterChainMatch, p *plan.ChainMatch) bool {
	return len(m.GetPrefixRanges()) != len(p.Destinations) || len(m.GetSourcePrefixRanges()) != len(p.Sources) ||
		len(m.GetDirectSourcePrefixRanges()) != len(p.DirectSources)
}

// compare reports at a place what chain b has in common with chain a, if anything.
func compare(at, s *extension.Scope, list []*listenerv3.FilterChain, p *plan.Listener, a, b int) bool {
	x, y := &p.Chains[a].Match, &p.Chains[b].Match
	switch {
	case !overlap(x, y, everything):
		return false
	case hash(orEmpty(list[a])) == hash(orEmpty(list[b])):
		at.Errorf("error adding listener '%s': filter chain '%s' has the same matching rules defined as '%s'. duplicate matcher is: %s",
			where(p), list[b].GetName(), list[a].GetName(), compactJSON(orEmpty(list[b])))
	case overlap(x, y, nil):
		at.Errorf("error adding listener '%s': multiple filter chains with overlapping matching rules are defined: %s and %s",
			where(p), chainName(s, p, a), chainName(s, p, b))
	default:
		at.Warnf("%s and %s ask for the same connections, for a range of all addresses is the same as none; the first one gets them (Envoy 1.40: either, by chance)",
			chainName(s, p, a), chainName(s, p, b))
	}
	return true
}

func orEmpty(c *listenerv3.FilterChain) *listenerv3.FilterChainMatch {
	if m := c.GetFilterChainMatch(); m != nil {
		return m
	}
	return &listenerv3.FilterChainMatch{}
}

func chainName(s *extension.Scope, p *plan.Listener, i int) string {
	if name := p.Chains[i].Info.Name; name != "" {
		return fmt.Sprintf("%q", name)
	}
	return s.Index(i).Path()
}

// everything is what no range of addresses means.
var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// overlap reports whether some value of every list is in both matches; all is what an
// empty list of ranges stands for.
func overlap(a, b *plan.ChainMatch, all []netip.Prefix) bool {
	return meet(a.Destinations, b.Destinations, all) && meet(a.ServerNames, b.ServerNames, []string{""}) &&
		meet(a.ApplicationProtocols, b.ApplicationProtocols, []string{""}) &&
		meet(a.DirectSources, b.DirectSources, all) && meet(a.Sources, b.Sources, all) &&
		meet(a.SourcePorts, b.SourcePorts, nil)
}

// meet reports whether two lists share a value, an empty one standing for none.
func meet[T comparable](a, b, none []T) bool {
	if len(a) == 0 && len(b) == 0 {
		return true
	}
	if len(a) == 0 {
		a = none
	}
	if len(b) == 0 {
		b = none
	}
	return slices.ContainsFunc(a, func(v T) bool { return slices.Contains(b, v) })
}

// repeats reports whether a list has a value twice.
func repeats(m *plan.ChainMatch) bool {
	return twice(m.Destinations) || twice(m.ServerNames) || twice(m.ApplicationProtocols) ||
		twice(m.DirectSources) || twice(m.Sources) || twice(m.SourcePorts)
}

func twice[T comparable](list []T) bool {
	seen := make(map[T]bool, len(list))
	for _, v := range list {
		if seen[v] {
			return true
		}
		seen[v] = true
	}
	return false
}
