package compile_test

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/load"
	"github.com/ginnel/ginnel/internal/plan"
)

// compiled returns the plans of clusters, each given by its fields beside the name.
func compiled(t *testing.T, fields ...string) []*plan.Cluster {
	t.Helper()
	var b strings.Builder
	b.WriteString("static_resources:\n  clusters:\n")
	for i, f := range fields {
		fmt.Fprintf(&b, "  - {name: c%d, %s}\n", i, f)
	}
	r, err := load.Load(load.Source{Path: "t.yaml", Data: []byte(b.String())}, builtin.Registry())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(false); err != nil {
		t.Fatal(err)
	}
	return r.Plan.Clusters
}

func TestClusterDefaults(t *testing.T) {
	got := compiled(t, "")[0]
	breaker := plan.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3, MaxConnectionPools: math.MaxUint32}
	want := &plan.Cluster{
		Name: "c0", StatName: "c0", Lookup: "STATIC", ConnectTimeout: 5 * time.Second, BufferBytes: 1 << 20,
		Assignment: plan.Assignment{OverprovisionFactor: 140},
		LB: plan.LB{
			PanicPercent: 50, ChoiceCount: 2, ActiveBias: 1, MinRing: 1024, MaxRing: 8 << 20, MaglevSize: 65537,
		},
		Breakers: [2]plan.Breaker{breaker, breaker},
		HTTP:     plan.HTTP{IdleTimeout: time.Hour},
	}
	if !got.Transport.Socket.Transparent() || got.Transport.Name != "" {
		t.Errorf("transport %+v", got.Transport)
	}
	ignore := cmpopts.IgnoreFields(plan.Cluster{}, "Hash", "Proto", "Transport")
	if d := cmp.Diff(want, got, ignore); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestClusterFields(t *testing.T) {
	for fields, check := range map[string]func(*plan.Cluster) any{
		"alt_stat_name: other":                                  func(c *plan.Cluster) any { return c.StatName == "other" },
		"type: STATIC, connect_timeout: 0.25s":                  func(c *plan.Cluster) any { return c.ConnectTimeout == 250*time.Millisecond },
		"per_connection_buffer_limit_bytes: 1":                  func(c *plan.Cluster) any { return c.BufferBytes == 1 },
		"per_connection_buffer_high_watermark_timeout: 1.5s":    func(c *plan.Cluster) any { return c.HighWatermarkTimeout == 1500*time.Millisecond },
		"per_connection_buffer_high_watermark_timeout: 0.0009s": func(c *plan.Cluster) any { return c.HighWatermarkTimeout == 0 },
		"per_connection_buffer_high_watermark_timeout: 1s, per_connection_buffer_limit_bytes: 0": func(c *plan.Cluster) any {
			return c.HighWatermarkTimeout == 0
		},
		"metadata: {filter_metadata: {a: {}}}":             func(c *plan.Cluster) any { return c.Metadata.GetFilterMetadata()["a"] != nil },
		"upstream_connection_options: {tcp_keepalive: {}}": func(c *plan.Cluster) any { return *c.Keepalive == plan.Keepalive{} },
		"upstream_connection_options: {tcp_keepalive: {keepalive_probes: 3, keepalive_time: 4, keepalive_interval: 5}}": func(c *plan.Cluster) any {
			return *c.Keepalive == plan.Keepalive{Probes: 3, Time: 4 * time.Second, Interval: 5 * time.Second}
		},
		"upstream_connection_options: {}": func(c *plan.Cluster) any { return c.Keepalive == nil },
		"preconnect_policy: {predictive_preconnect_ratio: 1.5}": func(c *plan.Cluster) any {
			return c.PredictivePreconnect == 1.5 && c.HTTP.PerHostPreconnect == 0 && c.PreconnectHost == nil
		},
		"preconnect_policy: {preconnect_enabled_metadata: {filter: l, path: [{key: k}], value: {present_match: true}}}": func(c *plan.Cluster) any {
			m := named("l")
			without := c.PreconnectHost(m)
			m.FilterMetadata["l"].Fields = map[string]*structpb.Value{"k": structpb.NewBoolValue(false)}
			return !without && c.PreconnectHost(m) && !c.PreconnectHost(nil)
		},
	} {
		if c := compiled(t, fields)[0]; check(c) != true {
			t.Errorf("%s: %+v", fields, c)
		}
	}
}

