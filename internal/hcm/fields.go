package hcm

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/http2settings"
)

var fields = extension.Fields{
	Message: &hcmv3.HttpConnectionManager{},
	Obeyed: []string{
		"codec_type", "stat_prefix", "route_config", "rds", "http_filters", "add_user_agent",
		"common_http_protocol_options", "http1_safe_max_connection_duration", "http_protocol_options",
		"http2_protocol_options", "server_name", "server_header_transformation", "scheme_header_transformation",
		"max_request_headers_kb", "stream_idle_timeout", "stream_flush_timeout", "request_timeout",
		"request_headers_timeout", "drain_timeout", "drain_timeout_jitter", "delayed_close_timeout", "access_log",
		"access_log_flush_interval", "flush_access_log_on_new_request", "access_log_options", "use_remote_address",
		"xff_num_trusted_hops", "internal_address_config", "skip_xff_append", "via", "generate_request_id",
		"preserve_external_request_id", "always_set_request_id_in_response", "forward_client_cert_details",
		"set_current_client_cert_details", "proxy_100_continue", "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
		"upgrade_configs", "normalize_path", "merge_slashes", "path_with_escaped_slashes_action",
		"request_id_extension", "local_reply_config", "strip_matching_host_port", "strip_any_host_port",
		"stream_error_on_invalid_http_message", "strip_trailing_host_dot", "append_x_forwarded_port",
		"original_ip_detection_extensions", "early_header_mutation_extensions", "forward_proto_config", "proxy_status_config",
		"record_route_resolution_stats",
	},
	Ignored: map[string]string{
		"path_normalization_options":          "Envoy 1.40 accepts it without effect",
		"http3_protocol_options":              "HTTP/3, of which it speaks, is refused as codec_type",
		"append_local_overload":               "there is no overload manager, which alone makes it count",
		"add_proxy_protocol_connection_state": "what it adds to the filter state is for an upstream transport socket that is refused",
	},
}

var (
	commonFields = extension.Fields{
		Message: &corev3.HttpProtocolOptions{},
		Where:   ofManager,
		Obeyed: []string{"idle_timeout", "max_connection_duration", "max_connection_duration_jitter",
			"max_headers_count", "max_stream_duration", "headers_with_underscores_action", "max_requests_per_connection"},
		Ignored: map[string]string{"max_response_headers_kb": "it is for clusters; here Envoy 1.40 does not look at it"},
	}
	rdsFields = extension.Fields{
		Message: &hcmv3.Rds{},
		Obeyed:  []string{"config_source", "route_config_name"},
	}
	filterFields = extension.Fields{
		Message: &hcmv3.HttpFilter{},
		Obeyed:  []string{"name", "typed_config", "is_optional", "disabled"},
	}
	upgradeFields = extension.Fields{
		Message: &hcmv3.HttpConnectionManager_UpgradeConfig{},
		Obeyed:  []string{"upgrade_type", "filters", "enabled"},
	}
	internalFields = extension.Fields{
		Message: &hcmv3.HttpConnectionManager_InternalAddressConfig{},
		Obeyed:  []string{"unix_sockets", "cidr_ranges"},
	}
	cidrFields = extension.Fields{
		Message: &corev3.CidrRange{},
		Obeyed:  []string{"address_prefix", "prefix_len"},
	}
	certFields = extension.Fields{
		Message: &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{},
		Obeyed:  []string{"subject", "cert", "chain", "dns", "uri", "issuer"},
	}
	logFields = extension.Fields{
		Message: &hcmv3.HttpConnectionManager_HcmAccessLogOptions{},
		Obeyed: []string{"access_log_flush_interval", "flush_access_log_on_new_request",
			"flush_log_on_tunnel_successfully_established"},
	}
	schemeFields = extension.Fields{
		Message: &corev3.SchemeHeaderTransformation{},
		Obeyed:  []string{"scheme_to_overwrite", "match_upstream"},
	}
	replyFields = extension.Fields{
		Message: &hcmv3.LocalReplyConfig{},
		Obeyed:  []string{"mappers", "body_format"},
	}
	mapperFields = extension.Fields{
		Message: &hcmv3.ResponseMapper{},
		Obeyed:  []string{"filter", "status_code", "body", "body_format_override", "headers_to_add"},
	}
	requestIDFields = extension.Fields{
		Message: &hcmv3.RequestIDExtension{},
		Obeyed:  []string{"typed_config"},
	}
	uuidFields = extension.Fields{
		Message: &uuidv3.UuidRequestIdConfig{},
		Ignored: map[string]string{
			"pack_trace_reason":                 "there is no tracing, without which Envoy packs nothing",
			"use_request_id_for_trace_sampling": "there is no tracing",
		},
	}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{
		&fields, &rdsFields, &commonFields, &filterFields, &upgradeFields, &internalFields, &cidrFields, &certFields, &logFields,
		&schemeFields, &replyFields, &mapperFields, &requestIDFields, &uuidFields,
		&http1Fields, &keyFields, &preserveFields, &http2Fields, &http2settings.Fields, &pingFields,
		&xffFields, &trustedFields, &customHeaderFields, &rejectFields, &earlyFields, &protoFields, &statusFields,
	}
}
