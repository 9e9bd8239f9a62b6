package compile

import (
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	providedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/cluster_provided/v3"
	lbcommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/common/v3"
	leastrequestv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	maglevv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	overridehostv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/override_host/v3"
	randomv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/random/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	roundrobinv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"
	subsetv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/subset/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// typedPolicy compiles the first policy of the list that ginnel has, as the API has
// it, and says which ones it passed over.
func typedPolicy(s *extension.Scope, m *clusterv3.LoadBalancingPolicy, lb *plan.LB) {
	lbPolicyFields.Check(s, m)
	var unknown []string
	for i, p := range m.GetPolicies() {
		at := s.Field("policies").Index(i).Field("typed_extension_config")
		if p.GetTypedExtensionConfig().GetTypedConfig() == nil {
			unknown = append(unknown, p.GetTypedExtensionConfig().GetName())
			continue
		}
		at = at.Field("typed_config")
		msg, ok := at.Unpack(p.GetTypedExtensionConfig().GetTypedConfig())
		if !ok {
			return // reported
		}
		if onePolicy(at, msg, lb) {
			if len(unknown) > 0 {
				at.Warnf("is what ginnel uses: it does not have %s", strings.Join(unknown, ", "))
			}
			return
		}
		unknown = append(unknown, string(msg.ProtoReflect().Descriptor().FullName()))
	}
	s.Errorf("cluster: didn't find a registered load balancer factory implementation with names from [%s]; "+
		"ginnel has round_robin, least_request, random, ring_hash, maglev, subset, override_host and cluster_provided", strings.Join(unknown, ", "))
}

// onePolicy reports whether ginnel has the policy of that message.
func onePolicy(s *extension.Scope, msg proto.Message, lb *plan.LB) bool {
	switch m := msg.(type) {
	case *roundrobinv3.RoundRobin:
		typedRoundRobinFields.Check(s, m)
		lb.Policy = plan.RoundRobin
		slowStart(s, m.GetSlowStartConfig(), lb)
		typedLocality(s, m.GetLocalityLbConfig(), lb)
	case *leastrequestv3.LeastRequest:
		typedLeastRequestFields.Check(s, m)
		lb.Policy = plan.LeastRequest
		leastRequest(s, m, lb)
		lb.FullScan = m.GetSelectionMethod() == leastrequestv3.LeastRequest_FULL_SCAN
		slowStart(s, m.GetSlowStartConfig(), lb)
		typedLocality(s, m.GetLocalityLbConfig(), lb)
	case *randomv3.Random:
		typedRandomFields.Check(s, m)
		lb.Policy = plan.Random
		typedLocality(s, m.GetLocalityLbConfig(), lb)
	case *ringhashv3.RingHash:
		typedRing(s, m, lb)
	case *maglevv3.Maglev:
		typedMaglevFields.Check(s, m)
		lb.Policy = plan.Maglev
		lb.LocalityWeights = m.GetLocalityWeightedLbConfig() != nil
		maglevSize(s, m.GetTableSize(), lb)
		typedHashing(s, m.GetConsistentHashingLbConfig(), lb)
	case *overridehostv3.OverrideHost:
		typedOverride(s, m, lb)
	case *subsetv3.Subset:
		typedSubset(s, m, lb)
	case *providedv3.ClusterProvided:
		typedProvidedFields.Check(s, m)
		lb.Policy = plan.Provided
	default:
		return false
	}
	return true
}

func typedRing(s *extension.Scope, m *ringhashv3.RingHash, lb *plan.LB) {
	typedRingHashFields.Check(s, m)
	lb.Policy = plan.RingHash
	lb.Murmur = m.GetHashFunction() == ringhashv3.RingHash_MURMUR_HASH_2
	lb.LocalityWeights = m.GetLocalityWeightedLbConfig() != nil
	ringSizes(s, m, lb)
	if h := m.GetConsistentHashingLbConfig(); h != nil {
		typedHashing(s, h, lb)
		return
	}
	//nolint:staticcheck // deprecated, and still what counts without the newer field (Envoy)
	lb.HashHostname, lb.BalanceFactor = m.GetUseHostnameForHashing(), m.GetHashBalanceFactor().GetValue()
}

// typedOverride compiles what goes ahead of another policy.
func typedOverride(s *extension.Scope, m *overridehostv3.OverrideHost, lb *plan.LB) {
	typedOverrideFields.Check(s, m)
	if lb.Override != nil {
		s.Errorf("not supported: override_host as the fallback_policy of override_host")
		return
	}
	o := &plan.Override{Selected: metadataKey(m.GetSelectedHostKey())}
	for i, src := range m.GetOverrideHostSources() {
		at := s.Field("override_host_sources").Index(i)
		overrideSourceFields.Check(at, src)
		switch {
		case src.GetHeader() == "" && src.GetMetadata() == nil:
			at.Errorf("Empty override source")
		case src.GetHeader() != "" && src.GetMetadata() != nil:
			at.Errorf("Only one override source must be set")
		}
		o.Sources = append(o.Sources, plan.OverrideSource{
			Header: strings.ToLower(src.GetHeader()), Metadata: metadataKey(src.GetMetadata()),
		})
	}
	lb.Override = o
	typedPolicy(s.Field("fallback_policy"), m.GetFallbackPolicy(), lb)
}

func metadataKey(m *metadatav3.MetadataKey) plan.MetadataKey {
	k := plan.MetadataKey{Namespace: m.GetKey()}
	for _, p := range m.GetPath() {
		k.Path = append(k.Path, p.GetKey())
	}
	return k
}

func typedHashing(s *extension.Scope, m *lbcommonv3.ConsistentHashingLbConfig, lb *plan.LB) {
	if m == nil {
		return
	}
	typedHashingFields.Check(s.Field("consistent_hashing_lb_config"), m)
	lb.HashHostname, lb.BalanceFactor = m.GetUseHostnameForHashing(), m.GetHashBalanceFactor().GetValue()
}

func typedLocality(s *extension.Scope, m *lbcommonv3.LocalityLbConfig, lb *plan.LB) {
	if m == nil {
		return
	}
	at := s.Field("locality_lb_config")
	typedLocalityFields.Check(at, m)
	lb.LocalityWeights = m.GetLocalityWeightedLbConfig() != nil
	if z := m.GetZoneAwareLbConfig(); z != nil {
		typedZoneAwareFields.Check(at.Field("zone_aware_lb_config"), z)
		lb.FailOnPanic = z.GetFailTrafficOnPanic()
	}
}
