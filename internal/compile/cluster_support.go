package compile

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	lbcommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/common/v3"
	leastrequestv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	maglevv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/maglev/v3"
	overridehostv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/override_host/v3"
	randomv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/random/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	roundrobinv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/http2settings"
)

// Why a field of a cluster may be ignored.
const (
	moreStats  = "adds histograms, which ginnel does not have yet, and changes nothing else"
	serverOnly = "for the server's side of HTTP; Envoy does not use it towards hosts either"
	zoneOnly   = "zone-aware routing needs a local cluster, and without one Envoy ignores this too"
)

var clusterFields = extension.Fields{
	Message: &clusterv3.Cluster{},
	Obeyed: []string{
		"name", "alt_stat_name", "type", "cluster_type", "original_dst_lb_config", "cleanup_interval", "ignore_health_on_host_removal",
		"dns_refresh_rate", "dns_jitter", "dns_failure_refresh_rate", "respect_dns_ttl", "dns_lookup_family", "dns_resolvers",
		"use_tcp_for_dns_lookups", "dns_resolution_config", "typed_dns_resolver_config", "wait_for_warm_on_init",
		"connect_timeout", "metadata", "load_assignment", "eds_cluster_config",
		"per_connection_buffer_limit_bytes", "per_connection_buffer_high_watermark_timeout", "circuit_breakers", "upstream_bind_config",
		"upstream_connection_options", "transport_socket", "transport_socket_matches",
		"lb_policy", "ring_hash_lb_config", "maglev_lb_config", "least_request_lb_config",
		"round_robin_lb_config", "lb_subset_config", "common_lb_config", "load_balancing_policy", "track_cluster_stats",
		"typed_extension_protocol_options", "max_requests_per_connection", "upstream_http_protocol_options",
		"common_http_protocol_options", "http_protocol_options", "http2_protocol_options", "protocol_selection",
		"health_checks", "close_connections_on_host_health_failure", "outlier_detection", "preconnect_policy", "connection_pool_per_downstream_connection",
	},
	Ignored: map[string]string{
		"track_timeout_budgets": moreStats,

		"lrs_server":                  "Envoy does not read it either",
		"lrs_report_endpoint_metrics": "for load reports, and cluster_manager.load_stats_config is refused",
	},
}

var customTypeFields = extension.Fields{
	Message: &clusterv3.Cluster_CustomClusterType{},
	Obeyed:  []string{"name", "typed_config"},
}

var originalDstFields = extension.Fields{
	Message: &clusterv3.Cluster_OriginalDstLbConfig{},
	Obeyed:  []string{"use_http_header", "http_header_name", "upstream_port_override", "metadata_key"},
}

var failureRateFields = extension.Fields{
	Message: &clusterv3.Cluster_RefreshRate{},
	Obeyed:  []string{"base_interval", "max_interval"},
}

var dnsClusterFields = extension.Fields{
	Message: &dnsv3.DnsCluster{},
	Obeyed: []string{
		"dns_refresh_rate", "dns_failure_refresh_rate", "respect_dns_ttl", "dns_jitter", "typed_dns_resolver_config",
		"dns_lookup_family", "all_addresses_in_single_endpoint", "dns_min_refresh_rate",
	},
}

// protocolOptions are the types of typed_extension_protocol_options that may be
// ignored, with the reason.
var protocolOptions = map[string]string{
	"envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions": "for idle connections of pools; TCP connections are not kept for later",
}

var trackStatsFields = extension.Fields{
	Message: &clusterv3.TrackClusterStats{},
	Ignored: map[string]string{"timeout_budgets": moreStats, "request_response_sizes": moreStats},
}

var connectionOptionsFields = extension.Fields{
	Message: &clusterv3.UpstreamConnectionOptions{},
	Obeyed:  []string{"tcp_keepalive", "happy_eyeballs_config"},
}

var happyEyeballsFields = extension.Fields{
	Message: &clusterv3.UpstreamConnectionOptions_HappyEyeballsConfig{},
	Obeyed:  []string{"first_address_family_version", "first_address_family_count"},
}

var transportMatchFields = extension.Fields{
	Message: &clusterv3.Cluster_TransportSocketMatch{},
	Obeyed:  []string{"name", "match", "transport_socket"},
}

var breakersFields = extension.Fields{
	Message: &clusterv3.CircuitBreakers{},
	Obeyed:  []string{"thresholds", "per_host_thresholds"},
}

