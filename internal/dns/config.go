package dns

import (
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

var caresFields = extension.Fields{
	Message: &caresv3.CaresDnsResolverConfig{},
	Obeyed: []string{
		"resolvers", "use_resolvers_as_fallback", "dns_resolver_options", "query_timeout_seconds", "query_tries", "rotate_nameservers",
	},
	Ignored: map[string]string{
		"udp_max_queries":           "each question has a socket of its own",
		"max_udp_channel_duration":  "each question has a socket of its own",
		"reinit_channel_on_timeout": "each question has a socket of its own",
	},
}

var resolutionFields = extension.Fields{
	Message: &corev3.DnsResolutionConfig{},
	Obeyed:  []string{"resolvers", "dns_resolver_options"},
}

var resolverOptionFields = extension.Fields{
	Message: &corev3.DnsResolverOptions{},
	Obeyed:  []string{"use_tcp_for_dns_lookups", "no_default_search_domain"},
}

// Support lists what is obeyed of each message.
func Support() []*extension.Fields {
	return []*extension.Fields{&caresFields, &resolutionFields, &resolverOptionFields}
}

// Family is dns_lookup_family of a cluster.
func Family(f clusterv3.Cluster_DnsLookupFamily) plan.NameFamily {
	return map[clusterv3.Cluster_DnsLookupFamily]plan.NameFamily{
		clusterv3.Cluster_V4_ONLY: plan.V4Only, clusterv3.Cluster_V6_ONLY: plan.V6Only,
		clusterv3.Cluster_V4_PREFERRED: plan.V4Preferred, clusterv3.Cluster_ALL: plan.AllFamilies,
	}[f] // else AUTO
}

// Compile compiles what looks names up (typed_dns_resolver_config); s is its place.
func Compile(s *extension.Scope, m *corev3.TypedExtensionConfig) (out plan.NameServers) {
	at := s.Field("typed_config")
	msg, ok := at.Unpack(m.GetTypedConfig())
	if !ok {
		return out
	}
	c, ok := msg.(*caresv3.CaresDnsResolverConfig)
	if !ok {
		at.Errorf("%s is not supported yet: ginnel looks names up as envoy.network.dns_resolver.cares does", msg.ProtoReflect().Descriptor().FullName())
		return out
	}
	caresFields.Check(at, c)
	out = plan.NameServers{
		Servers: servers(at.Field("resolvers"), c.GetResolvers()), Fallback: c.GetUseResolversAsFallback(),
		Timeout: time.Duration(c.GetQueryTimeoutSeconds().GetValue()) * time.Second, Tries: int(c.GetQueryTries().GetValue()),
		Rotate: c.GetRotateNameservers(),
	}
	resolverOptions(at.Field("dns_resolver_options"), c.GetDnsResolverOptions(), &out)
	return out
}

// An Older is a message with the fields that typed_dns_resolver_config took the place of.
type Older interface {
	GetDnsResolutionConfig() *corev3.DnsResolutionConfig
	GetUseTcpForDnsLookups() bool
}

// CompileOlder compiles those fields; s is the place of the message.
func CompileOlder(s *extension.Scope, m Older) (out plan.NameServers) {
	if r := m.GetDnsResolutionConfig(); r != nil {
		at := s.Field("dns_resolution_config")
		resolutionFields.Check(at, r)
		out.Servers = servers(at.Field("resolvers"), r.GetResolvers())
		resolverOptions(at.Field("dns_resolver_options"), r.GetDnsResolverOptions(), &out)
		return out
	}
	if x, ok := m.(interface{ GetDnsResolvers() []*corev3.Address }); ok {
		out.Servers = servers(s.Field("dns_resolvers"), x.GetDnsResolvers())
	}
	out.TCP = m.GetUseTcpForDnsLookups()
	return out
}

func resolverOptions(s *extension.Scope, m *corev3.DnsResolverOptions, out *plan.NameServers) {
	if m != nil {
		resolverOptionFields.Check(s, m)
		out.TCP, out.NoSearch = m.GetUseTcpForDnsLookups(), m.GetNoDefaultSearchDomain()
	}
}

// servers compiles the addresses of name servers.
func servers(s *extension.Scope, in []*corev3.Address) (out []netip.AddrPort) {
	for i, a := range in {
		at := s.Index(i)
		sa := a.GetSocketAddress()
		if sa == nil {
			at.Errorf("a name server has a socket_address")
			continue
		}
		ip, err := netip.ParseAddr(sa.GetAddress())
		if err != nil {
			at.Field("socket_address.address").Errorf("malformed IP address: %s", sa.GetAddress())
			continue
		}
		port := sa.GetPortValue()
		if port == 0 {
			port = 53
		}
		out = append(out, netip.AddrPortFrom(ip, uint16(port)))
	}
	return out
}
