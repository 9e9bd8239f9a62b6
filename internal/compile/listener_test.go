package compile_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/compile"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/plan"
)

// bootstrap compiles YAML that has no fault.
func bootstrap(t *testing.T, text string) *plan.Server {
	t.Helper()
	doc, err := config.Load(config.Input{Path: "f.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	p, r := compile.Bootstrap(doc.Message.(*bootstrapv3.Bootstrap), builtin.Registry(), config.Unpack, compile.Options{})
	for _, i := range r.Issues {
		if i.Severity == extension.Error {
			t.Fatalf("%s: %s", i.Path, i.Message)
		}
	}
	return p
}

func listeners(t *testing.T, text string) []*plan.Listener {
	t.Helper()
	return bootstrap(t, "static_resources:\n  listeners:\n"+text).Listeners
}

const echo = `[{name: e, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]`

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var sameAddress = cmpopts.EquateComparable(netip.AddrPort{})

func TestListenerDefaults(t *testing.T) {
	l := listeners(t, `
  - name: l
    address: {socket_address: {address: "::1", port_value: 7}}
    filter_chains: [{filters: `+echo+`}]`)[0]
	if l.Info.BufferBytes != 1<<20 || l.FiltersTimeout != 15*time.Second || l.ContinueOnTimeout || l.Internal || !l.Bind || l.Balance || l.AcceptMost != 0 {
		t.Errorf("%+v", l)
	}
	if diff := cmp.Diff([]plan.Address{{Addr: at("[::1]:7"), ReusePort: true}}, l.Addresses, sameAddress); diff != "" {
		t.Error(diff)
	}
	if len(l.Chains) != 1 || l.Chains[0].Terminal == nil || l.Default != nil {
		t.Errorf("chains %+v", l.Chains)
	}
}

func TestListenerSet(t *testing.T) {
	l := listeners(t, `
  - name: l
    address: {socket_address: {address: "::", port_value: 7, ipv4_compat: true}}
    additional_addresses:
    - address: {pipe: {path: "@abstract"}}
    - address: {pipe: {path: /run/l, mode: 384}}
      tcp_keepalive: {keepalive_probes: 0}
    - address: {socket_address: {address: "::ffff:10.0.0.1", port_value: 0, ipv4_compat: true}}
      tcp_keepalive: {keepalive_interval: 9}
    per_connection_buffer_limit_bytes: 65536
    per_connection_buffer_high_watermark_timeout: 7s
    listener_filters_timeout: 0s
    continue_on_listener_filters_timeout: true
    enable_reuse_port: false
    tcp_backlog_size: 0
    tcp_keepalive: {keepalive_probes: 2, keepalive_time: 3}
    traffic_direction: INBOUND
    stat_prefix: p
    connection_balance_config: {exact_balance: {}}
    max_connections_to_accept_per_socket_event: 3
    default_filter_chain: {name: d, transport_socket_connect_timeout: 2s}`)[0]
	if l.Info.BufferBytes != 65536 || l.Info.HighWatermarkTimeout != 7*time.Second || l.FiltersTimeout != 0 || !l.ContinueOnTimeout || l.StatPrefix != "p" ||
		l.Info.Direction != corev3.TrafficDirection_INBOUND || !l.Balance || l.AcceptMost != 3 {
		t.Errorf("%+v", l)
	}
	main := &plan.Keepalive{Probes: 2, Time: 3 * time.Second}
	if diff := cmp.Diff([]plan.Address{
		{Addr: at("[::]:7"), V4Compat: true, Backlog: 1, Keepalive: main},
		{Path: "@abstract", Backlog: 1, Keepalive: main},
		{Path: "/run/l", Mode: 0o600, Backlog: 1},
		{Addr: at("[::ffff:10.0.0.1]:0"), V4Compat: true, Backlog: 1, Keepalive: &plan.Keepalive{Interval: 9 * time.Second}},
	}, l.Addresses, sameAddress); diff != "" {
		t.Error(diff)
	}
	if l.Default == nil || l.Default.Info.Name != "d" || l.Default.Terminal != nil || l.Default.ConnectTimeout != 2*time.Second {
		t.Errorf("default chain %+v", l.Default)
	}
}

func TestChainMatch(t *testing.T) {
	l := listeners(t, `
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 7}}
    filter_chains:
    - name: c
      filter_chain_match:
        destination_port: 80
        prefix_ranges: [{address_prefix: 10.1.2.3, prefix_len: 8}, {address_prefix: 10.9.9.9, prefix_len: 99}, {address_prefix: "2001:db8::1", prefix_len: 32}]
        direct_source_prefix_ranges: [{address_prefix: 10.2.3.4}]
        source_type: EXTERNAL
        source_prefix_ranges: [{address_prefix: 192.168.1.1, prefix_len: 32}]
        source_ports: [5, 65535]
        server_names: [A.Example, "*.B", "*.*.c"]
        transport_protocol: tls
        application_protocols: [H2]`)[0]
	nets := func(list ...string) (out []netip.Prefix) {
		for _, s := range list {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	want := plan.ChainMatch{
		DestinationPort: 80, Destinations: nets("10.0.0.0/8", "10.9.9.9/32", "2001:db8::/32"),
		DirectSources: nets("0.0.0.0/0"), SourceType: listenerv3.FilterChainMatch_EXTERNAL,
		Sources: nets("192.168.1.1/32"), SourcePorts: []uint16{5, 65535},
		ServerNames: []string{"a.example", ".b", ".*.c"}, TransportProtocol: "tls", ApplicationProtocols: []string{"H2"},
	}
	if diff := cmp.Diff(want, l.Chains[0].Match, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

// Chains that ask for the same connections: what Envoy 1.40.0 refuses, and what is left to
// chance there.
func TestDistinctChains(t *testing.T) {
	const same, overlap, chance = "has the same matching rules defined as 'a'", "multiple filter chains with overlapping matching rules are defined", "ask for the same connections"
	for name, c := range map[string]struct{ a, b, want string }{
		"equal":              {`{destination_port: 1}`, `{destination_port: 1}`, same},
		"none is empty":      {`{}`, ``, same},
		"any is unset":       {`{source_type: ANY}`, `{}`, same},
		"order":              {`{source_ports: [1, 2]}`, `{source_ports: [2, 1]}`, overlap},
		"one of the ports":   {`{source_ports: [1, 2]}`, `{source_ports: [2, 3]}`, overlap},
		"other ports":        {`{source_ports: [1, 2]}`, `{source_ports: [3]}`, ""},
		"one of the ranges":  {`{prefix_ranges: [{address_prefix: 10.0.0.1, prefix_len: 8}]}`, `{prefix_ranges: [{address_prefix: 11.0.0.1}, {address_prefix: 10.9.0.0, prefix_len: 8}]}`, overlap},
		"wider range":        {`{prefix_ranges: [{address_prefix: 10.0.0.1, prefix_len: 8}]}`, `{prefix_ranges: [{address_prefix: 10.0.0.1, prefix_len: 9}]}`, ""},
		"case of names":      {`{server_names: [a.B]}`, `{server_names: [A.b]}`, overlap},
		"suffix":             {`{server_names: ["*.b", x]}`, `{server_names: [.B]}`, overlap},
		"suffix and name":    {`{server_names: ["*.b"]}`, `{server_names: [b]}`, ""},
		"empty name":         {`{server_names: [""]}`, `{}`, overlap},
		"empty protocol":     {`{application_protocols: [""]}`, `{}`, overlap},
		"case of protocols":  {`{application_protocols: [h2]}`, `{application_protocols: [H2]}`, ""},
		"twice":              {`{server_names: [b, b]}`, `{}`, overlap},
		"transport":          {`{transport_protocol: raw_buffer}`, `{}`, ""},
		"all of IPv4":        {`{prefix_ranges: [{address_prefix: 0.0.0.0}]}`, `{}`, chance},
		"all of IPv6":        {`{source_prefix_ranges: [{address_prefix: "::"}]}`, `{}`, chance},
		"all, direct":        {`{direct_source_prefix_ranges: [{address_prefix: "::"}]}`, `{}`, chance},
		"all, but not alike": {`{source_prefix_ranges: [{address_prefix: "::"}], source_ports: [1]}`, `{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := ""
			if c.b != "" {
				b = ", filter_chain_match: " + c.b
			}
			var got []string
			for _, i := range issues(t, `
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 7}}
    filter_chains:
    - {name: a, filter_chain_match: `+c.a+`, filters: `+echo+`}
    - {name: b`+b+`, filters: `+echo+`}`) {
				if strings.Contains(i.Path, "filter_chains") {
					got = append(got, i.Message)
				}
			}
			if len(got) > 1 || (len(got) == 0) != (c.want == "") || len(got) == 1 && !strings.Contains(got[0], c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// What has no name gets the same one each time, and no two the same.
func TestNamesOfTheNameless(t *testing.T) {
	const text = `
  - {address: {socket_address: {address: 127.0.0.1, port_value: 0}}, default_filter_chain: {}}
  - {address: {socket_address: {address: 127.0.0.1, port_value: 0}}, default_filter_chain: {}}
  - {internal_listener: {}, default_filter_chain: {}}
  - {address: {envoy_internal_address: {server_listener_name: old}}, default_filter_chain: {}}`
	var names [2][]string
	for i := range names {
		for _, l := range listeners(t, text) {
			names[i] = append(names[i], l.Info.Name)
		}
	}
	n := names[0]
	if !slices.Equal(n, names[1]) || len(n[0]) != 36 || n[0] == n[1] || n[2] != "" || n[3] != "old" {
		t.Errorf("%q, then %q", n, names[1])
	}
}

func TestHashesTellVersionsApart(t *testing.T) {
	version := func(port int, chain string) *plan.Listener {
		return listeners(t, fmt.Sprintf(`
  - {name: l, address: {socket_address: {address: 127.0.0.1, port_value: %d}}, filter_chains: [{name: %s}]}`, port, chain))[0]
	}
	a, same, other := version(1, "x"), version(1, "x"), version(2, "z")
	if a.Hash != same.Hash || a.Chains[0].Hash != same.Chains[0].Hash {
		t.Error("equal listeners differ")
	}
	if a.Hash == other.Hash || a.Chains[0].Hash == other.Chains[0].Hash {
		t.Error("different listeners are equal")
	}
	if moved := version(2, "x"); a.Hash == moved.Hash || a.Chains[0].Hash != moved.Chains[0].Hash {
		t.Error("a chain's hash depends on its listener")
	}
}

func TestServer(t *testing.T) {
	p := bootstrap(t, `
node: {id: one}
admin: {}
stats_flush_interval: 2s
bootstrap_extensions:
- {name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener, buffer_size_kb: 4}}
- {name: b, typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}
layered_runtime:
  layers:
  - name: base
    static_layer:
      a: {b: {c: 1, d: on it}, e: {numerator: 3}}
      f.g: true
      h: {}
  - {name: top, admin_layer: {}}
`)
	if p.Admin != nil || p.FlushStatsEvery != 2*time.Second || p.InternalBufferBytes != 4096 || p.Node.GetId() != "one" {
		t.Errorf("%+v", p)
	}
	if diff := cmp.Diff(map[string]*structpb.Value{
		"a.b.c": structpb.NewNumberValue(1), "a.b.d": structpb.NewStringValue("on it"), "f.g": structpb.NewBoolValue(true),
		"a.e": structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"numerator": structpb.NewNumberValue(3)}}),
		"h":   structpb.NewStructValue(&structpb.Struct{}),
	}, p.Runtime[0].Values, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if p.Runtime[0].Admin || !p.Runtime[1].Admin {
		t.Error("the second layer is the admin layer")
	}
	if none := bootstrap(t, "node: {id: x}"); none.InternalBufferBytes != 1<<20 || none.FlushStatsEvery != 5*time.Second {
		t.Errorf("defaults %+v", none)
	}
}

// Messages of a Go program may lack what a file cannot.
func TestAdminLogs(t *testing.T) {
	p := bootstrap(t, `
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: 1}}
  access_log_path: /dev/null
  access_log: [{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/null}}]
`)
	if p.Admin == nil || len(p.Admin.AccessLogs) != 2 {
		t.Errorf("%+v", p.Admin)
	}
}

func TestHolesDoNotPanic(t *testing.T) {
	for _, b := range []*bootstrapv3.Bootstrap{
		nil,
		{Admin: &bootstrapv3.Admin{Address: &corev3.Address{}}, BootstrapExtensions: []*corev3.TypedExtensionConfig{nil}},
		{LayeredRuntime: &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{nil}}},
		{StaticResources: &bootstrapv3.Bootstrap_StaticResources{Listeners: []*listenerv3.Listener{nil, {
			Address:             &corev3.Address{Address: &corev3.Address_SocketAddress{}},
			AdditionalAddresses: []*listenerv3.AdditionalAddress{nil},
			FilterChains:        []*listenerv3.FilterChain{nil, {Filters: []*listenerv3.Filter{nil}, TransportSocket: &corev3.TransportSocket{}}},
			ListenerFilters:     []*listenerv3.ListenerFilter{nil},
		}}}},
	} {
		compile.Bootstrap(b, builtin.Registry(), config.Unpack, compile.Options{})
	}
}

// A thousand listeners.
func BenchmarkBootstrap(b *testing.B) {
	var text strings.Builder
	text.WriteString("static_resources:\n  listeners:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - {name: l%d, internal_listener: {}, filter_chains: [{filters: %s}]}\n", i, echo)
	}
	doc, err := config.Load(config.Input{Path: "f.yaml", Data: []byte(text.String())})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		compile.Bootstrap(doc.Message.(*bootstrapv3.Bootstrap), builtin.Registry(), config.Unpack, compile.Options{})
	}
}

// The time of a listener with many chains must not grow with their square.
func BenchmarkChains(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		list := make([]*listenerv3.FilterChain, n)
		for i := range list {
			list[i] = &listenerv3.FilterChain{Name: fmt.Sprint(i), FilterChainMatch: &listenerv3.FilterChainMatch{ServerNames: []string{fmt.Sprintf("*.h%d.example.com", i)}}}
		}
		m := &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{Listeners: []*listenerv3.Listener{{
			Name: "l", ListenerSpecifier: &listenerv3.Listener_InternalListener{}, FilterChains: list}}}}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				compile.Bootstrap(m, builtin.Registry(), config.Unpack, compile.Options{})
			}
		})
	}
}