var thresholdsFields = extension.Fields{
	Message: &clusterv3.CircuitBreakers_Thresholds{},
	Obeyed: []string{
		"priority", "max_connections", "max_pending_requests", "max_requests", "max_retries",
		"track_remaining", "max_connection_pools", "retry_budget",
	},
}

var assignmentFields = extension.Fields{
	Message: &endpointv3.ClusterLoadAssignment{},
	Obeyed:  []string{"endpoints", "policy"},
	Ignored: map[string]string{
		"cluster_name":    "inside of a cluster its name is known; a source is asked by it",
		"named_endpoints": "only endpoint_name leads to them, which Envoy refuses as well",
	},
}

var edsFields = extension.Fields{
	Message: &clusterv3.Cluster_EdsClusterConfig{},
	Obeyed:  []string{"eds_config", "service_name"},
}

var assignmentPolicyFields = extension.Fields{
	Message: &endpointv3.ClusterLoadAssignment_Policy{},
	Obeyed:  []string{"overprovisioning_factor", "weighted_priority_health", "endpoint_stale_after", "drop_overloads"},
}

var dropFields = extension.Fields{
	Message: &endpointv3.ClusterLoadAssignment_Policy_DropOverload{},
	Obeyed:  []string{"drop_percentage"},
	Ignored: map[string]string{"category": "only load reports tell of it, and cluster_manager.load_stats_config is refused"},
}

var localityFields = extension.Fields{
	Message: &endpointv3.LocalityLbEndpoints{},
	Obeyed:  []string{"locality", "metadata", "lb_endpoints", "load_balancing_weight", "priority"},
	Ignored: map[string]string{"proximity": "Envoy's load balancers do not read it either"},
}

var lbEndpointFields = extension.Fields{
	Message: &endpointv3.LbEndpoint{},
	Obeyed:  []string{"endpoint", "health_status", "metadata", "load_balancing_weight"},
}

var endpointFields = extension.Fields{
	Message: &endpointv3.Endpoint{},
	Obeyed:  []string{"address", "hostname", "additional_addresses", "health_check_config"},
	Ignored: map[string]string{
		"observability_name": "names the statistics of one endpoint, which are refused (track_cluster_stats)",
	},
}

var additionalAddressFields = extension.Fields{
	Message: &endpointv3.Endpoint_AdditionalAddress{},
	Obeyed:  []string{"address"},
}

var commonLBFields = extension.Fields{
	Message: &clusterv3.Cluster_CommonLbConfig{},
	Obeyed: []string{
		"healthy_panic_threshold", "locality_weighted_lb_config", "zone_aware_lb_config", "consistent_hashing_lb_config",
		"ignore_new_hosts_until_first_hc", "close_connections_on_host_set_change",
	},
	Ignored: map[string]string{
		"override_host_status": "for filters that name a host (stateful_session), which there are none of; override_host does not look at it either",
		"update_merge_window":  "hosts are changed at once",
	},
}

var (
	localityWeightedFields = extension.Fields{Message: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{}}

	zoneAwareFields = extension.Fields{
		Message: &clusterv3.Cluster_CommonLbConfig_ZoneAwareLbConfig{},
		Obeyed:  []string{"fail_traffic_on_panic"},
		Ignored: map[string]string{"routing_enabled": zoneOnly, "min_cluster_size": zoneOnly},
	}
	hashingFields = extension.Fields{
		Message: &clusterv3.Cluster_CommonLbConfig_ConsistentHashingLbConfig{},
		Obeyed:  []string{"use_hostname_for_hashing", "hash_balance_factor"},
	}
	roundRobinFields = extension.Fields{
		Message: &clusterv3.Cluster_RoundRobinLbConfig{},
		Obeyed:  []string{"slow_start_config"},
	}
	leastRequestFields = extension.Fields{
		Message: &clusterv3.Cluster_LeastRequestLbConfig{},
		Obeyed:  []string{"choice_count", "active_request_bias", "slow_start_config"},
	}
	ringHashFields = extension.Fields{
		Message: &clusterv3.Cluster_RingHashLbConfig{},
		Obeyed:  []string{"minimum_ring_size", "maximum_ring_size", "hash_function"},
	}
	maglevFields = extension.Fields{Message: &clusterv3.Cluster_MaglevLbConfig{}, Obeyed: []string{"table_size"}}
)

