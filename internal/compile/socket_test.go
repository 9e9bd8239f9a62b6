package compile_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ginnel/ginnel/internal/plan"
)

func TestSocketFeatures(t *testing.T) {
	l := listeners(t, `
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 7}}
    additional_addresses:
    - {address: {socket_address: {address: "::1", port_value: 7}}, socket_options: {}}
    - address: {socket_address: {address: 127.0.0.1, port_value: 8}}
      socket_options: {socket_options: [{level: 6, name: 1, int_value: 0, ip_version: SOCKET_IP_VERSION_IPV6}]}
    transparent: true
    freebind: true
    enable_mptcp: true
    enable_reuse_port: false
    tcp_fast_open_queue_length: 5
    socket_options:
    - {description: a, level: 1, name: 9, int_value: 1}
    - {level: 1, name: 10, buf_value: AAE=, state: STATE_BOUND, type: {stream: {}}}
    - {level: 1, name: 11, int_value: 4, state: STATE_LISTENING, type: {}, ip_version: SOCKET_IP_VERSION_IPV4}
    - {level: 1, name: 12, buf_value: "", type: {stream: {}, datagram: {}}}
    - {level: 1, name: 13, int_value: 1, type: {datagram: {}}}
    filter_chains: [{filters: `+echo+`}]`)[0]
	all := plan.Address{Addr: at("127.0.0.1:7"), Transparent: true, FreeBind: true, Multipath: true, FastOpen: 5, Options: []plan.SocketOption{
		{Level: 1, Name: 9, Int: 1},
		{Level: 1, Name: 10, Bytes: []byte{0, 1}, When: plan.Bound},
		{Level: 1, Name: 11, Int: 4, When: plan.Listening, Family: plan.IPv4},
		{Level: 1, Name: 12, Bytes: []byte{}},
	}}
	v6, v4 := all, all
	v6.Addr, v6.Options = at("[::1]:7"), nil
	v4.Addr, v4.Options = at("127.0.0.1:8"), []plan.SocketOption{{Level: 6, Name: 1, Family: plan.IPv6}}
	if diff := cmp.Diff([]plan.Address{all, v6, v4}, l.Addresses, sameAddress); diff != "" {
		t.Error(diff)
	}
}

func TestFastOpenOff(t *testing.T) {
	l := listeners(t, `
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 7}}
    tcp_fast_open_queue_length: 0
    filter_chains: [{filters: `+echo+`}]`)[0]
	if got := l.Addresses[0].FastOpen; got != -1 {
		t.Errorf("%d, want -1: off whatever the system's default is", got)
	}
}

func TestBindConfig(t *testing.T) {
	nine := []plan.SocketOption{{Level: 1, Name: 9, Int: 1}}
	source := func(s string, o []plan.SocketOption) plan.BindSource {
		return plan.BindSource{Addr: netip.MustParseAddrPort(s), Options: o}
	}
	const option = "socket_options: [{level: 1, name: 9, int_value: 1}]"
	for fields, want := range map[string]*plan.BindConfig{
		"":                                       nil,
		"upstream_bind_config: {}":               {},
		"upstream_bind_config: {freebind: true}": {FreeBind: true},
		"upstream_bind_config: {" + option + "}": {Options: nine},
		"upstream_bind_config: {socket_options: [{level: 1, name: 9, int_value: 1}, {level: 1, name: 2, state: STATE_BOUND, int_value: 3}]}": {Options: nine},
		`upstream_bind_config: {source_address: {address: "::1", port_value: 7}, freebind: true}`: {
			Sources: []plan.BindSource{source("[::1]:7", nil)}, FreeBind: true,
		},
		`upstream_bind_config: {source_address: {address: "::1", port_value: 0}, additional_source_addresses: [{address: 127.0.0.1, port_value: 8}], ` + option + `}`: {
			Sources: []plan.BindSource{source("[::1]:0", nine), source("127.0.0.1:8", nine)}, Options: nine,
		},
		`upstream_bind_config: {source_address: {address: "::1", port_value: 0}, extra_source_addresses: [{address: {address: 127.0.0.1, port_value: 0}}], ` + option + `}`: {
			Sources: []plan.BindSource{source("[::1]:0", nine), source("127.0.0.1:0", nine)}, Options: nine,
		},
		`upstream_bind_config: {source_address: {address: "::1", port_value: 0}, extra_source_addresses: [{address: {address: 127.0.0.1, port_value: 0}, socket_options: {}}], ` + option + `}`: {
			Sources: []plan.BindSource{source("[::1]:0", nine), source("127.0.0.1:0", []plan.SocketOption{})}, Options: nine,
		},
		`upstream_bind_config: {source_address: {address: "::1", port_value: 0}, local_address_selector: {name: x, typed_config: {"@type": type.googleapis.com/envoy.config.upstream.local_address_selector.v3.DefaultLocalAddressSelector}}}`: {
			Sources: []plan.BindSource{source("[::1]:0", nil)},
		},
	} {
		fields := "connect_timeout: 1s, " + fields
		c := compiled(t, fields)[0]
		if diff := cmp.Diff(want, c.Bind, sameAddress); diff != "" {
			t.Errorf("%s: %s", fields, diff)
		}
	}
}

