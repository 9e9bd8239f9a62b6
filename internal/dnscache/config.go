package dnscache

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/plan"
)

// Envoy's defaults.
const (
	defaultRefresh      = time.Minute
	defaultLeastRefresh = 5 * time.Second
	defaultHostTTL      = 5 * time.Minute
	defaultQueryTimeout = 5 * time.Second
	defaultMost         = 1024
)

var (
	fields = extension.Fields{
		Message: &dfpv3.DnsCacheConfig{},
		Obeyed: []string{
			"name", "dns_lookup_family", "dns_refresh_rate", "dns_min_refresh_rate", "host_ttl", "max_hosts",
			"disable_dns_refresh_on_failure", "dns_failure_refresh_rate", "dns_cache_circuit_breaker",
			"use_tcp_for_dns_lookups", "dns_resolution_config", "typed_dns_resolver_config",
			"preresolve_hostnames", "dns_query_timeout", "resolved_address_filter",
		},
	}
	breakerFields = extension.Fields{
		Message: &dfpv3.DnsCacheCircuitBreakers{},
		Obeyed:  []string{"max_pending_requests"},
	}
	rateFields = extension.Fields{
		Message: &clusterv3.Cluster_RefreshRate{},
		Obeyed:  []string{"base_interval", "max_interval"},
	}
	nameFields = extension.Fields{
		Message: &corev3.SocketAddress{}, Where: "preresolve_hostnames",
		Obeyed:  []string{"address", "port_value"},
		Ignored: map[string]string{"protocol": "Envoy does not look at it here"},
	}
	filterFields = extension.Fields{
		Message: &matcherv3.AddressMatcher{},
		Obeyed:  []string{"ranges", "invert_match"},
	}
)

// Support lists what is obeyed of each message.
func Support() []*extension.Fields {
	return []*extension.Fields{&fields, &breakerFields, &rateFields, &nameFields, &filterFields}
}

// RefKind is the kind of reference that each use of a cache records, as NAME HASH: those of
// one name must have one hash.
const RefKind = "DNS cache"

// Compile compiles a cache.
func Compile(s *extension.Scope, m *dfpv3.DnsCacheConfig) *plan.DNSCache {
	fields.Check(s, m)
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	p := &plan.DNSCache{
		Name: m.GetName(), Hash: xxhash.Sum64(text),
		Family:  dns.Family(m.GetDnsLookupFamily()),
		Refresh: duration(m.GetDnsRefreshRate(), defaultRefresh), LeastRefresh: duration(m.GetDnsMinRefreshRate(), defaultLeastRefresh),
		HostTTL: duration(m.GetHostTtl(), defaultHostTTL), QueryTimeout: duration(m.GetDnsQueryTimeout(), defaultQueryTimeout),
		MaxHosts: number(m.GetMaxHosts()), MaxPending: number(m.GetDnsCacheCircuitBreaker().GetMaxPendingRequests()),
		ForgetFailed: m.GetDisableDnsRefreshOnFailure(),
	}
	s.Refer(RefKind, fmt.Sprintf("%s %x", p.Name, p.Hash))
	if b := m.GetDnsCacheCircuitBreaker(); b != nil {
		breakerFields.Check(s.Field("dns_cache_circuit_breaker"), b)
	}
	if f := m.GetDnsFailureRefreshRate(); f != nil {
		rateFields.Check(s.Field("dns_failure_refresh_rate"), f)
		p.FailBase = f.GetBaseInterval().AsDuration()
		p.FailMax = max(duration(f.GetMaxInterval(), 10*p.FailBase), p.FailBase) // Envoy refuses less elsewhere, not here
	}
	if r := m.GetTypedDnsResolverConfig(); r != nil {
		p.Resolver = dns.Compile(s.Field("typed_dns_resolver_config"), r)
	} else {
		p.Resolver = dns.CompileOlder(s, m)
	}
	preresolve(s.Field("preresolve_hostnames"), m.GetPreresolveHostnames(), p)
	compileFilter(s.Field("resolved_address_filter"), m.GetResolvedAddressFilter(), p)
	return p
}

func duration(d *durationpb.Duration, def time.Duration) time.Duration {
	if d == nil {
		return def
	}
	return d.AsDuration()
}

func number(v *wrapperspb.UInt32Value) uint32 {
	if v == nil {
		return defaultMost
	}
	return v.GetValue()
}

func preresolve(s *extension.Scope, in []*corev3.SocketAddress, p *plan.DNSCache) {
	for i, a := range in {
		at := s.Index(i)
		nameFields.Check(at, a)
		p.Preresolve = append(p.Preresolve, net.JoinHostPort(a.GetAddress(), strconv.Itoa(int(a.GetPortValue()))))
	}
	if len(in) > int(p.MaxHosts) {
		s.Errorf("DNS Cache [%s] configured with preresolve_hostnames=%d larger than max_hosts=%d", p.Name, len(in), p.MaxHosts)
	}
}

func compileFilter(s *extension.Scope, m *matcherv3.AddressMatcher, p *plan.DNSCache) {
	if m == nil {
		return
	}
	filterFields.Check(s, m)
	p.FilteredOther = m.GetInvertMatch()
	for i, r := range m.GetRanges() {
		at := s.Field("ranges").Index(i)
		ip, err := netip.ParseAddr(r.GetAddressPrefix())
		if err != nil {
			at.Field("address_prefix").Errorf("malformed IP address: %s", r.GetAddressPrefix())
			continue
		}
		prefix, err := ip.Prefix(min(int(r.GetPrefixLen().GetValue()), ip.BitLen()))
		if err == nil {
			p.Filtered = append(p.Filtered, prefix)
		}
	}
}

// filtered reports whether an address is to be taken for none.
func filtered(p *plan.DNSCache, a netip.Addr) bool {
	if p.Filtered == nil {
		return false
	}
	in := false
	for _, r := range p.Filtered {
		in = in || r.Contains(a.Unmap())
	}
	return in != p.FilteredOther
}
