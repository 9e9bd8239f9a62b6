package compile

import (
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	subsetv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/subset/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// clusterSubset compiles lb_subset_config. Without selectors it is as if there were none
// (Envoy).
func clusterSubset(s *extension.Scope, c *clusterv3.Cluster, lb *plan.LB) {
	m := c.GetLbSubsetConfig()
	if m == nil {
		return
	}
	at := s.Field("lb_subset_config")
	subsetFields.Check(at, m)
	switch {
	case c.GetLoadBalancingPolicy() != nil:
		at.Errorf("cluster: load_balancing_policy cannot be combined with lb_subset_config")
	case c.GetLbPolicy() == clusterv3.Cluster_CLUSTER_PROVIDED:
		at.Errorf("cluster: LB policy %s cannot be combined with lb_subset_config", c.GetLbPolicy())
	case len(m.GetSubsetSelectors()) == 0:
		at.Warnf("not used: without subset_selectors there are no subsets")
		return
	}
	lb.Subset = subset(m)
	lb.Subset.FallbackList = m.GetMetadataFallbackPolicy() == clusterv3.Cluster_LbSubsetConfig_FALLBACK_LIST
	lb.Subset.Fallback = subsetFallback(int32(m.GetFallbackPolicy()))
	for i, sel := range m.GetSubsetSelectors() {
		at := at.Field("subset_selectors").Index(i)
		selectorSubsetFields.Check(at, sel)
		lb.Subset.Selectors = append(lb.Subset.Selectors, subsetSelector(at, sel, int32(sel.GetFallbackPolicy())))
	}
}

// typedSubset compiles the policy subset and that within the subsets.
func typedSubset(s *extension.Scope, m *subsetv3.Subset, lb *plan.LB) {
	typedSubsetFields.Check(s, m)
	if lb.Subset != nil {
		s.Errorf("not supported: subsets of subsets")
		return
	}
	lb.Subset = subset(m)
	lb.Subset.Redundant = m.GetAllowRedundantKeys()
	lb.Subset.FallbackList = m.GetMetadataFallbackPolicy() == subsetv3.Subset_FALLBACK_LIST
	lb.Subset.Fallback = subsetFallback(int32(m.GetFallbackPolicy()))
	for i, sel := range m.GetSubsetSelectors() {
		at := s.Field("subset_selectors").Index(i)
		typedSelectorFields.Check(at, sel)
		lb.Subset.Selectors = append(lb.Subset.Selectors, subsetSelector(at, sel, int32(sel.GetFallbackPolicy())))
	}
	child := s.Field("subset_lb_policy")
	overridden := lb.Override != nil
	typedPolicy(child, m.GetSubsetLbPolicy(), lb)
	switch {
	case !overridden && lb.Override != nil:
		child.Errorf("not supported: override_host within subsets")
	case lb.Policy == plan.Provided:
		child.Errorf("not supported: cluster_provided within subsets")
	}
}

// What the older and the typed form of subsets share. So are the numbers of the enums.
type (
	subsetConfig interface {
		GetDefaultSubset() *structpb.Struct
		GetLocalityWeightAware() bool
		GetScaleLocalityWeight() bool
		GetPanicModeAny() bool
		GetListAsAny() bool
	}
	selectorConfig interface {
		GetKeys() []string
		GetSingleHostPerSubset() bool
		GetFallbackKeysSubset() []string
	}
)

func subset(m subsetConfig) *plan.Subset {
	return &plan.Subset{
		Default: m.GetDefaultSubset(), PanicAny: m.GetPanicModeAny(), ListAny: m.GetListAsAny(),
		LocalityWeights: m.GetLocalityWeightAware(), ScaleWeights: m.GetScaleLocalityWeight(),
	}
}

func subsetFallback(policy int32) plan.SubsetFallback {
	switch clusterv3.Cluster_LbSubsetConfig_LbSubsetFallbackPolicy(policy) {
	case clusterv3.Cluster_LbSubsetConfig_ANY_ENDPOINT:
		return plan.AnyEndpoint
	case clusterv3.Cluster_LbSubsetConfig_DEFAULT_SUBSET:
		return plan.DefaultSubset
	}
	return plan.NoFallback
}

func subsetSelector(s *extension.Scope, m selectorConfig, policy int32) plan.SubsetSelector {
	out := plan.SubsetSelector{Keys: unique(m.GetKeys()), Single: m.GetSingleHostPerSubset(), FallbackKeys: unique(m.GetFallbackKeysSubset())}
	if len(out.Keys) == 0 {
		s.Field("keys").Warnf("not used: a selector without keys finds nothing")
	}
	switch clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector_LbSubsetSelectorFallbackPolicy(policy) {
	case clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector_NO_FALLBACK:
		out.Fallback = plan.NoFallback
	case clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector_ANY_ENDPOINT:
		out.Fallback = plan.AnyEndpoint
	case clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector_DEFAULT_SUBSET:
		out.Fallback = plan.DefaultSubset
	case clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector_KEYS_SUBSET:
		out.Fallback = plan.KeysSubset
	}
	at := s.Field("fallback_keys_subset")
	missing := func(k string) bool { return !slices.Contains(out.Keys, k) }
	switch {
	case out.Fallback != plan.KeysSubset:
		if len(out.FallbackKeys) > 0 {
			at.Errorf("fallback_keys_subset can be set only for KEYS_SUBSET fallback_policy")
		}
	case len(out.FallbackKeys) == 0:
		at.Errorf("fallback_keys_subset cannot be empty")
	case slices.ContainsFunc(out.FallbackKeys, missing):
		at.Errorf("fallback_keys_subset must be a subset of selector keys")
	case len(out.FallbackKeys) == len(out.Keys):
		at.Errorf("fallback_keys_subset cannot be equal to keys")
	}
	return out
}

func unique(keys []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(keys)))
}
