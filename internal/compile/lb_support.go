package compile

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	providedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/cluster_provided/v3"
	lbcommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/common/v3"
	subsetv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/subset/v3"

	"github.com/ginnel/ginnel/extension"
)

// What is obeyed of slow starts and subsets, in the older form and the typed one.
var (
	slowStartFields = extension.Fields{
		Message: &clusterv3.Cluster_SlowStartConfig{},
		Obeyed:  []string{"slow_start_window", "aggression", "min_weight_percent"},
	}
	typedSlowStartFields = extension.Fields{
		Message: &lbcommonv3.SlowStartConfig{},
		Obeyed:  []string{"slow_start_window", "aggression", "min_weight_percent"},
	}
	subsetFields = extension.Fields{
		Message: &clusterv3.Cluster_LbSubsetConfig{},
		Obeyed: []string{
			"fallback_policy", "default_subset", "subset_selectors", "locality_weight_aware", "scale_locality_weight",
			"panic_mode_any", "list_as_any", "metadata_fallback_policy",
		},
	}
	selectorSubsetFields = extension.Fields{
		Message: &clusterv3.Cluster_LbSubsetConfig_LbSubsetSelector{},
		Obeyed:  []string{"keys", "single_host_per_subset", "fallback_policy", "fallback_keys_subset"},
	}
	typedSubsetFields = extension.Fields{
		Message: &subsetv3.Subset{},
		Obeyed: []string{
			"fallback_policy", "default_subset", "subset_selectors", "allow_redundant_keys", "locality_weight_aware",
			"scale_locality_weight", "panic_mode_any", "list_as_any", "metadata_fallback_policy", "subset_lb_policy",
		},
	}
	typedSelectorFields = extension.Fields{
		Message: &subsetv3.Subset_LbSubsetSelector{},
		Obeyed:  []string{"keys", "single_host_per_subset", "fallback_policy", "fallback_keys_subset"},
	}
	typedProvidedFields = extension.Fields{Message: &providedv3.ClusterProvided{}}
)

func subsetSupport() []*extension.Fields {
	return []*extension.Fields{
		&aggregateFields, &slowStartFields, &typedSlowStartFields, &subsetFields, &selectorSubsetFields,
		&typedSubsetFields, &typedSelectorFields, &typedProvidedFields,
	}
}
