package compile

import (
	"fmt"
	"net/netip"
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
		// ".x" says the same as "*.x" (Envoy).
		out = append(out, strings.ToLower(strings.TrimPrefix(name, "*")))
	}
	return out
}

// distinct reports chains that ask for the same connections; s is the place of the
// list of chains.
func distinct(s *extension.Scope, list []*listenerv3.FilterChain, p *plan.Listener) {
	same := make(map[uint64]int) // by the message
	exact, alike := make(map[path]int), make(map[path]int)
	for i, c := range p.Chains {
		m := orEmpty(list[i])
		if partial(m, &c.Match) {
			continue
		}
		at, h := s.Index(i), hash(m)
		if list[i].GetFilterChainMatch() != nil {
			at = at.Field("filter_chain_match")
		}
		if first, dup := same[h]; dup {
			at.Errorf("error adding listener '%s': filter chain '%s' has the same matching rules defined as '%s'. duplicate matcher is: %s",
				where(p), list[i].GetName(), list[first].GetName(), compactJSON(m))
			continue
		}
		same[h] = i
		if first, taken := take(exact, &c.Match, i, nil); taken {
			at.Errorf("error adding listener '%s': multiple filter chains with overlapping matching rules are defined: %s",
				where(p), overlapping(s, p, first, i))
			continue
		}
		if first, taken := take(alike, &c.Match, i, everything); taken {
			at.Warnf("%s and %s ask for the same connections, for a range of all addresses is the same as none; the first one gets them (Envoy 1.40: either, by chance)",
				chainName(s, p, first), chainName(s, p, i))
		}
	}
}

func overlapping(s *extension.Scope, p *plan.Listener, a, b int) string {
	if a == b {
		return chainName(s, p, a) + " lists a value twice"
	}
	return chainName(s, p, a) + " and " + chainName(s, p, b)
}

// A path is one of the combinations of values that a match lists: the way that a connection
// takes to a chain.
type path struct {
	port            uint16
	dst             netip.Prefix
	name, transport string
	alpn            string
	direct          netip.Prefix
	source          listenerv3.FilterChainMatch_ConnectionSourceType
	src             netip.Prefix
	srcPort         uint16
}

// take enters a chain at all of its paths, and returns who had one of them already. all is
// what an empty list of ranges stands for; nil: something that no list has.
func take(paths map[path]int, m *plan.ChainMatch, chain int, all []netip.Prefix) (first int, taken bool) {
	if all == nil {
		all = []netip.Prefix{{}}
	}
	x := path{port: m.DestinationPort, transport: m.TransportProtocol, source: m.SourceType}
	for _, x.dst = range or(m.Destinations, all...) {
		for _, x.name = range or(m.ServerNames, "") {
			for _, x.alpn = range or(m.ApplicationProtocols, "") {
				for _, x.direct = range or(m.DirectSources, all...) {
					for _, x.src = range or(m.Sources, all...) {
						for _, x.srcPort = range or(m.SourcePorts, 0) {
							if had, ok := paths[x]; !ok {
								paths[x] = chain
							} else if !taken {
								first, taken = had, true
							}
						}
					}
				}
			}
		}
	}
	return first, taken
}

// or returns a list, or what stands for an empty one.
func or[T any](list []T, none ...T) []T {
	if len(list) == 0 {
		return none
	}
	return list
}

// partial reports whether some range could not be read, so that a match seems wider
// than it is.
func partial(m *listenerv3.FilterChainMatch, p *plan.ChainMatch) bool {
	return len(m.GetPrefixRanges()) != len(p.Destinations) || len(m.GetSourcePrefixRanges()) != len(p.Sources) ||
		len(m.GetDirectSourcePrefixRanges()) != len(p.DirectSources)
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
