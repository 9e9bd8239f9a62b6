package compile

import (
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	aggregatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	dfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// A clusterType is how the hosts of a cluster are found.
type clusterType struct {
	lookup clusterv3.Cluster_DiscoveryType
	known  bool              // false: it is reported
	typed  *dnsv3.DnsCluster // where it says what DNS is; nil: the cluster itself does
	at     *extension.Scope  // of typed

	forward *forwardType // nil: it is no dynamic forward proxy

	aggregate []string // the clusters of an aggregate one; nil: it is none
}

// typeOfCluster reads the type of a cluster: an enum, or an extension by its name.
func typeOfCluster(s *extension.Scope, c *clusterv3.Cluster) clusterType {
	custom := c.GetClusterType()
	if custom == nil {
		return clusterType{lookup: c.GetType(), known: true}
	}
	at := s.Field("cluster_type")
	customTypeFields.Check(at, custom)
	names := map[string]clusterv3.Cluster_DiscoveryType{
		"envoy.cluster.static":       clusterv3.Cluster_STATIC,
		"envoy.cluster.strict_dns":   clusterv3.Cluster_STRICT_DNS,
		"envoy.cluster.logical_dns":  clusterv3.Cluster_LOGICAL_DNS,
		"envoy.cluster.eds":          clusterv3.Cluster_EDS,
		"envoy.cluster.original_dst": clusterv3.Cluster_ORIGINAL_DST,
	}
	t, ok := names[custom.GetName()]
	switch {
	case custom.GetTypedConfig() != nil:
		return typedCluster(at.Field("typed_config"), custom)
	case custom.GetName() == forwardName:
		return typeOfForward(at.Field("typed_config"), &dfpv3.ClusterConfig{})
	case !ok:
		at.Field("name").Errorf("Didn't find a registered cluster factory implementation for name: '%s'", custom.GetName())
	default:
		return clusterType{lookup: t, known: true}
	}
	return clusterType{}
}

// typedCluster reads the type of a cluster that has a message of its own.
func typedCluster(s *extension.Scope, m *clusterv3.Cluster_CustomClusterType) clusterType {
	msg, ok := s.Unpack(m.GetTypedConfig())
	if !ok {
		return clusterType{}
	}
	if a, ok := msg.(*aggregatev3.ClusterConfig); ok {
		return aggregate(s, a)
	}
	if f, ok := msg.(*dfpv3.ClusterConfig); ok {
		return typeOfForward(s, f)
	}
	d, ok := msg.(*dnsv3.DnsCluster)
	if !ok {
		s.Errorf("%s clusters are not supported yet", msg.ProtoReflect().Descriptor().FullName())
		return clusterType{}
	}
	t := clusterType{lookup: clusterv3.Cluster_STRICT_DNS, known: true, typed: d, at: s}
	if d.GetAllAddressesInSingleEndpoint() {
		t.lookup = clusterv3.Cluster_LOGICAL_DNS
	}
	return t
}

// names reports whether hosts of the type have names that are looked up.
func (t clusterType) names() bool {
	return t.lookup == clusterv3.Cluster_STRICT_DNS || t.lookup == clusterv3.Cluster_LOGICAL_DNS
}

// provides reports whether a cluster of the type chooses its hosts itself.
func (t clusterType) provides() bool {
	return t.lookup == clusterv3.Cluster_ORIGINAL_DST || t.forward != nil || t.aggregate != nil
}

// checkPolicy reports a policy that does not go with the type.
func (t clusterType) checkPolicy(s *extension.Scope, c *clusterv3.Cluster) {
	provided := c.GetLbPolicy() == clusterv3.Cluster_CLUSTER_PROVIDED
	switch {
	case !t.known:
	case t.lookup == clusterv3.Cluster_ORIGINAL_DST && !provided:
		s.Field("lb_policy").Errorf("cluster: LB policy %s is not valid for Cluster type ORIGINAL_DST. "+
			"Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'", c.GetLbPolicy())
	case t.aggregate != nil && !provided && c.GetLoadBalancingPolicy() == nil:
		s.Field("lb_policy").Errorf("cluster manager: cluster provided LB not specified but cluster '%s' provided one: "+
			"an aggregate cluster needs CLUSTER_PROVIDED", c.GetName())
	case !t.provides() && provided && c.GetLoadBalancingPolicy() == nil:
		s.Field("lb_policy").Errorf("cluster manager: cluster provided LB specified but cluster '%s' did not provide one: "+
			"a %s cluster needs another policy", c.GetName(), t.lookup)
	}
}

// checkTyped does so for load_balancing_policy.
func (t clusterType) checkTyped(s *extension.Scope, c *clusterv3.Cluster, lb *plan.LB) {
	at := s.Field("load_balancing_policy")
	switch provided := lb.Policy == plan.Provided; {
	case !t.known || c.GetLoadBalancingPolicy() == nil:
	case provided && !t.provides():
		at.Errorf("cluster manager: cluster provided LB specified but cluster '%s' did not provide one: "+
			"a %s cluster needs another policy", c.GetName(), t.lookup)
	case !provided && t.aggregate != nil:
		at.Errorf("cluster manager: cluster provided LB not specified but cluster '%s' provided one: "+
			"an aggregate cluster needs cluster_provided", c.GetName())
	}
}

// Envoy's default.
const defaultCleanup = 5 * time.Second

// originalDst returns nil for a cluster of another type.
func originalDst(s *extension.Scope, c *clusterv3.Cluster, t clusterType) *plan.OriginalDst {
	m := c.GetOriginalDstLbConfig()
	if m != nil {
		originalDstFields.Check(s.Field("original_dst_lb_config"), m)
	}
	if t.lookup != clusterv3.Cluster_ORIGINAL_DST || !t.known {
		if m != nil {
			s.Field("original_dst_lb_config").Warnf("not used: the cluster is not of type ORIGINAL_DST")
		}
		return nil
	}
	if c.GetLoadAssignment() != nil {
		s.Field("load_assignment").Errorf("ORIGINAL_DST clusters must have no load assignment configured")
	}
	o := &plan.OriginalDst{Cleanup: max(durationOr(c.GetCleanupInterval(), defaultCleanup), time.Millisecond)}
	at := s.Field("original_dst_lb_config")
	if m.GetUseHttpHeader() {
		if o.Header = strings.ToLower(m.GetHttpHeaderName()); o.Header == "" {
			o.Header = "x-envoy-original-dst-host"
		}
	} else if m.GetHttpHeaderName() != "" {
		at.Field("http_header_name").Errorf("ORIGINAL_DST cluster: invalid config http_header_name=%s and use_http_header is false. "+
			"Set use_http_header to true if http_header_name is desired.", m.GetHttpHeaderName())
	}
	if v := m.GetUpstreamPortOverride(); v != nil {
		p := uint16(v.GetValue())
		o.Port = &p
	}
	if k := m.GetMetadataKey(); k != nil {
		key := metadataKey(k)
		o.Metadata = &key
	}
	return o
}
