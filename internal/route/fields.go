package route

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	allowlistedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/allow_listed_routes/v3"
	uritemplatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	urirewritev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/rewrite/uri_template/v3"
	omitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/omit_host_metadata/v3"
	prioritiesv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"

	"github.com/ginnel/ginnel/extension"
)

const noTracing = "nothing is traced, and without tracing Envoy does nothing with it either"

var (
	tableFields = extension.Fields{
		Message: &routev3.RouteConfiguration{},
		Obeyed: []string{"name", "virtual_hosts", "internal_only_headers", "response_headers_to_add",
			"response_headers_to_remove", "request_headers_to_add", "request_headers_to_remove",
			"most_specific_header_mutations_wins", "validate_clusters", "max_direct_response_body_size_bytes",
			"request_mirror_policies", "ignore_port_in_host_matching", "vhost_header",
			"ignore_path_parameters_in_path_matching", "typed_per_filter_config", "metadata"},
	}
	hostFields = extension.Fields{
		Message: &routev3.VirtualHost{},
		Obeyed: []string{"name", "domains", "routes", "matcher", "require_tls", "virtual_clusters", "request_headers_to_add",
			"request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove",
			"typed_per_filter_config", "include_request_attempt_count", "include_attempt_count_in_response",
			"retry_policy", "retry_policy_typed_config", "hedge_policy", "include_is_timeout_retry_header",
			"per_request_buffer_limit_bytes", "request_body_buffer_limit", "request_mirror_policies", "metadata"},
	}
	routeListFields = extension.Fields{Message: &routev3.RouteList{}, Obeyed: []string{"routes"}}
	routeFields     = extension.Fields{
		Message: &routev3.Route{},
		Obeyed: []string{"name", "match", "route", "redirect", "direct_response", "metadata",
			"typed_per_filter_config", "request_headers_to_add", "request_headers_to_remove",
			"response_headers_to_add", "response_headers_to_remove", "per_request_buffer_limit_bytes",
			"request_body_buffer_limit", "stat_prefix"},
		Ignored: map[string]string{"decorator": noTracing, "tracing": noTracing},
	}
	matchFields = extension.Fields{
		Message: &routev3.RouteMatch{},
		Obeyed: []string{"prefix", "path", "safe_regex", "connect_matcher", "path_separated_prefix",
			"path_match_policy", "case_sensitive", "runtime_fraction", "headers", "query_parameters", "cookies",
			"grpc", "tls_context", "dynamic_metadata", "filter_state"},
	}
	actionFields = extension.Fields{
		Message: &routev3.RouteAction{},
		Obeyed: []string{"cluster", "cluster_header", "weighted_clusters", "cluster_not_found_response_code",
			"metadata_match", "prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite",
			"host_rewrite_literal", "auto_host_rewrite", "host_rewrite_header", "host_rewrite_path_regex",
			"host_rewrite", "append_x_forwarded_host", "timeout", "idle_timeout", "flush_timeout", "retry_policy",
			"retry_policy_typed_config", "request_mirror_policies", "priority", "hash_policy", "max_grpc_timeout",
			"grpc_timeout_offset", "upgrade_configs", "internal_redirect_policy", "internal_redirect_action",
			"max_internal_redirects", "hedge_policy", "max_stream_duration"},
		Defaults: map[string]string{"include_vh_rate_limits": "false"},
	}
	weightedFields = extension.Fields{
		Message: &routev3.WeightedCluster{},
		Obeyed:  []string{"clusters", "runtime_key_prefix", "header_name", "use_hash_policy"},
		Ignored: map[string]string{"total_weight": "the sum of the weights is what counts, in Envoy, too"},
	}
	shareFields = extension.Fields{
		Message: &routev3.WeightedCluster_ClusterWeight{},
		Obeyed: []string{"name", "cluster_header", "weight", "metadata_match", "request_headers_to_add",
			"request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove",
			"typed_per_filter_config", "host_rewrite_literal"},
	}
	redirectFields = extension.Fields{
		Message: &routev3.RedirectAction{},
		Obeyed: []string{"https_redirect", "scheme_redirect", "host_redirect", "port_redirect", "path_redirect",
			"prefix_rewrite", "regex_rewrite", "path_rewrite", "response_code", "strip_query"},
	}
	directFields = extension.Fields{
		Message: &routev3.DirectResponseAction{},
		Obeyed:  []string{"status", "body", "body_format"},
	}
	optionFields = extension.Fields{
		Message: &corev3.HeaderValueOption{},
		Obeyed:  []string{"header", "append", "append_action", "keep_empty_value"},
	}
	headerValueFields = extension.Fields{
		Message: &corev3.HeaderValue{},
		Obeyed:  []string{"key", "value"},
	}
	stepFields = extension.Fields{
		Message: &mutationv3.HeaderMutation{},
		Obeyed:  []string{"remove", "append", "remove_on_match"},
	}
	filterFields = extension.Fields{
		Message: &routev3.FilterConfig{},
		Obeyed:  []string{"config", "is_optional", "disabled"},
	}
	upgradeFields = extension.Fields{
		Message: &routev3.RouteAction_UpgradeConfig{},
		Obeyed:  []string{"upgrade_type", "enabled", "connect_config"},
	}
	connectFields = extension.Fields{
		Message: &routev3.RouteAction_UpgradeConfig_ConnectConfig{},
		Obeyed:  []string{"allow_post", "proxy_protocol_config"},
	}
	proxyFields = extension.Fields{Message: &corev3.ProxyProtocolConfig{}, Obeyed: []string{"version"}}
	retryFields = extension.Fields{
		Message: &routev3.RetryPolicy{},
		Obeyed: []string{"retry_on", "num_retries", "per_try_timeout", "per_try_idle_timeout",
			"retry_priority", "retry_host_predicate", "host_selection_retry_max_attempts", "retriable_status_codes",
			"retry_back_off", "rate_limited_retry_back_off", "retriable_headers", "retriable_request_headers"},
		Ignored: map[string]string{"refresh_cluster_on_retry": "it is for cluster specifiers that there are none of"},
	}
	backOffFields = extension.Fields{
		Message: &routev3.RetryPolicy_RetryBackOff{},
		Obeyed:  []string{"base_interval", "max_interval"},
	}
	rateLimitedFields = extension.Fields{
		Message: &routev3.RetryPolicy_RateLimitedRetryBackOff{},
		Obeyed:  []string{"reset_headers", "max_interval"},
	}
	omitFields = extension.Fields{
		Message: &omitv3.OmitHostMetadataConfig{},
		Obeyed:  []string{"metadata_match"},
	}
	prioritiesFields = extension.Fields{
		Message: &prioritiesv3.PreviousPrioritiesConfig{},
		Obeyed:  []string{"update_frequency"},
	}
	hedgeFields = extension.Fields{
		Message: &routev3.HedgePolicy{},
		Obeyed:  []string{"hedge_on_per_try_timeout"},
		Ignored: map[string]string{
			"initial_requests":          "Envoy 1.40 does nothing with it",
			"additional_request_chance": "Envoy 1.40 does nothing with it",
		},
	}
	hashFields = extension.Fields{
		Message: &routev3.RouteAction_HashPolicy{},
		Obeyed:  []string{"header", "cookie", "connection_properties", "query_parameter", "filter_state", "terminal"},
	}
	headerHashFields = extension.Fields{
		Message: &routev3.RouteAction_HashPolicy_Header{},
		Obeyed:  []string{"header_name", "regex_rewrite"},
	}
	cookieHashFields = extension.Fields{
		Message: &routev3.RouteAction_HashPolicy_Cookie{},
		Obeyed:  []string{"name", "ttl", "path", "attributes"},
	}
	mirrorFields = extension.Fields{
		Message: &routev3.RouteAction_RequestMirrorPolicy{},
		Obeyed: []string{"cluster", "cluster_header", "runtime_fraction", "disable_shadow_host_suffix_append",
			"request_headers_mutations", "host_rewrite_literal"},
		Ignored: map[string]string{"trace_sampled": noTracing},
	}
	internalRedirectFields = extension.Fields{
		Message: &routev3.InternalRedirectPolicy{},
		Obeyed: []string{"max_internal_redirects", "redirect_response_codes", "predicates",
			"allow_cross_scheme_redirect", "response_headers_to_copy"},
	}
	allowListedFields = extension.Fields{
		Message: &allowlistedv3.AllowListedRoutesConfig{},
		Obeyed:  []string{"allowed_route_names"},
	}
	virtualClusterFields = extension.Fields{
		Message: &routev3.VirtualCluster{},
		Obeyed:  []string{"name", "headers"},
	}
	templateFields = extension.Fields{
		Message: &uritemplatev3.UriTemplateMatchConfig{},
		Obeyed:  []string{"path_template"},
	}
	templateRewriteFields = extension.Fields{
		Message: &urirewritev3.UriTemplateRewriteConfig{},
		Obeyed:  []string{"path_template_rewrite"},
	}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{
		&tableFields, &hostFields, &routeListFields, &routeFields, &matchFields, &actionFields, &weightedFields, &shareFields,
		&redirectFields, &directFields, &optionFields, &headerValueFields, &stepFields,
		&filterFields, &upgradeFields, &connectFields, &proxyFields, &retryFields, &backOffFields, &rateLimitedFields,
		&omitFields, &prioritiesFields, &hedgeFields, &hashFields, &headerHashFields, &cookieHashFields, &mirrorFields,
		&internalRedirectFields, &allowListedFields, &virtualClusterFields, &templateFields,
		&templateRewriteFields,
	}
}
