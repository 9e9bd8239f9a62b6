package compile

import (
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	caresv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/network/dns_resolver/cares/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

const defaultRefresh = 5 * time.Second // Envoy's

// lookups returns how the names of a cluster are looked up; nil: it has none.
func lookups(s *extension.Scope, c *clusterv3.Cluster, t clusterType) *plan.DNS {
	if !t.known || !t.names() {
		return nil
	}
	d := t.typed
	if d == nil {
		d = olderLookups(s, c)
	} else {
		dnsClusterFields.Check(t.at, d)
		s = t.at
	}
	p := &plan.DNS{
		Logical: t.lookup == clusterv3.Cluster_LOGICAL_DNS,
		Refresh: durationOr(d.GetDnsRefreshRate(), defaultRefresh), Jitter: durationOr(d.GetDnsJitter(), 0),
		RespectTTL: d.GetRespectDnsTtl(), LeastRefresh: durationOr(d.GetDnsMinRefreshRate(), 0),
		Family: dnsFamily(d.GetDnsLookupFamily()),
		NoWait: c.GetWaitForWarmOnInit() != nil && !c.GetWaitForWarmOnInit().GetValue(),
	}
	if f := d.GetDnsFailureRefreshRate(); f != nil {
		p.FailBase = f.GetBaseInterval().AsDuration()
		p.FailMax = durationOr(f.GetMaxInterval(), 10*p.FailBase)
		if p.FailMax < p.FailBase {
			s.Field("dns_failure_refresh_rate").Errorf("dns_failure_refresh_rate must have max_interval greater than or equal to the base_interval")
		}
	}
	if r := d.GetTypedDnsResolverConfig(); r != nil {
		p.Resolver = resolver(s.Field("typed_dns_resolver_config"), r)
	} else if t.typed == nil {
		p.Resolver = olderResolver(s, c)
	}
	if t.lookup == clusterv3.Cluster_LOGICAL_DNS {
		oneHost(s, c)
	}
	return p
}

// olderLookups returns the fields of a cluster as those of the message that took their place.
func olderLookups(s *extension.Scope, c *clusterv3.Cluster) *dnsv3.DnsCluster {
	d := &dnsv3.DnsCluster{
		DnsRefreshRate: c.GetDnsRefreshRate(), DnsJitter: c.GetDnsJitter(), RespectDnsTtl: c.GetRespectDnsTtl(),
		DnsLookupFamily:        commondnsv3.DnsLookupFamily(c.GetDnsLookupFamily() + 1),
		TypedDnsResolverConfig: c.GetTypedDnsResolverConfig(),
	}
	if f := c.GetDnsFailureRefreshRate(); f != nil {
		failureRateFields.Check(s.Field("dns_failure_refresh_rate"), f)
		d.DnsFailureRefreshRate = &dnsv3.DnsCluster_RefreshRate{BaseInterval: f.GetBaseInterval(), MaxInterval: f.GetMaxInterval()}
	}
	return d
}

func dnsFamily(f commondnsv3.DnsLookupFamily) plan.NameFamily {
	return map[commondnsv3.DnsLookupFamily]plan.NameFamily{
		commondnsv3.DnsLookupFamily_V4_ONLY: plan.V4Only, commondnsv3.DnsLookupFamily_V6_ONLY: plan.V6Only,
		commondnsv3.DnsLookupFamily_V4_PREFERRED: plan.V4Preferred, commondnsv3.DnsLookupFamily_ALL: plan.AllFamilies,
	}[f] // else AUTO
}

// oneHost reports a LOGICAL_DNS cluster that has not exactly one endpoint.
func oneHost(s *extension.Scope, c *clusterv3.Cluster) {
	switch e := c.GetLoadAssignment().GetEndpoints(); {
	case len(e) == 0:
		s.Errorf("LOGICAL_DNS clusters must have a single host")
	case len(e) != 1 || len(e[0].GetLbEndpoints()) != 1:
		s.Errorf("LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint")
	}
}

// resolver compiles what looks names up.
func resolver(s *extension.Scope, m *corev3.TypedExtensionConfig) (out plan.NameServers) {
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

// olderResolver compiles the fields that typed_dns_resolver_config took the place of.
func olderResolver(s *extension.Scope, c *clusterv3.Cluster) (out plan.NameServers) {
	if r := c.GetDnsResolutionConfig(); r != nil {
		at := s.Field("dns_resolution_config")
		resolutionFields.Check(at, r)
		out.Servers = servers(at.Field("resolvers"), r.GetResolvers())
		resolverOptions(at.Field("dns_resolver_options"), r.GetDnsResolverOptions(), &out)
		return out
	}
	out.Servers = servers(s.Field("dns_resolvers"), c.GetDnsResolvers())
	out.TCP = c.GetUseTcpForDnsLookups()
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
		ip, ok := parseIP(at.Field("socket_address.address"), sa.GetAddress())
		if port := sa.GetPortValue(); ok {
			if port == 0 {
				port = 53
			}
			out = append(out, netip.AddrPortFrom(ip, uint16(port)))
		}
	}
	return out
}
