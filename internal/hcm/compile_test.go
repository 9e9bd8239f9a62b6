package hcm

import (
	"strings"
	"testing"
	"time"

	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/http1"
	"github.com/ginnel/ginnel/internal/http2"
)

// compiled compiles a message of which the required fields are given.
func compiled(t *testing.T, fields string) (*Config, []extension.Issue) {
	t.Helper()
	var m hcmv3.HttpConnectionManager
	text := `{"stat_prefix": "s", "route_config": {}, "http_filters": [{"name": "r", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}`
	if err := protojson.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	var over hcmv3.HttpConnectionManager
	if err := protojson.Unmarshal([]byte(fields), &over); err != nil {
		t.Fatal(err)
	}
	merge(&m, &over)
	registry := &extension.Registry{}
	extension.Register(registry, extension.HTTPTerminal, func(*extension.Scope, *routerv3.Router) filter.HTTPTerminalFactory {
		return terminal(hello)
	})
	report := &extension.Report{}
	return compile(extension.NewScope(report, registry, unmarshal).At("hcm"), &m).(*Config), report.Issues
}

// merge puts the fields that over has in place of those of m.
func merge(m, over *hcmv3.HttpConnectionManager) {
	from, to := over.ProtoReflect(), m.ProtoReflect()
	for i := range from.Descriptor().Fields().Len() {
		if fd := from.Descriptor().Fields().Get(i); from.Has(fd) {
			to.Set(fd, from.Get(fd))
		}
	}
}

// What an empty message means is Envoy's.
func TestDefaults(t *testing.T) {
	c, issues := compiled(t, `{}`)
	if len(issues) > 0 {
		t.Fatalf("%+v", issues)
	}
	if c.Limits != defaults || !c.Request.generateID || c.Response.serverName != "envoy" || c.Codec != Auto {
		t.Errorf("%+v", c)
	}
	if o := c.Codecs.http1; !o.AllowAbsoluteURL || o.DelayedCloseTimeout != time.Second {
		t.Errorf("%+v", o)
	}
}

func TestRefusedFields(t *testing.T) {
	for _, c := range []struct{ fields, path, text string }{
		{`{"rds": {"route_config_name": "r"}}`, "hcm.rds.config_source", "is required"},
		{`{"rds": {"config_source": {"path": "x"}}}`, "hcm.rds.route_config_name", "is required"},
		{`{"rds": {"route_config_name": "r", "config_source": {"ads": {}}}}`, "hcm.rds.config_source.ads", "not supported yet"},
		{`{"scoped_routes": {"name": "r"}}`, "hcm.scoped_routes", "not supported yet"},
		{`{"tracing": {}}`, "hcm.tracing", "not supported yet"},
		{`{"codec_type": "HTTP3"}`, "hcm.codec_type", "HTTP3"},
		{`{"original_ip_detection_extensions": [{"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig", "xff_num_trusted_hops": 1, "xff_trusted_cidrs": {}}}]}`,
			"hcm.original_ip_detection_extensions[0].typed_config", "Cannot set both"},
		{`{"original_ip_detection_extensions": [{"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig"}}]}`,
			"hcm.original_ip_detection_extensions[0].typed_config.header_name", "is required"},
		{`{"use_remote_address": true, "original_ip_detection_extensions": [{"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"}}]}`,
			"hcm.original_ip_detection_extensions", "may not be mixed"},
		{`{"early_header_mutation_extensions": [{"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig"}}]}`,
			"hcm.early_header_mutation_extensions[0].typed_config", "not supported yet"},
		{`{"forward_proto_config": {"https_destination_ports": [0]}}`, "hcm.forward_proto_config.https_destination_ports[0]", "from 1 to 65535"},
		{`{"typed_header_validation_config": {"name": "x"}}`, "hcm.typed_header_validation_config", "not supported yet"},
		{`{"strip_any_host_port": true, "strip_matching_host_port": true}`, "hcm.strip_any_host_port", "Only one of"},
		{`{"max_request_headers_kb": 8193}`, "hcm.max_request_headers_kb", "8192"},
		{`{"upgrade_configs": [{"upgrade_type": "a"}, {"upgrade_type": "A"}]}`, "hcm.upgrade_configs[1]", "multiple upgrade configs"},
		{`{"internal_address_config": {"cidr_ranges": [{"address_prefix": "x"}]}}`, "hcm.internal_address_config.cidr_ranges[0].address_prefix", "malformed"},
		{`{"http_filters": [{"name": "x"}]}`, "hcm.http_filters[0].typed_config", "is required"},
		{`{"http_filters": [{"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}, {"name": "y", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}`,
			"hcm.http_filters[0]", "must be the last filter"},
		{`{"access_log_options": {}, "access_log_flush_interval": "1s"}`, "hcm.access_log_flush_interval", "Only one of"},
		{`{"local_reply_config": {"mappers": [{"status_code": 100}]}}`, "hcm.local_reply_config.mappers[0].status_code", "from 200 to 599"},
		{`{"local_reply_config": {"mappers": [{}]}}`, "hcm.local_reply_config.mappers[0].filter", "is required"},
		{`{"request_id_extension": {"typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}`, "hcm.request_id_extension.typed_config", "not supported yet"},
		{`{"http2_protocol_options": {"initial_stream_window_size": 1}}`, "hcm.http2_protocol_options.initial_stream_window_size", "65535"},
		{`{"http_protocol_options": {"header_key_format": {}}}`, "hcm.http_protocol_options.header_key_format", "one of"},
	} {
		_, issues := compiled(t, c.fields)
		found := false
		for _, i := range issues {
			found = found || i.Path == c.path && strings.Contains(i.Message, c.text) && i.Severity == extension.Error
		}
		if !found {
			t.Errorf("%s: %+v", c.fields, issues)
		}
	}
}

