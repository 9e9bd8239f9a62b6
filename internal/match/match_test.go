package match

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

func ip(s string) net.Addr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }

func nets(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

var internal net.Addr = filter.InternalAddr{Listener: "in"}

func TestFind(t *testing.T) {
	type in = Input
	from := func(local, remote string) in {
		return in{Local: ip(local), Remote: ip(remote), DirectRemote: ip(remote)}
	}
	inner := in{Local: internal, Remote: filter.InternalClient, DirectRemote: filter.InternalClient}
	sni := func(name string) in { i := from("10.0.0.1:80", "9.9.9.9:1"); i.ServerName = name; return i }
	for _, c := range []struct {
		name   string
		chains []plan.ChainMatch
		in     in
		want   int
	}{
		{"none", nil, from("10.0.0.1:80", "9.9.9.9:1"), -1},
		{"catch-all", []plan.ChainMatch{{}}, from("10.0.0.1:80", "9.9.9.9:1"), 0},
		{"catch-all v6", []plan.ChainMatch{{}}, from("[::1]:80", "[::2]:1"), 0},
		{"exact port", []plan.ChainMatch{{}, {DestinationPort: 80}}, from("10.0.0.1:80", "9.9.9.9:1"), 1},
		// LT-77: the branch of the port is final.
		{"no way back to port-less", []plan.ChainMatch{{}, {DestinationPort: 80, ServerNames: []string{"a"}}}, from("10.0.0.1:80", "9.9.9.9:1"), -1},
		{"longest prefix", []plan.ChainMatch{{Destinations: nets("10.0.0.0/8")}, {Destinations: nets("10.0.0.1/32")}}, from("10.0.0.1:80", "9.9.9.9:1"), 1},
		// LT-78.
		{"no way back to /24", []plan.ChainMatch{{Destinations: nets("10.0.0.0/24")}, {Destinations: nets("10.0.0.1/32"), ServerNames: []string{"a"}}}, from("10.0.0.1:80", "9.9.9.9:1"), -1},
		{"0/0 is the same as none", []plan.ChainMatch{{Destinations: nets("0.0.0.0/0"), SourcePorts: []uint16{1}}, {}}, from("10.0.0.1:80", "9.9.9.9:2"), 1},
		// LT-79.
		{"exact name", []plan.ChainMatch{{ServerNames: []string{".c"}}, {ServerNames: []string{"a.b.c"}}}, sni("a.b.c"), 1},
		{"longest suffix", []plan.ChainMatch{{ServerNames: []string{".c"}}, {ServerNames: []string{".b.c"}}}, sni("a.b.c"), 1},
		{"suffix", []plan.ChainMatch{{ServerNames: []string{".c"}}}, sni("a.b.c"), 0},
		{"bare parent", []plan.ChainMatch{{ServerNames: []string{".b.c"}}}, sni("b.c"), -1},
		{"a dot at the end begins no suffix", []plan.ChainMatch{{ServerNames: []string{"."}}, {}}, sni("a."), 1},
		{"no way back to a suffix", []plan.ChainMatch{{ServerNames: []string{".b.c"}}, {ServerNames: []string{"a.b.c"}, SourcePorts: []uint16{9}}}, sni("a.b.c"), -1},
		{"no name", []plan.ChainMatch{{ServerNames: []string{"a"}}, {}}, sni(""), 1},
		{"transport", []plan.ChainMatch{{TransportProtocol: "tls"}, {TransportProtocol: "raw_buffer"}}, sni(""), 1},
		{"protocol order", []plan.ChainMatch{{ApplicationProtocols: []string{"http/1.1"}}, {ApplicationProtocols: []string{"h2"}}},
			in{Local: ip("1.1.1.1:1"), Remote: ip("2.2.2.2:2"), DirectRemote: ip("2.2.2.2:2"), ApplicationProtocols: []string{"x", "h2", "http/1.1"}}, 1},
		// LT-82.
		{"local", []plan.ChainMatch{{}, {SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}}, from("127.0.0.1:80", "127.0.0.1:1"), 1},
		{"127.0.0.2 is external", []plan.ChainMatch{{SourceType: listenerv3.FilterChainMatch_EXTERNAL}, {SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}}, from("127.0.0.1:80", "127.0.0.2:1"), 0},
		{"own address is local", []plan.ChainMatch{{SourceType: listenerv3.FilterChainMatch_EXTERNAL}, {SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}}, from("10.0.0.1:80", "10.0.0.1:1"), 1},
		{"source port", []plan.ChainMatch{{}, {SourcePorts: []uint16{7}}}, from("10.0.0.1:80", "9.9.9.9:7"), 1},
		{"direct source first", []plan.ChainMatch{{DirectSources: nets("10.0.0.9/32")}, {Sources: nets("1.2.3.4/32")}},
			in{Local: ip("10.0.0.1:80"), Remote: ip("1.2.3.4:5"), DirectRemote: ip("10.0.0.9:6")}, 0},
		// As a PROXY protocol header may write it; sockets do not.
		{"IPv4 written as IPv6 is IPv6", []plan.ChainMatch{{Sources: nets("127.0.0.0/8")}, {Sources: nets("::/0")}, {Sources: nets("::ffff:10.0.0.0/104")}}, from("10.0.0.1:80", "[::ffff:127.0.0.1]:1"), 1},
		{"a range of IPv4 written as IPv6", []plan.ChainMatch{{Sources: nets("10.0.0.0/8")}, {Sources: nets("::/0")}, {Sources: nets("::ffff:10.0.0.0/104")}}, from("10.0.0.1:80", "[::ffff:10.0.0.1]:1"), 2},
		{"::ffff:127.0.0.1 is external", []plan.ChainMatch{{SourceType: listenerv3.FilterChainMatch_EXTERNAL}, {SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}}, from("10.0.0.1:80", "[::ffff:127.0.0.1]:1"), 0},
		// IL-63, IL-64, LT-86.
		{"internal is external", []plan.ChainMatch{{SourceType: listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK}, {SourceType: listenerv3.FilterChainMatch_EXTERNAL}}, inner, 1},
		{"internal has no port", []plan.ChainMatch{{DestinationPort: 80}}, inner, -1},
		{"internal falls under 0/0", []plan.ChainMatch{{Destinations: nets("0.0.0.0/0")}}, inner, 0},
		{"internal has no prefix", []plan.ChainMatch{{Destinations: nets("10.0.0.0/8")}}, inner, -1},
		{"internal restored", []plan.ChainMatch{{DestinationPort: 80}}, in{Local: ip("10.0.0.1:80"), Remote: filter.InternalClient, DirectRemote: filter.InternalClient}, 0},
	} {
		if got := New(c.chains).Find(c.in); got != c.want {
			t.Errorf("%s: chain %d, want %d", c.name, got, c.want)
		}
	}
}

func many(n int) []plan.ChainMatch {
	list := make([]plan.ChainMatch, n)
	for i := range list {
		list[i] = plan.ChainMatch{
			Destinations: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)},
			ServerNames:  []string{fmt.Sprintf(".h%d.example.com", i)},
		}
	}
	return list
}

func TestFindAllocatesNothing(t *testing.T) {
	c, in := New(many(100)), lastOf(100)
	if n := testing.AllocsPerRun(100, func() { c.Find(in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func lastOf(n int) Input {
	return Input{Local: ip(fmt.Sprintf("10.%d.%d.%d:80", (n-1)>>16, (n-1)>>8&255, (n-1)&255)), Remote: ip("9.9.9.9:1"), DirectRemote: ip("9.9.9.9:1"),
		ServerName: fmt.Sprintf("a.h%d.example.com", n-1)}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, in := New(many(n)), lastOf(n)
			if c.Find(in) != n-1 {
				b.Fatal("wrong chain")
			}
			b.ReportAllocs()
			for b.Loop() {
				c.Find(in)
			}
		})
	}
}
