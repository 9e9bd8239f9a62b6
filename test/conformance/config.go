package conformance

import (
	"fmt"
	"strings"
)

const (
	extensions = "type.googleapis.com/envoy.extensions."
	http2      = `typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {` +
		`"@type": ` + extensions + `upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}`
)

// A config is built of listeners and clusters.
type config struct{ listeners, clusters strings.Builder }

func (c *config) String() string {
	return "bootstrap_extensions: [{name: internal, typed_config: {\"@type\": " + extensions + "bootstrap.internal_listener.v3.InternalListener}}]\n" +
		"static_resources:\n  listeners:\n" + c.listeners.String() + "  clusters:\n" + c.clusters.String()
}

// socket adds a listener on a free port.
func (c *config) socket(name, filter string) {
	fmt.Fprintf(&c.listeners, "  - {name: %s, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [%s]}]}\n", name, filter)
}

// internal adds an internal listener, and a cluster of the same name that leads to it.
func (c *config) internal(name, filter, options string) {
	fmt.Fprintf(&c.listeners, "  - {name: %s, internal_listener: {}, filter_chains: [{filters: [%s]}]}\n", name, filter)
	c.cluster(name, "envoy_internal_address: {server_listener_name: "+name+"}", options)
}

func (c *config) cluster(name, address, options string) {
	if options != "" {
		options = ", " + options
	}
	fmt.Fprintf(&c.clusters, "  - {name: %s, connect_timeout: 5s, load_assignment: {cluster_name: %s, endpoints: [{lb_endpoints: [{endpoint: {address: {%s}}}]}]}%s}\n",
		name, name, address, options)
}

// manager is a connection manager of HTTP/2 that routes everything to a cluster, for as
// long as it takes.
func manager(cluster string, filters ...string) string {
	return managerOf("HTTP2", cluster, filters...)
}

func managerOf(codec, cluster string, filters ...string) string {
	all := append(filters, `{name: router, typed_config: {"@type": `+extensions+`filters.http.router.v3.Router}}`)
	return fmt.Sprintf(`{name: hcm, typed_config: {"@type": %sfilters.network.http_connection_manager.v3.HttpConnectionManager, codec_type: %s, stat_prefix: %s, `+
		`route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: %s, timeout: 0s}}]}]}, http_filters: [%s]}}`,
		extensions, codec, cluster, cluster, strings.Join(all, ", "))
}

func tcpProxy(cluster string) string {
	return fmt.Sprintf(`{name: tcp, typed_config: {"@type": %sfilters.network.tcp_proxy.v3.TcpProxy, stat_prefix: %s, cluster: %s}}`, extensions, cluster, cluster)
}
