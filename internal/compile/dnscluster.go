package compile

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	commondnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/dns"
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
		p.Resolver = dns.Compile(s.Field("typed_dns_resolver_config"), r)
	} else if t.typed == nil {
		p.Resolver = dns.CompileOlder(s, c)
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
