package reliability

import (
	"fmt"
	"net"
	"strings"
)

// A changing configuration, of which every kind of thing changes from version to version:
// chains beside ones that stay, whole listeners on sockets and within the process, one of
// several addresses, clusters, their hosts, and what comes and goes of all of these.
type changing struct {
	echo  string   // what the long connections lead to
	hosts []string // that answer requests
}

const (
	anybody = "{prefix_ranges: [{address_prefix: 0.0.0.0, prefix_len: 0}]}"
	tests   = "{source_prefix_ranges: [{address_prefix: 127.0.0.1, prefix_len: 32}]}" // where the clients come from
)

// changingAlways is how many listeners each version has.
const changingAlways = 7

// version is the n-th version.
func (c changing) version(n int) string {
	said := fmt.Sprintf(`{name: said, typed_config: {"@type": %sfilters.network.direct_response.v3.Config, response: {inline_string: "%d"}}}`, extensions, n)
	modified := filterChain("modified", from(2), said)
	var b strings.Builder
	b.WriteString("bootstrap_extensions: [{name: i, typed_config: {\"@type\": " + extensions + "bootstrap.internal_listener.v3.InternalListener}}]\nstatic_resources:\n  listeners:\n")

	listen(&b, "long", "", filterChain("", tests, tcpTo("long", "in")), modified)
	kept := []string{modified, filterChain("", tests, httpTo("kept", "host"))}
	for i := range n % 4 { // come and go
		kept = append(kept, filterChain(fmt.Sprintf("more%d", i), from(3+i), tcpTo("more", "host")))
	}
	byDefault := ""
	if n%2 == 1 {
		byDefault = fmt.Sprintf(" default_filter_chain: {name: others, filters: [%s]},", said)
	}
	listen(&b, "kept", byDefault, kept...)
	listen(&b, "moved", fmt.Sprintf(" stat_prefix: moved%d,", n%3), filterChain("", anybody, httpTo("moved", "changed")))
	more := ""
	if n%2 == 1 {
		more = " additional_addresses: [{address: {socket_address: {address: 127.0.0.1, port_value: 0}}}],"
	}
	listen(&b, "wider", more, filterChain("", anybody, httpTo("wider", "hosts")))
	passing := fmt.Sprintf("passing%d", n%2)
	listen(&b, passing, "", filterChain("", anybody, tcpTo("passing", passing)))
	fmt.Fprintf(&b, "  - {name: in, internal_listener: {}, filter_chains: [{filters: [%s]}]}\n", tcpTo("in", "echo"))
	fmt.Fprintf(&b, "  - {name: inner, internal_listener: {}, stat_prefix: inner%d, filter_chains: [{filters: [%s]}]}\n", n%2, tcpTo(fmt.Sprintf("inner%d", n%5), "hosts"))

	b.WriteString("  clusters:\n")
	cluster(&b, "echo", "", socketAt(c.echo))
	cluster(&b, "host", "", socketAt(c.hosts[0]))
	cluster(&b, "in", "", "{envoy_internal_address: {server_listener_name: in}}")
	cluster(&b, "changed", fmt.Sprintf("connect_timeout: %ds,", 5+n%7), "{envoy_internal_address: {server_listener_name: inner}}")
	var hosts []string
	for i := range 1 + n%len(c.hosts) {
		hosts = append(hosts, socketAt(c.hosts[(n+i)%len(c.hosts)]))
	}
	cluster(&b, "hosts", "", hosts...)
	cluster(&b, passing, "", socketAt(c.echo))
	return b.String()
}

func listen(b *strings.Builder, name, more string, chains ...string) {
	fmt.Fprintf(b, "  - {name: %s, address: {socket_address: {address: 127.0.0.1, port_value: 0}},%s filter_chains: [%s]}\n", name, more, strings.Join(chains, ", "))
}

func filterChain(name, match, filter string) string {
	return fmt.Sprintf("{name: '%s', filter_chain_match: %s, filters: [%s]}", name, match, filter)
}

// from is a match of connections from 127.0.0.i.
func from(i int) string {
	return fmt.Sprintf("{source_prefix_ranges: [{address_prefix: 127.0.0.%d, prefix_len: 32}]}", i)
}

func tcpTo(prefix, cluster string) string {
	return fmt.Sprintf(`{name: tcp, typed_config: {"@type": %sfilters.network.tcp_proxy.v3.TcpProxy, stat_prefix: %s, cluster: %s}}`, extensions, prefix, cluster)
}

func httpTo(prefix, cluster string) string {
	return fmt.Sprintf(`{name: hcm, typed_config: {"@type": %sfilters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: %s,
      route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: %s}}]}]},
      http_filters: [{name: router, typed_config: {"@type": %sfilters.http.router.v3.Router}}]}}`, extensions, prefix, cluster, extensions)
}

func cluster(b *strings.Builder, name, more string, addresses ...string) {
	var hosts []string
	for _, a := range addresses {
		hosts = append(hosts, fmt.Sprintf("{endpoint: {address: %s}}", a))
	}
	fmt.Fprintf(b, "  - {name: %s, type: STATIC, %s load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [%s]}]}}\n", name, more, strings.Join(hosts, ", "))
}

func socketAt(addr string) string {
	h, p, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("{socket_address: {address: %s, port_value: %s}}", h, p)
}
