package compile

import (
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	dfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	commondfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/dnscache"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/transport"
)

// forwardName is the name of dynamic forward proxies.
const forwardName = "envoy.clusters.dynamic_forward_proxy"

var forwardFields = extension.Fields{
	Message: &dfpv3.ClusterConfig{},
	Obeyed:  []string{"dns_cache_config", "allow_insecure_cluster_options"},
	Ignored: map[string]string{
		"allow_coalesced_connections": "it is leave to share connections between names, which is not taken",
	},
}

// A forwardType is what a dynamic forward proxy says of itself.
type forwardType struct {
	at       *extension.Scope
	cache    *plan.DNSCache
	insecure bool
}

// typeOfForward reads the type of a dynamic forward proxy; s is the scope of m. Without a
// cache of its own it has the one without a name (Envoy).
func typeOfForward(s *extension.Scope, m *dfpv3.ClusterConfig) clusterType {
	forwardFields.Check(s, m)
	cache := m.GetDnsCacheConfig()
	if cache == nil {
		cache = &commondfpv3.DnsCacheConfig{}
	}
	return clusterType{lookup: clusterv3.Cluster_STATIC, known: true, forward: &forwardType{
		at: s, cache: dnscache.Compile(s.Field("dns_cache_config"), cache), insecure: m.GetAllowInsecureClusterOptions(),
	}}
}

// forwards makes p a dynamic forward proxy, if c is of that type.
func (t clusterType) forwards(s *extension.Scope, c *clusterv3.Cluster, p *plan.Cluster) {
	f := t.forward
	if f == nil {
		return
	}
	if c.GetLbPolicy() != clusterv3.Cluster_CLUSTER_PROVIDED && c.GetLoadBalancingPolicy() == nil {
		s.Field("lb_policy").Errorf("cluster manager: cluster provided LB not specified but cluster '%s' provided one: "+
			"a dynamic forward proxy needs CLUSTER_PROVIDED", c.GetName())
	}
	if c.GetLoadAssignment() != nil {
		s.Field("load_assignment").Warnf("not used: the hosts of a dynamic forward proxy are those that are asked for")
	}
	p.Assignment = plan.Assignment{OverprovisionFactor: defaultOverprovision}
	p.Forward = &plan.Forward{Cache: f.cache, Port: 80}
	if p.Transport.Socket != nil && transport.Negotiates(p.Transport.Socket) {
		p.Forward.Port = 443
	}
	if typed, _ := typedHTTPOptions(s, c); typed == nil && c.GetUpstreamHttpProtocolOptions() == nil {
		p.HTTP.AutoSNI, p.HTTP.AutoSANs = true, true
	}
	if !f.insecure && !(p.HTTP.AutoSNI && p.HTTP.AutoSANs) {
		f.at.Errorf("dynamic_forward_proxy cluster must have auto_sni and auto_san_validation true unless allow_insecure_cluster_options is set.")
	}
}

// checkCaches reports DNS caches of one name that differ.
func checkCaches(r *extension.Report) {
	first := make(map[string]extension.Reference)
	for _, ref := range r.References {
		if ref.Kind != dnscache.RefKind {
			continue
		}
		name := ref.Name[:strings.LastIndexByte(ref.Name, ' ')]
		was, ok := first[name]
		switch {
		case !ok:
			first[name] = ref
		case was.Name != ref.Name:
			r.Issues = append(r.Issues, extension.Issue{
				Path: ref.Path, Message: "config specified DNS cache '" + name + "' with different settings: others are in " + was.Path,
			})
		}
	}
}