// A list of filters that ends no request gets a router, and a warning.
func TestMissingRouter(t *testing.T) {
	m := &hcmv3.HttpConnectionManager{}
	registry := &extension.Registry{}
	extension.Register(registry, extension.HTTPTerminal, func(*extension.Scope, *routerv3.Router) filter.HTTPTerminalFactory {
		return terminal(hello)
	})
	report := &extension.Report{}
	list := compileFilters(extension.NewScope(report, registry, unmarshal).At("http_filters"), m.GetHttpFilters())
	if len(list) != 1 || list[0].terminal == nil {
		t.Fatalf("%+v", list)
	}
	if len(report.Issues) != 1 || report.Issues[0].Severity != extension.Warning || report.Issues[0].Path != "http_filters" {
		t.Errorf("%+v", report.Issues)
	}
}

func TestCodecOptions(t *testing.T) {
	c, issues := compiled(t, `{
		"max_request_headers_kb": 96, "request_headers_timeout": "3s", "delayed_close_timeout": "0s",
		"stream_error_on_invalid_http_message": true,
		"common_http_protocol_options": {"max_headers_count": 7, "headers_with_underscores_action": "DROP_HEADER"},
		"http_protocol_options": {"accept_http_10": true, "default_host_for_http_10": "h", "enable_trailers": true, "allow_absolute_url": false,
			"header_key_format": {"proper_case_words": {}}, "ignore_http_11_upgrade": [{"exact": "x"}]},
		"http2_protocol_options": {"hpack_table_size": 0, "max_concurrent_streams": 5, "allow_connect": true,
			"override_stream_error_on_invalid_http_message": false, "connection_keepalive": {"interval": "1s", "timeout": "2s"}}}`)
	if len(issues) > 0 {
		t.Fatalf("%+v", issues)
	}
	one := c.Codecs.http1
	if one.IgnoreUpgrade == nil || !one.IgnoreUpgrade("x") || one.IgnoreUpgrade("y") {
		t.Error("ignored upgrades")
	}
	if one.MaxRequestHeadersBytes != 96<<10 || one.MaxHeadersCount != 7 || one.RequestHeadersTimeout != 3*time.Second ||
		one.DelayedCloseTimeout != 0 || one.HeadersWithUnderscoresAction != http1.DropHeader || !one.AcceptHTTP10 ||
		one.DefaultHostForHTTP10 != "h" || !one.EnableTrailers || one.AllowAbsoluteURL || !one.HeaderKeyFormat.ProperCase {
		t.Errorf("%+v", one)
	}
	two := c.Codecs.http2
	if two.TableSize >= 0 || two.MaxConcurrentStreams != 5 || !two.AllowConnect || two.StreamErrors || two.DelayedClose >= 0 ||
		two.MaxHeaderBytes != 96<<10 || two.MaxHeaders != 7 || two.Underscores != http2.DropUnderscores ||
		two.Keepalive != (http2.Keepalive{Interval: time.Second, Timeout: 2 * time.Second, Jitter: 0.15}) {
		t.Errorf("%+v", two)
	}
}
