package redirect

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// TestOutbound: connections that REDIRECT has caught go to the listener with the very
// address, bound or not, else to that of the port, else they stay; IPv6 too. What a
// listener filter has put into the filter state goes with them, where Envoy loses it.
func TestOutbound(t *testing.T) {
	if !alone(t) {
		return
	}
	network(t, `
ip link set lo up
ip route add local 10.1.0.0/16 dev lo
ip -6 route add local fd00:1::/64 dev lo
iptables -w -t nat -A OUTPUT -p tcp -d 10.1.0.0/16 -j REDIRECT --to-ports 15001
ip6tables -w -t nat -A OUTPUT -p tcp -d fd00:1::/64 -j REDIRECT --to-ports 15001`)
	set := listenerFilter("set_filter_state.v3.Config",
		`, on_accept: [{object_key: who, factory_key: envoy.string, format_string: {text_format_source: {inline_string: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}}]`)
	listener := func(name, ip string, port int, more string) string {
		return fmt.Sprintf("  - {name: %s, stat_prefix: %s, %s, LOG, %s, filter_chains: [{filters: [%s]}]}\n", name, name, at(ip, port), more, answers(name))
	}
	const unbound = "bind_to_port: false"
	config := "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}\nstatic_resources:\n  listeners:\n" +
		listener("out4", "0.0.0.0", 15001, "use_original_dst: true, listener_filters: ["+set+"]") +
		listener("out6", "::", 15001, "use_original_dst: true, listener_filters: ["+set+"]") +
		listener("exact4", "10.1.0.1", 80, unbound) + listener("exact6", "fd00:1::1", 80, unbound) +
		listener("any4", "0.0.0.0", 8080, unbound) + listener("any6", "::", 8080, unbound) +
		listener("bound", "10.1.0.9", 90, "enable_reuse_port: true")
	const format = "%DOWNSTREAM_LOCAL_ADDRESS% by %DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %FILTER_STATE(who:PLAIN)%"
	subjects(t, config, format, func(p *proxy) {
		for _, c := range []struct{ to, answer, by, who string }{
			{"10.1.0.1:80", "exact4", "127.0.0.1:15001", "127.0.0.1"},
			{"10.1.0.2:8080", "any4", "127.0.0.1:15001", ""},
			{"10.1.0.1:8080", "any4", "127.0.0.1:15001", ""},
			{"10.1.0.9:90", "bound", "127.0.0.1:15001", ""},
			{"10.1.0.2:80", "out4", "127.0.0.1:15001", ""},
			{"127.0.0.1:15001", "out4", "127.0.0.1:15001", ""},
			{"[fd00:1::1]:80", "exact6", "[::1]:15001", ""},
			{"[fd00:1::2]:8080", "any6", "[::1]:15001", ""},
			{"[fd00:1::2]:80", "out6", "[::1]:15001", ""},
			{"[::1]:15001", "out6", "[::1]:15001", ""},
		} {
			if got := ask("", c.to); got != c.answer {
				p.t.Errorf("%s answers %q, want %q", c.to, got, c.answer)
			}
			who := source(c.to)
			if p.envoy && !strings.HasPrefix(c.answer, "out") {
				who = "-" // lost
			}
			p.want = append(p.want, c.to+" by "+c.by+" "+who)
		}
		// Who hands off has no connection, of its own or before one.
		for name, n := range map[string]int{"out4": 2, "out6": 2, "exact4": 1, "exact6": 1, "any4": 2, "any6": 1, "bound": 1} {
			p.stat("listener."+name+".downstream_cx_total", n)
			p.stat("listener."+name+".downstream_cx_active", 0)
			p.stat("listener."+name+".downstream_pre_cx_active", 0)
		}
	})
}

// source is where a connection to an address comes from, before anything redirects it.
func source(to string) string {
	c, err := net.Dial("udp", to)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP.String()
}