// What the bootstrap has for all clusters (seen on Envoy 1.40).
func TestBindConfigOfAll(t *testing.T) {
	nine, ten := []plan.SocketOption{{Level: 1, Name: 9, Int: 1}}, []plan.SocketOption{{Level: 1, Name: 10, Int: 1}}
	p := bootstrap(t, `
cluster_manager:
  upstream_bind_config: {source_address: {address: 127.0.0.3, port_value: 0}, freebind: true, socket_options: [{level: 1, name: 9, int_value: 1}]}
static_resources:
  clusters:
  - {name: none}
  - {name: empty, upstream_bind_config: {}}
  - {name: source, upstream_bind_config: {source_address: {address: 127.0.0.2, port_value: 0}}}
  - {name: options, upstream_bind_config: {socket_options: [{level: 1, name: 10, int_value: 1}]}}
  - {name: over, upstream_bind_config: {source_address: {address: 127.0.0.2, port_value: 0}, extra_source_addresses: [{address: {address: "::1", port_value: 0}, socket_options: {}}]}}
`)
	two, three := netip.MustParseAddrPort("127.0.0.2:0"), netip.MustParseAddrPort("127.0.0.3:0")
	for i, want := range []*plan.BindConfig{
		{Sources: []plan.BindSource{{Addr: three, Options: nine}}, FreeBind: true, Options: nine},
		{FreeBind: true, Options: nine},
		{Sources: []plan.BindSource{{Addr: two, Options: nine}}, FreeBind: true, Options: nine},
		{FreeBind: true, Options: ten},
		{Sources: []plan.BindSource{{Addr: two, Options: nine}, {Addr: netip.MustParseAddrPort("[::1]:0"), Options: []plan.SocketOption{}}}, FreeBind: true, Options: nine},
	} {
		if diff := cmp.Diff(want, p.Clusters[i].Bind, sameAddress); diff != "" {
			t.Errorf("%s: %s", p.Clusters[i].Name, diff)
		}
	}
	alone := bootstrap(t, "static_resources:\n  clusters:\n  - {name: none}\n")
	if alone.Clusters[0].Hash == p.Clusters[0].Hash {
		t.Error("a cluster that inherits has the hash of one that does not: a change would be missed")
	}
}

func TestConnectionLimit(t *testing.T) {
	p := bootstrap(t, `
overload_manager:
  resource_monitors:
  - name: envoy.resource_monitors.global_downstream_max_connections
    typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: 7}
static_resources:
  listeners:
  - {name: a, address: {socket_address: {address: 127.0.0.1, port_value: 7}}, filter_chains: [{filters: `+echo+`}]}
  - {name: b, address: {socket_address: {address: 127.0.0.1, port_value: 8}}, filter_chains: [{filters: `+echo+`}], ignore_global_conn_limit: true, bypass_overload_manager: true}
`)
	if p.MaxConnections != 7 {
		t.Errorf("limit %d", p.MaxConnections)
	}
	a, b := p.Listeners[0], p.Listeners[1]
	if a.IgnoreLimit || a.BypassOverload || !b.IgnoreLimit || !b.BypassOverload {
		t.Errorf("%+v %+v", a, b)
	}
}
