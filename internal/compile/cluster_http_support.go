package compile

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	preservecasev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/ginnel/ginnel/extension"
)

// httpOptionsName is the type of what a cluster says of HTTP.
const httpOptionsName = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

var httpOptionsFields = extension.Fields{
	Message: &httpv3.HttpProtocolOptions{},
	Obeyed: []string{
		"common_http_protocol_options", "upstream_http_protocol_options", "explicit_http_config",
		"use_downstream_protocol_config", "auto_config", "http_filters", "retry_policy", "request_mirror_policies", "hash_policy",
	},
}

var explicitFields = extension.Fields{
	Message: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{},
	Obeyed:  []string{"http_protocol_options", "http2_protocol_options"},
}

var useDownstreamFields = extension.Fields{
	Message: &httpv3.HttpProtocolOptions_UseDownstreamHttpConfig{},
	Obeyed:  []string{"http_protocol_options", "http2_protocol_options"},
}

var autoFields = extension.Fields{
	Message: &httpv3.HttpProtocolOptions_AutoHttpConfig{},
	Obeyed:  []string{"http_protocol_options", "http2_protocol_options"},
}

var commonHTTPFields = extension.Fields{
	Message: &corev3.HttpProtocolOptions{},
	Where:   "cluster",
	Obeyed: []string{
		"idle_timeout", "max_connection_duration", "max_connection_duration_jitter", "max_headers_count",
		"max_response_headers_kb", "max_stream_duration", "max_requests_per_connection",
	},
	Ignored: map[string]string{"headers_with_underscores_action": serverOnly},
}

var upstreamHTTPFields = extension.Fields{
	Message: &corev3.UpstreamHttpProtocolOptions{},
	Obeyed:  []string{"auto_sni", "auto_san_validation", "override_auto_sni_header"},
}

var http1Fields = extension.Fields{
	Message: &corev3.Http1ProtocolOptions{},
	Where:   "cluster",
	Obeyed:  []string{"header_key_format", "enable_trailers", "allow_chunked_length", "send_fully_qualified_url"},
	Ignored: map[string]string{
		"allow_absolute_url": serverOnly, "accept_http_10": serverOnly, "default_host_for_http_10": serverOnly,
		"allow_custom_methods": serverOnly, "ignore_http_11_upgrade": serverOnly,
		"override_stream_error_on_invalid_http_message": serverOnly,
		"use_balsa_parser": "chooses between Envoy's parsers",
	},
}

var preserveCaseFields = extension.Fields{
	Message: &preservecasev3.PreserveCaseFormatterConfig{},
	Obeyed:  []string{"formatter_type_on_envoy_headers", "forward_reason_phrase"},
}

var http2Fields = extension.Fields{
	Message: &corev3.Http2ProtocolOptions{},
	Where:   "cluster",
	Obeyed: []string{
		"hpack_table_size", "max_concurrent_streams", "initial_stream_window_size", "initial_connection_window_size",
		"allow_connect", "max_outbound_frames", "max_outbound_control_frames",
		"max_consecutive_inbound_frames_with_empty_payload", "max_inbound_priority_frames_per_stream",
		"max_inbound_window_update_frames_per_data_frame_sent", "stream_error_on_invalid_http_messaging",
		"override_stream_error_on_invalid_http_message", "custom_settings_parameters", "connection_keepalive",
		"enable_huffman_encoding", "max_header_field_size_kb", "disallow_obs_text",
	},
	Ignored: map[string]string{
		"use_oghttp2_codec":  "chooses between Envoy's codecs",
		"max_metadata_size":  "only allow_metadata, which is refused, leads to such frames",
		"stream_reset_burst": serverOnly, "stream_reset_rate": serverOnly,
	},
}

var pingFields = extension.Fields{
	Message: &corev3.KeepaliveSettings{},
	Where:   "cluster",
	Obeyed:  []string{"interval", "timeout", "interval_jitter", "connection_idle_interval"},
}

var preconnectFields = extension.Fields{
	Message: &clusterv3.Cluster_PreconnectPolicy{},
	Obeyed:  []string{"per_upstream_preconnect_ratio", "predictive_preconnect_ratio", "preconnect_enabled_metadata"},
}

var retryBudgetFields = extension.Fields{
	Message: &clusterv3.CircuitBreakers_Thresholds_RetryBudget{},
	Obeyed:  []string{"budget_percent", "min_retry_concurrency"},
}