func TestBreakers(t *testing.T) {
	got := compiled(t, `circuit_breakers: {
		thresholds: [
		{priority: HIGH, max_connections: 0, max_pending_requests: 2, max_requests: 3, max_retries: 4, max_connection_pools: 5, track_remaining: true},
		{max_connections: 6}, {max_connections: 7}],
		per_host_thresholds: [{max_connections: 8}]}`)[0].Breakers
	want := [2]plan.Breaker{
		{MaxConnections: 6, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3, MaxConnectionPools: math.MaxUint32, PerHostMaxConnections: 8},
		{MaxConnections: 0, MaxPending: 2, MaxRequests: 3, MaxRetries: 4, MaxConnectionPools: 5, TrackRemaining: true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAssignment(t *testing.T) {
	got := compiled(t, `load_assignment: {
		cluster_name: anything,
		policy: {overprovisioning_factor: 200, weighted_priority_health: true},
		endpoints: [
		{priority: 2, load_balancing_weight: 9, locality: {zone: z}, metadata: {filter_metadata: {l: {}}}, lb_endpoints: [
			{endpoint: {hostname: h, address: {socket_address: {address: "::1", port_value: 80}}}, load_balancing_weight: 3, health_status: DRAINING, metadata: {filter_metadata: {e: {}}}},
			{endpoint: {address: {pipe: {path: /run/p}}}},
			{endpoint: {address: {envoy_internal_address: {server_listener_name: "a/b", endpoint_id: "1"}},
				additional_addresses: [{address: {socket_address: {address: 10.0.0.1, port_value: 1}}}, {address: {envoy_internal_address: {server_listener_name: ""}}}]}}]},
		{locality: {zone: z}}]}`)[0].Assignment
	want := plan.Assignment{
		OverprovisionFactor: 200, WeightedHealth: true,
		Localities: []plan.Locality{{
			Priority: 2, Weight: 9, Locality: &corev3.Locality{Zone: "z"}, Metadata: named("l"),
			Endpoints: []plan.Endpoint{
				{Addr: ipAddr("[::1]:80"), Hostname: "h", Weight: 3, Health: corev3.HealthStatus_DRAINING, Metadata: named("e")},
				{Addr: filter.UnixAddr{Path: "/run/p"}, Weight: 1},
				{
					Addr: filter.InternalAddr{Listener: "a/b", Endpoint: "1"}, Weight: 1,
					Additional: []net.Addr{ipAddr("10.0.0.1:1"), filter.InternalAddr{}},
				},
			},
		}, {Locality: &corev3.Locality{Zone: "z"}}},
	}
	if d := cmp.Diff(want, got, protocmp.Transform(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// override is an OverrideHost with sources and a policy behind it.
func override(sources, fallback string) string {
	return "override_host.v3.OverrideHost, override_host_sources: [" + sources + "], fallback_policy: {policies: [{typed_extension_config: " +
		`{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.` + fallback + `}}}]}`
}

func TestOverrideHostRefused(t *testing.T) {
	for text, want := range map[string]string{
		override("{}", "random.v3.Random"):                                                "override_host_sources[0]: Empty override source",
		override("{header: a, metadata: {key: k, path: [{key: p}]}}", "random.v3.Random"): "override_host_sources[0]: Only one override source must be set",
		override("{header: a}", override("{header: a}", "random.v3.Random")):              "fallback_policy.policies[0].typed_extension_config.typed_config: not supported",
		override("{header: a}", "pick_first.v3.PickFirst"):                                "fallback_policy: cluster: didn't find",
	} {
		data := "static_resources: {clusters: [{name: c, load_balancing_policy: {policies: [{typed_extension_config: {name: x, typed_config: {" +
			`"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.` + text + "}}}]}}]}"
		r, err := load.Load(load.Source{Path: "t.yaml", Data: []byte(data)}, builtin.Registry())
		if err == nil {
			err = r.Err(false)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestBalancing(t *testing.T) {
	const typed = "load_balancing_policy: {policies: [{typed_extension_config: {name: x, typed_config: {" +
		`"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.%s}}}]}`
	policy := func(text string) string { return fmt.Sprintf(typed, text) }
	for fields, change := range map[string]func(*plan.LB){
		"lb_policy: RANDOM": func(l *plan.LB) { l.Policy = plan.Random },
		"lb_policy: LEAST_REQUEST, least_request_lb_config: {choice_count: 5, active_request_bias: {default_value: 0}}": func(l *plan.LB) {
			l.Policy, l.ChoiceCount, l.ActiveBias = plan.LeastRequest, 5, 0
		},
		"lb_policy: LEAST_REQUEST, least_request_lb_config: {active_request_bias: {default_value: -2}}": func(l *plan.LB) { l.Policy = plan.LeastRequest },
		"lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 1, maximum_ring_size: 1, hash_function: MURMUR_HASH_2}": func(l *plan.LB) {
			l.Policy, l.MinRing, l.MaxRing, l.Murmur = plan.RingHash, 1, 1, true
		},
		"lb_policy: MAGLEV, maglev_lb_config: {table_size: 5000011}": func(l *plan.LB) { l.Policy, l.MaglevSize = plan.Maglev, 5000011 },
		"lb_policy: MAGLEV, common_lb_config: {healthy_panic_threshold: {value: 0}, locality_weighted_lb_config: {}, consistent_hashing_lb_config: {use_hostname_for_hashing: true, hash_balance_factor: 150}}": func(l *plan.LB) {
			l.Policy, l.PanicPercent, l.LocalityWeights, l.HashHostname, l.BalanceFactor = plan.Maglev, 0, true, true, 150
		},
		"common_lb_config: {healthy_panic_threshold: {value: 12.5}, zone_aware_lb_config: {min_cluster_size: 1}}": func(l *plan.LB) { l.PanicPercent = 12.5 },

		"lb_policy: MAGLEV, common_lb_config: {healthy_panic_threshold: {value: 3}}, " + policy("round_robin.v3.RoundRobin"): func(l *plan.LB) { l.PanicPercent = 3 },
		policy("random.v3.Random, locality_lb_config: {locality_weighted_lb_config: {}}"):                                    func(l *plan.LB) { l.Policy, l.LocalityWeights = plan.Random, true },
		policy("least_request.v3.LeastRequest, choice_count: 3, selection_method: N_CHOICES, active_request_bias: {default_value: 2}"): func(l *plan.LB) {
			l.Policy, l.ChoiceCount, l.ActiveBias = plan.LeastRequest, 3, 2
		},
		policy("ring_hash.v3.RingHash"): func(l *plan.LB) { l.Policy = plan.RingHash },
		policy("ring_hash.v3.RingHash, hash_function: MURMUR_HASH_2, minimum_ring_size: 4, maximum_ring_size: 9, use_hostname_for_hashing: true, hash_balance_factor: 101, locality_weighted_lb_config: {}"): func(l *plan.LB) {
			*l = plan.LB{
				Policy: plan.RingHash, PanicPercent: 50, ChoiceCount: 2, ActiveBias: 1, MaglevSize: 65537,
				Murmur: true, MinRing: 4, MaxRing: 9, HashHostname: true, BalanceFactor: 101, LocalityWeights: true,
			}
		},
		policy("ring_hash.v3.RingHash, hash_balance_factor: 101, consistent_hashing_lb_config: {use_hostname_for_hashing: true}"): func(l *plan.LB) {
			l.Policy, l.HashHostname = plan.RingHash, true
		},
		policy("maglev.v3.Maglev, table_size: 2, consistent_hashing_lb_config: {hash_balance_factor: 200}, locality_weighted_lb_config: {}"): func(l *plan.LB) {
			l.Policy, l.MaglevSize, l.BalanceFactor, l.LocalityWeights = plan.Maglev, 2, 200, true
		},
		policy(override("{header: X-To}, {metadata: {key: envoy.lb, path: [{key: a}, {key: b}]}}", "random.v3.Random") + ", selected_host_key: {key: k, path: [{key: p}]}"): func(l *plan.LB) {
			l.Policy = plan.Random
			l.Override = &plan.Override{Selected: plan.MetadataKey{Namespace: "k", Path: []string{"p"}}, Sources: []plan.OverrideSource{
				{Header: "x-to"}, {Metadata: plan.MetadataKey{Namespace: "envoy.lb", Path: []string{"a", "b"}}},
			}}
		},
	} {
		want := plan.LB{PanicPercent: 50, ChoiceCount: 2, ActiveBias: 1, MinRing: 1024, MaxRing: 8 << 20, MaglevSize: 65537}
		change(&want)
		if d := cmp.Diff(want, compiled(t, fields)[0].LB); d != "" {
			t.Errorf("%s (-want +got):\n%s", fields, d)
		}
	}
}

func TestTransports(t *testing.T) {
	const (
		raw    = `{name: r, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}`
		passes = `{name: i, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport, transport_socket: ` + raw + `}}`
	)
	c := compiled(t, "transport_socket: "+passes+", transport_socket_matches: [{name: plain, match: {a: b}, transport_socket: "+raw+"}, {name: rest, transport_socket: "+passes+"}]")[0]
	var got []string
	for _, x := range append([]plan.TransportMatch{{Transport: c.Transport}}, c.Transports...) {
		_, on := x.Socket.Passthrough()
		got = append(got, fmt.Sprintf("%s %t %v", x.Name, on, x.Match.AsMap()))
	}
	if d := cmp.Diff([]string{" true map[]", "plain false map[a:b]", "rest true map[]"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// The hash is what decides whether a cluster changed.
func TestClusterHash(t *testing.T) {
	const fields = "metadata: {filter_metadata: {a: {x: 1, y: 2, z: 3}, b: {}, c: {}}}"
	first := compiled(t, fields)[0].Hash
	for range 20 {
		if got := compiled(t, fields)[0].Hash; got != first {
			t.Fatalf("%x and %x for one cluster", first, got)
		}
	}
	if compiled(t, fields+", connect_timeout: 5s")[0].Hash == first {
		t.Error("two clusters have one hash")
	}
}

func named(namespace string) *corev3.Metadata {
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{namespace: {}}}
}

func ipAddr(s string) net.Addr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }
