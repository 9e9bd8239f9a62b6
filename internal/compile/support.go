package compile

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	internalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	downstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"

	"github.com/ginnel/ginnel/extension"
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return append([]*extension.Fields{
		&bootstrapFields, &staticFields, &secretFields, &dynamicFields, &managerFields, &outlierManagerFields, &overloadFields, &connectionsMonitorFields,
		&extensionFields, &adminFields, &layerFields,
		&listenerFields, &additionalFields, &balanceFields, &deprecatedFields,
		&chainFields, &matchFields, &filterFields, &listenerFilterFields, &predicateFields,
		&addressFields, &socketFields, &boundFields, &socketOptionFields, &socketTypeFields, &overrideOptionsFields, &pipeFields, &internalFields, &keepaliveFields,
	}, clusterSupport()...)
}

var bootstrapFields = extension.Fields{
	Message: &bootstrapv3.Bootstrap{},
	Obeyed: []string{"node", "static_resources", "dynamic_resources", "cluster_manager", "overload_manager",
		"stats_config", "stats_flush_interval", "stats_flush_on_admin", "layered_runtime", "admin", "bootstrap_extensions"},
	Ignored: map[string]string{
		"node_context_params":              "told to control planes only, and there are none yet",
		"deferred_stat_options":            "saves Envoy memory; statistics are there from the start",
		"watchdog":                         "there are no event loops whose hanging would have to be noticed",
		"watchdogs":                        "there are no event loops whose hanging would have to be noticed",
		"enable_dispatcher_stats":          "there are no event loops to measure",
		"inline_headers":                   "makes Envoy's header lookups faster and changes nothing else",
		"grpc_async_client_manager_config": "tunes how long Envoy caches gRPC clients",
		"memory_allocator_manager":         "tunes tcmalloc; Go has its own allocator",
		"enable_worker_cpu_affinity":       "goroutines are not bound to processors",
	},
}

var staticFields = extension.Fields{
	Message: &bootstrapv3.Bootstrap_StaticResources{},
	Obeyed:  []string{"listeners", "clusters", "secrets"},
}

var dynamicFields = extension.Fields{
	Message: &bootstrapv3.Bootstrap_DynamicResources{},
	Obeyed:  []string{"lds_config", "cds_config"},
}

var managerFields = extension.Fields{
	Message: &bootstrapv3.ClusterManager{},
	Obeyed:  []string{"upstream_bind_config", "outlier_detection"},
	Ignored: map[string]string{"enable_deferred_cluster_creation": "saves Envoy memory; clusters are there from the start"},
}

var outlierManagerFields = extension.Fields{
	Message: &bootstrapv3.ClusterManager_OutlierDetection{},
	Obeyed:  []string{"event_log_path"},
}

var overloadFields = extension.Fields{
	Message: &overloadv3.OverloadManager{},
	Obeyed:  []string{"resource_monitors"},
	Ignored: map[string]string{
		"refresh_interval":      "without overload actions nothing follows from what is refreshed",
		"buffer_factory_config": "without overload actions nothing reads what it accounts",
	},
}

var connectionsMonitorFields = extension.Fields{
	Message: &downstreamv3.DownstreamConnectionsConfig{},
	Obeyed:  []string{"max_active_downstream_connections"},
}

var extensionFields = extension.Fields{
	Message: &internalv3.InternalListener{},
	Obeyed:  []string{"buffer_size_kb"},
}

var adminFields = extension.Fields{
	Message: &bootstrapv3.Admin{},
	Obeyed:  []string{"address", "access_log", "access_log_path"},
	Ignored: map[string]string{
		"profile_path":             "profiles are served under /debug/pprof/ and not written to files",
		"ignore_global_conn_limit": "the admin server is outside of the limit in any case",
	},
}

var layerFields = extension.Fields{
	Message: &bootstrapv3.RuntimeLayer{},
	Obeyed:  []string{"name", "static_layer", "admin_layer"},
}