// TestInbound: a sidecar takes what comes from outside to any port of its pod, and chooses
// the chain by the port that it was going to; what it does not know goes on to where it was
// going. IPv6 too.
func TestInbound(t *testing.T) {
	if !alone(t) {
		return
	}
	network(t, `
ip link set lo up
iptables -w -t nat -A PREROUTING -p tcp -i here -j REDIRECT --to-ports 15006
ip6tables -w -t nat -A PREROUTING -p tcp -i here -j REDIRECT --to-ports 15006`)
	chains := fmt.Sprintf("filter_chains: [{filter_chain_match: {destination_port: 8080}, filters: [%s]}, {filters: [%s]}]", answers("app"), proxies("through"))
	in := func(name, ip string) string {
		return fmt.Sprintf("  - {name: %s, stat_prefix: %s, %s, LOG, traffic_direction: INBOUND, listener_filters: [%s], %s}\n",
			name, name, at(ip, 15006), listenerFilter("original_dst.v3.OriginalDst", ""), chains)
	}
	config := "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}\nstatic_resources:\n  listeners:\n" +
		in("in4", "0.0.0.0") + in("in6", "::") +
		"  clusters:\n  - {name: through, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED}\n"
	tellSource(t, ":9090")
	subjects(t, config, "%DOWNSTREAM_LOCAL_ADDRESS% from %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", func(p *proxy) {
		elsewhere(p.t, []string{"10.2.0.1/24", "fd00:2::1/64"}, []string{"10.2.0.2/24", "fd00:2::2/64"}, "", func() {
			for _, c := range []struct{ to, answer, from string }{
				{"10.2.0.1:8080", "app", "10.2.0.2"},
				{"10.2.0.1:9090", "10.2.0.1", "10.2.0.2"},
				{"[fd00:2::1]:8080", "app", "fd00:2::2"},
				{"[fd00:2::1]:9090", "fd00:2::1", "fd00:2::2"},
			} {
				if got := ask("", c.to); got != c.answer {
					p.t.Errorf("%s answers %q, want %q", c.to, got, c.answer)
				}
				p.want = append(p.want, c.to+" from "+c.from)
			}
		})
	})
}

// TestOriginalSource: hosts see the client's address, and the mark lets packets be told
// from others; IPv6 too. Where the address is of another family than the host's the
// connection fails.
func TestOriginalSource(t *testing.T) {
	if !alone(t) {
		return
	}
	network(t, `
ip link set lo up
ip route add local 10.4.0.0/16 dev lo
ip addr add fd00:4::5/64 dev lo nodad
iptables -w -A OUTPUT -p tcp -d 127.0.0.1 --dport 7000 -m mark ! --mark 123 -j REJECT --reject-with tcp-reset
ip6tables -w -A OUTPUT -p tcp -d ::1 --dport 7000 -m mark ! --mark 123 -j REJECT --reject-with tcp-reset`)
	src := listenerFilter("original_src.v3.OriginalSrc", ", mark: 123")
	listener := func(name, ip string, port int, cluster string) string {
		return fmt.Sprintf("  - {name: %s, %s, LOG, listener_filters: [%s], filter_chains: [{filters: [%s]}]}\n", name, at(ip, port), src, proxies(cluster))
	}
	cluster := func(name, ip string) string {
		return fmt.Sprintf("  - {name: %s, load_assignment: {cluster_name: %s, endpoints: [{lb_endpoints: [{endpoint: {%s}}]}]}}\n", name, name, at(ip, 7000))
	}
	config := "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}\nstatic_resources:\n  listeners:\n" +
		listener("four", "127.0.0.1", 8001, "four") + listener("six", "::1", 8001, "six") + listener("mixed", "127.0.0.1", 8002, "six") +
		"  clusters:\n" + cluster("four", "127.0.0.1") + cluster("six", "::1")
	for _, a := range []string{"127.0.0.1:7000", "[::1]:7000"} {
		tellSource(t, a)
	}
	subjects(t, config, "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%", func(p *proxy) {
		for _, c := range []struct{ from, to, want string }{
			{"10.4.0.5", "127.0.0.1:8001", "10.4.0.5"},
			{"fd00:4::5", "[::1]:8001", "fd00:4::5"},
			{"127.0.0.1", "127.0.0.1:8001", "127.0.0.1"},
			{"127.0.0.1", "127.0.0.1:8002", ""},
		} {
			if got := ask(c.from, c.to); got != c.want {
				p.t.Errorf("from %s to %s: the host sees %q, want %q", c.from, c.to, got, c.want)
			}
			p.want = append(p.want, "- -")
		}
		p.want[len(p.want)-1] = "URX failed_to_bind_to_127.0.0.1:0:_Invalid_argument"
		p.stat("cluster.six.bind_errors", 1)
	})
}

// tellSource tells clients what address they come from.
func tellSource(t *testing.T, at string) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, c.RemoteAddr().(*net.TCPAddr).IP.String())
			c.Close()
		}
	}()
}
