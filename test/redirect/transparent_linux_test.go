package redirect

import (
	"fmt"
	"testing"
)

// TestTransparent: connections that TPROXY has caught keep the address that they were going
// to; it is known without connection tracking. They are handed off as redirected ones are.
func TestTransparent(t *testing.T) {
	if !alone(t) {
		return
	}
	network(t, `
ip link set lo up
ip rule add fwmark 1 lookup 100
ip route add local 0.0.0.0/0 dev lo table 100
ip -6 rule add fwmark 1 lookup 100
ip -6 route add local ::/0 dev lo table 100
iptables -w -t mangle -A PREROUTING -p tcp -i here -j TPROXY --on-port 15001 --tproxy-mark 1
ip6tables -w -t mangle -A PREROUTING -p tcp -i here -j TPROXY --on-port 15001 --tproxy-mark 1`)
	listener := func(name, ip string, port int, more string) string {
		return fmt.Sprintf("  - {name: %s, %s, LOG, %s, filter_chains: [{filters: [%s]}]}\n", name, at(ip, port), more, answers(name))
	}
	const caught = "transparent: true, use_original_dst: true"
	config := "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}\nstatic_resources:\n  listeners:\n" +
		listener("out4", "0.0.0.0", 15001, caught) + listener("out6", "::", 15001, caught) +
		listener("exact4", "10.3.0.1", 80, "bind_to_port: false") + listener("exact6", "fd00:3::1", 80, "bind_to_port: false")
	subjects(t, config, "%DOWNSTREAM_LOCAL_ADDRESS%", func(p *proxy) {
		elsewhere(p.t, []string{"10.2.0.1/24", "fd00:2::1/64"}, []string{"10.2.0.2/24", "fd00:2::2/64"}, `
ip route add default via 10.2.0.1
ip -6 route add default via fd00:2::1`, func() {
			for _, c := range []struct{ to, answer string }{
				{"10.3.0.1:80", "exact4"}, {"10.3.0.2:80", "out4"},
				{"[fd00:3::1]:80", "exact6"}, {"[fd00:3::2]:80", "out6"},
			} {
				if got := ask("", c.to); got != c.answer {
					p.t.Errorf("%s answers %q, want %q", c.to, got, c.answer)
				}
				p.want = append(p.want, c.to)
			}
		})
	})
}