var lbPolicyFields = extension.Fields{
	Message: &clusterv3.LoadBalancingPolicy{},
	Obeyed:  []string{"policies"},
}

// The typed policies of load_balancing_policy.
var (
	typedRoundRobinFields = extension.Fields{
		Message: &roundrobinv3.RoundRobin{},
		Obeyed:  []string{"locality_lb_config", "slow_start_config"},
	}
	typedLeastRequestFields = extension.Fields{
		Message: &leastrequestv3.LeastRequest{},
		Obeyed:  []string{"choice_count", "active_request_bias", "slow_start_config", "locality_lb_config", "selection_method"},
		Ignored: map[string]string{"enable_full_scan": "Envoy does not read it either; selection_method took its place"},
	}
	typedRandomFields = extension.Fields{
		Message: &randomv3.Random{},
		Obeyed:  []string{"locality_lb_config"},
	}
	typedRingHashFields = extension.Fields{
		Message: &ringhashv3.RingHash{},
		Obeyed: []string{
			"hash_function", "minimum_ring_size", "maximum_ring_size", "use_hostname_for_hashing",
			"hash_balance_factor", "consistent_hashing_lb_config", "locality_weighted_lb_config",
		},
	}
	typedMaglevFields = extension.Fields{
		Message: &maglevv3.Maglev{},
		Obeyed:  []string{"table_size", "consistent_hashing_lb_config", "locality_weighted_lb_config"},
	}
	typedOverrideFields = extension.Fields{
		Message: &overridehostv3.OverrideHost{},
		Obeyed:  []string{"override_host_sources", "selected_host_key", "fallback_policy"},
	}
	overrideSourceFields = extension.Fields{
		Message: &overridehostv3.OverrideHost_OverrideHostSource{},
		Obeyed:  []string{"header", "metadata"},
	}
	typedLocalityFields = extension.Fields{
		Message: &lbcommonv3.LocalityLbConfig{},
		Obeyed:  []string{"locality_weighted_lb_config", "zone_aware_lb_config"},
	}
	typedZoneAwareFields = extension.Fields{
		Message: &lbcommonv3.LocalityLbConfig_ZoneAwareLbConfig{},
		Obeyed:  []string{"fail_traffic_on_panic"},
		Ignored: map[string]string{
			"routing_enabled": zoneOnly, "min_cluster_size": zoneOnly, "force_locality_direct_routing": zoneOnly,
			"force_local_zone": zoneOnly, "locality_basis": zoneOnly,
		},
	}
	typedHashingFields = extension.Fields{
		Message: &lbcommonv3.ConsistentHashingLbConfig{},
		Obeyed:  []string{"use_hostname_for_hashing", "hash_balance_factor"},
	}
)

// clusterSupport lists what is obeyed of the messages that make up a cluster.
func clusterSupport() []*extension.Fields {
	return append([]*extension.Fields{
		&httpOptionsFields, &explicitFields, &useDownstreamFields, &autoFields, &commonHTTPFields, &upstreamHTTPFields,
		&http1Fields, &preserveCaseFields, &http2Fields, &http2settings.Fields, &pingFields, &preconnectFields, &retryBudgetFields, &outlierFields,
		&healthCheckFields, &checkTLSFields, &eventSinkFields, &httpCheckFields, &tcpCheckFields, &checkProxyFields, &grpcCheckFields, &endpointCheckFields, &checkHeaderFields,
		&clusterFields, &customTypeFields, &originalDstFields, &failureRateFields, &dnsClusterFields, &forwardFields,
		&trackStatsFields, &bindFields, &extraSourceFields, &selectorFields, &connectionOptionsFields, &happyEyeballsFields,
		&transportMatchFields, &breakersFields, &thresholdsFields,
		&assignmentFields, &edsFields, &assignmentPolicyFields, &dropFields, &localityFields, &lbEndpointFields, &endpointFields, &additionalAddressFields,
		&commonLBFields, &localityWeightedFields, &zoneAwareFields, &hashingFields,
		&roundRobinFields, &leastRequestFields, &ringHashFields, &maglevFields, &lbPolicyFields,
		&typedRoundRobinFields, &typedLeastRequestFields, &typedRandomFields, &typedRingHashFields, &typedMaglevFields,
		&typedOverrideFields, &overrideSourceFields, &typedLocalityFields, &typedZoneAwareFields, &typedHashingFields,
	}, subsetSupport()...)
}