var listenerFields = extension.Fields{
	Message: &listenerv3.Listener{},
	Obeyed: []string{"name", "address", "additional_addresses", "stat_prefix", "filter_chains", "filter_chain_matcher", "default_filter_chain",
		"per_connection_buffer_limit_bytes", "per_connection_buffer_high_watermark_timeout", "metadata", "deprecated_v1", "listener_filters", "listener_filters_timeout",
		"continue_on_listener_filters_timeout", "traffic_direction", "connection_balance_config", "enable_reuse_port",
		"access_log", "tcp_backlog_size", "bind_to_port", "use_original_dst", "internal_listener", "tcp_keepalive", "drain_type",
		"socket_options", "transparent", "freebind", "tcp_fast_open_queue_length", "enable_mptcp", "ignore_global_conn_limit", "bypass_overload_manager",
		"max_connections_to_accept_per_socket_event"},
	Ignored: map[string]string{
		"reuse_port": "Envoy 1.40 accepts it without effect; enable_reuse_port decides",
	},
}

var additionalFields = extension.Fields{
	Message: &listenerv3.AdditionalAddress{},
	Obeyed:  []string{"address", "tcp_keepalive", "socket_options"},
}

var balanceFields = extension.Fields{
	Message: &listenerv3.Listener_ConnectionBalanceConfig{},
	Obeyed:  []string{"exact_balance"},
	Ignored: map[string]string{"cpu_locality_balance": "event loops accept from one queue, whichever has time: there is no socket of a CPU to steer to"},
}

var deprecatedFields = extension.Fields{
	Message: &listenerv3.Listener_DeprecatedV1{},
	Obeyed:  []string{"bind_to_port"},
}

var chainFields = extension.Fields{
	Message:  &listenerv3.FilterChain{},
	Obeyed:   []string{"filter_chain_match", "filters", "metadata", "transport_socket", "transport_socket_connect_timeout", "name"},
	Defaults: map[string]string{"use_proxy_proto": "false"},
}

var matchFields = extension.Fields{
	Message: &listenerv3.FilterChainMatch{},
	Obeyed: []string{"destination_port", "prefix_ranges", "direct_source_prefix_ranges", "source_type",
		"source_prefix_ranges", "source_ports", "server_names", "transport_protocol", "application_protocols"},
}

const typeDecides = "the type of the configuration decides which extension it is, in Envoy too"

var filterFields = extension.Fields{
	Message: &listenerv3.Filter{},
	Obeyed:  []string{"typed_config"},
	Ignored: map[string]string{"name": typeDecides},
}

var listenerFilterFields = extension.Fields{
	Message: &listenerv3.ListenerFilter{},
	Obeyed:  []string{"typed_config", "filter_disabled"},
	Ignored: map[string]string{"name": typeDecides},
}

var addressFields = extension.Fields{
	Message: &corev3.Address{},
	Obeyed:  []string{"socket_address", "pipe", "envoy_internal_address"},
}

var socketFields = extension.Fields{
	Message:  &corev3.SocketAddress{},
	Obeyed:   []string{"address", "port_value", "ipv4_compat"},
	Defaults: map[string]string{"resolver_name": "envoy.ip"},
}

// boundFields are of addresses that are bound here, of listeners and the admin server.
var boundFields = extension.Fields{
	Message: &corev3.SocketAddress{}, Where: "listener, admin",
	Obeyed:   []string{"address", "port_value", "ipv4_compat", "network_namespace_filepath"},
	Defaults: map[string]string{"resolver_name": "envoy.ip"},
}

var pipeFields = extension.Fields{
	Message: &corev3.Pipe{},
	Obeyed:  []string{"path", "mode"},
}

var internalFields = extension.Fields{
	Message: &corev3.EnvoyInternalAddress{},
	Obeyed:  []string{"server_listener_name", "endpoint_id"},
}

var keepaliveFields = extension.Fields{
	Message: &corev3.TcpKeepalive{},
	Obeyed:  []string{"keepalive_probes", "keepalive_time", "keepalive_interval"},
}
