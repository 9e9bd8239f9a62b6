package match

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A candidate is a chain as long as no criterion has ruled it out.
type candidate struct {
	chain int
	m     *plan.ChainMatch
}

// commit keeps the candidates that list the best of all values that are listed: the first
// in order of preference that any of them has.
func commit[T comparable](from []candidate, of func(*plan.ChainMatch) []T, preference []T) []candidate {
	for _, v := range preference {
		var kept []candidate
		for _, c := range from {
			if slices.Contains(of(c.m), v) {
				kept = append(kept, c)
			}
		}
		if len(kept) > 0 {
			return kept
		}
	}
	return nil
}

// longest returns the ranges that hold an address, the longest first.
func longest(from []candidate, of func(*plan.ChainMatch) []netip.Prefix, ip netip.Addr) (out []netip.Prefix) {
	for _, c := range from {
		for _, p := range of(c.m) {
			if p.Contains(ip) {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() })
	return out
}

// naive is the reference's description of the algorithm, word by word.
func naive(list []plan.ChainMatch, in Input) int {
	var left []candidate
	for i := range list {
		left = append(left, candidate{i, &list[i]})
	}
	dst, src, direct := address(in.Local), address(in.Remote), address(in.DirectRemote)
	ranges := func(of func(*plan.ChainMatch) []netip.Prefix, ip netip.Addr) {
		left = commit(left, of, longest(left, of, ip))
	}
	left = commit(left, func(m *plan.ChainMatch) []uint16 { return []uint16{m.DestinationPort} }, []uint16{dst.port, 0})
	ranges(func(m *plan.ChainMatch) []netip.Prefix { return prefixes(m.Destinations) }, dst.ip)
	names := []string{in.ServerName}
	for i := 1; i < len(in.ServerName)-1; i++ {
		if in.ServerName[i] == '.' {
			names = append(names, in.ServerName[i:])
		}
	}
	left = commit(left, func(m *plan.ChainMatch) []string { return orNone(m.ServerNames) }, append(names, ""))
	transport := in.TransportProtocol
	if transport == "" {
		transport = "raw_buffer"
	}
	left = commit(left, func(m *plan.ChainMatch) []string { return []string{m.TransportProtocol} }, []string{transport, ""})
	left = commit(left, func(m *plan.ChainMatch) []string { return orNone(m.ApplicationProtocols) }, append(slices.Clone(in.ApplicationProtocols), ""))
	ranges(func(m *plan.ChainMatch) []netip.Prefix { return prefixes(m.DirectSources) }, direct.ip)
	kind := listenerv3.FilterChainMatch_EXTERNAL
	if Local(in.Local, in.Remote) {
		kind = listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK
	}
	left = commit(left, func(m *plan.ChainMatch) []listenerv3.FilterChainMatch_ConnectionSourceType {
		return []listenerv3.FilterChainMatch_ConnectionSourceType{m.SourceType}
	}, []listenerv3.FilterChainMatch_ConnectionSourceType{kind, listenerv3.FilterChainMatch_ANY})
	ranges(func(m *plan.ChainMatch) []netip.Prefix { return prefixes(m.Sources) }, src.ip)
	left = commit(left, func(m *plan.ChainMatch) []uint16 { return orZero(m.SourcePorts) }, []uint16{src.port, 0})
	if len(left) == 0 {
		return -1
	}
	return left[0].chain
}

// some returns up to n values of all; often none.
func some[T any](r *rand.Rand, all []T, n int) (out []T) {
	if r.IntN(2) == 0 {
		return nil
	}
	for range 1 + r.IntN(n) {
		out = append(out, all[r.IntN(len(all))])
	}
	return out
}

func TestFindIsNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 2))
	ranges := nets("0.0.0.0/0", "::/0", "127.0.0.0/8", "127.0.0.0/31", "127.0.0.1/32", "127.0.0.2/32", "10.0.0.0/8", "::1/128", "255.255.255.255/32")
	names := []string{"a.b.c", ".b.c", ".c", "b.c", "x", "."}
	protocols := []string{"h2", "http/1.1", "x"}
	addrs := []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.2:1", "10.0.0.1:2", "[::1]:1", "[::ffff:127.0.0.1]:1", "[2001:db8::1]:2"}
	at := func() filter.IPAddr {
		return filter.IPAddr{AddrPort: netip.MustParseAddrPort(addrs[r.IntN(len(addrs))])}
	}
	found := make(map[bool]int)
	for range 3000 {
		list := make([]plan.ChainMatch, 1+r.IntN(12))
		for i := range list {
			list[i] = plan.ChainMatch{
				DestinationPort: uint16(r.IntN(3)), Destinations: some(r, ranges, 3), ServerNames: some(r, names, 2),
				ApplicationProtocols: some(r, protocols, 2), DirectSources: some(r, ranges, 2),
				SourceType: listenerv3.FilterChainMatch_ConnectionSourceType(r.IntN(3)),
				Sources:    some(r, ranges, 2), SourcePorts: some(r, []uint16{1, 2}, 2),
			}
			if p := some(r, []string{"tls", "raw_buffer"}, 1); p != nil {
				list[i].TransportProtocol = p[0]
			}
		}
		c := New(list)
		for range 10 {
			in := Input{Local: at(), Remote: at(), ApplicationProtocols: some(r, protocols, 3)}
			in.DirectRemote = in.Remote
			if r.IntN(4) == 0 {
				in.DirectRemote = at()
			}
			if r.IntN(8) == 0 {
				in.Local, in.Remote, in.DirectRemote = internal, filter.InternalClient, filter.InternalClient
			}
			if n := some(r, []string{"a.b.c", "z.b.c", "b.c", "x", "x.", ".b.c", "c"}, 1); n != nil {
				in.ServerName, in.TransportProtocol = n[0], "tls"
			}
			got, want := c.Find(in), naive(list, in)
			if got != want {
				t.Fatalf("%s\n%+v\nchain %d, want %d", describe(list), in, got, want)
			}
			found[got >= 0]++
		}
	}
	if found[true] < 1000 || found[false] < 1000 {
		t.Errorf("found and not: %v: too one-sided to show anything", found)
	}
}

func describe(list []plan.ChainMatch) string {
	var b strings.Builder
	for i, m := range list {
		fmt.Fprintf(&b, "%d: %+v\n", i, m)
	}
	return b.String()
}
