package hcm

import (
	"net/netip"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/accesslog"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/state"
)

// Register adds the filter to a registry.
func Register(r *extension.Registry) { extension.Register(r, extension.TerminalFilter, compile) }

func compile(s *extension.Scope, m *hcmv3.HttpConnectionManager) filter.TerminalFactory {
	fields.Check(s, m)
	c := &Config{StatPrefix: m.GetStatPrefix(), RouteStats: m.GetRecordRouteResolutionStats()}
	if c.StatPrefix == "" {
		s.Field("stat_prefix").Errorf("is required")
	}
	switch m.GetCodecType() {
	case hcmv3.HttpConnectionManager_AUTO:
	case hcmv3.HttpConnectionManager_HTTP1:
		c.Codec = HTTP1
	case hcmv3.HttpConnectionManager_HTTP2:
		c.Codec = HTTP2
	default:
		s.Field("codec_type").Errorf("not supported yet: %v", m.GetCodecType())
	}
	c.routes(s, m)
	c.Filters = compileFilters(s.Field("http_filters"), m.GetHttpFilters())
	c.upgrades(s.Field("upgrade_configs"), m.GetUpgradeConfigs())
	c.request(s, m)
	c.paths(s, m)
	c.response(m)
	c.Response.proxyStatus = compileProxyStatus(s.Field("proxy_status_config"), m.GetProxyStatusConfig())
	c.limits(s, m)
	c.logs(s, m)
	c.Reply = compileReply(s.Field("local_reply_config"), m.GetLocalReplyConfig())
	c.Codecs = compileCodecs(s, m, &c.Limits)
	return c
}

func (c *Config) routes(s *extension.Scope, m *hcmv3.HttpConnectionManager) {
	c.Routes = &route.Table{}
	switch r := m.GetRouteSpecifier().(type) {
	case *hcmv3.HttpConnectionManager_RouteConfig:
		if t, ok := route.Compile(s.Field("route_config"), r.RouteConfig, route.Options{}); ok {
			c.Routes = t
		}
	case *hcmv3.HttpConnectionManager_Rds:
		c.RDS = compileRDS(s.Field("rds"), r.Rds)
	case nil:
		s.Errorf("one of route_config, rds and scoped_routes is required")
	default: // fields.Check has refused it
	}
}

func (c *Config) upgrades(s *extension.Scope, list []*hcmv3.HttpConnectionManager_UpgradeConfig) {
	seen := make(map[string]bool)
	for i, m := range list {
		s, kind := s.Index(i), strings.ToLower(m.GetUpgradeType())
		upgradeFields.Check(s, m)
		if seen[kind] {
			s.Errorf("Error: multiple upgrade configs with the same name: '%s'", m.GetUpgradeType())
		}
		seen[kind] = true
		u := upgrade{kind: kind, enabled: m.GetEnabled() == nil || m.GetEnabled().Value}
		if len(m.GetFilters()) > 0 {
			u.filters = compileFilters(s.Field("filters"), m.GetFilters())
		}
		c.Upgrades = append(c.Upgrades, u)
	}
}

func (c *Config) request(s *extension.Scope, m *hcmv3.HttpConnectionManager) {
	c.Request = requestOptions{
		useRemoteAddress: m.GetUseRemoteAddress().GetValue(),
		trustedHops:      m.GetXffNumTrustedHops(),
		skipXFFAppend:    m.GetSkipXffAppend(),
		mappedIPv6:       m.GetRepresentIpv4RemoteAddressAsIpv4MappedIpv6(),
		internal:         internal(s.Field("internal_address_config"), m.GetInternalAddressConfig()),
		forwardedPort:    m.GetAppendXForwardedPort(),
		via:              m.GetVia(),
		userAgent:        m.GetAddUserAgent().GetValue(),

		generateID:         m.GetGenerateRequestId() == nil || m.GetGenerateRequestId().Value,
		preserveExternalID: m.GetPreserveExternalRequestId(),
		proxyContinue:      m.GetProxy_100Continue(),
		early:              compileEarly(s.Field("early_header_mutation_extensions"), m.GetEarlyHeaderMutationExtensions()),
		schemeOf:           compilePorts(s.Field("forward_proto_config"), m.GetForwardProtoConfig()),
	}
	c.origins(s, m)
	c.Request.certs(s, m)
	if t := m.GetSchemeHeaderTransformation(); t != nil {
		schemeFields.Check(s.Field("scheme_header_transformation"), t)
		c.Request.scheme = t.GetSchemeToOverwrite()
		c.Request.schemeOfHost = t.GetMatchUpstream() && c.Request.scheme == ""
		if c.Request.scheme != "" && c.Request.scheme != "http" && c.Request.scheme != "https" {
			s.Field("scheme_header_transformation.scheme_to_overwrite").Errorf("must be http or https, not %q", c.Request.scheme)
		}
	}
	if x := m.GetRequestIdExtension(); x != nil {
		requestIDFields.Check(s.Field("request_id_extension"), x)
		at := s.Field("request_id_extension.typed_config")
		if msg, ok := at.Unpack(x.GetTypedConfig()); ok {
			if u, ok := msg.(*uuidv3.UuidRequestIdConfig); ok {
				uuidFields.Check(at, u)
			} else {
				at.Errorf("not supported yet: %s", msg.ProtoReflect().Descriptor().FullName())
			}
		}
	}
}

func (c *Config) paths(s *extension.Scope, m *hcmv3.HttpConnectionManager) {
	r := &c.Request
	r.normalizePath, r.mergeSlashes = m.GetNormalizePath().GetValue(), m.GetMergeSlashes()
	switch m.GetPathWithEscapedSlashesAction() {
	case hcmv3.HttpConnectionManager_REJECT_REQUEST:
		r.escapedSlashes = rejectSlashes
	case hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT:
		r.escapedSlashes = redirectSlashes
	case hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD:
		r.escapedSlashes = unescapeSlashes
	}
	r.stripDot = m.GetStripTrailingHostDot()
	switch {
	case m.GetStripAnyHostPort() && m.GetStripMatchingHostPort():
		s.Field("strip_any_host_port").Errorf("Error: Only one of `strip_matching_host_port` or `strip_any_host_port` can be set.")
	case m.GetStripAnyHostPort():
		r.stripPort = stripAnyPort
	case m.GetStripMatchingHostPort():
		r.stripPort = stripMatchingPort
	}
}

// internal compiles internal_address_config: without ranges it means those that are
// never routed between networks.
func internal(s *extension.Scope, m *hcmv3.HttpConnectionManager_InternalAddressConfig) (out internalAddresses) {
	if m == nil {
		return out
	}
	internalFields.Check(s, m)
	out.unix = m.GetUnixSockets()
	out.ranges = compileRanges(s.Field("cidr_ranges"), m.GetCidrRanges())
	if len(m.GetCidrRanges()) == 0 {
		for _, p := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.1/32", "fd00::/8", "::1/128"} {
			out.ranges = append(out.ranges, netip.MustParsePrefix(p))
		}
	}
	return out
}

func (c *Config) response(m *hcmv3.HttpConnectionManager) {
	c.Response = responseOptions{serverName: m.GetServerName(), via: m.GetVia(), requestID: m.GetAlwaysSetRequestIdInResponse()}
	if c.Response.serverName == "" {
		c.Response.serverName = "envoy"
	}
	switch m.GetServerHeaderTransformation() {
	case hcmv3.HttpConnectionManager_APPEND_IF_ABSENT:
		c.Response.server = appendServer
	case hcmv3.HttpConnectionManager_PASS_THROUGH:
		c.Response.server = passServer
	}
}

// duration is a field with a default; 0 switches the limit off.
func duration(d *durationpb.Duration, def time.Duration) time.Duration {
	if d == nil {
		return def
	}
	return d.AsDuration()
}

func (c *Config) limits(s *extension.Scope, m *hcmv3.HttpConnectionManager) {
	o := m.GetCommonHttpProtocolOptions()
	if o != nil {
		commonFields.Check(s.Field("common_http_protocol_options"), o)
	}
	c.Limits = limits{
		idle:           duration(o.GetIdleTimeout(), time.Hour),
		duration:       o.GetMaxConnectionDuration().AsDuration(),
		durationJitter: o.GetMaxConnectionDurationJitter().GetValue() / 100,
		safeDuration:   m.GetHttp1SafeMaxConnectionDuration(),
		requests:       o.GetMaxRequestsPerConnection().GetValue(),
		drain:          duration(m.GetDrainTimeout(), 5*time.Second),
		drainJitter:    m.GetDrainTimeoutJitter().GetValue() / 100,
		delayedClose:   duration(m.GetDelayedCloseTimeout(), time.Second),
		streamIdle:     duration(m.GetStreamIdleTimeout(), 5*time.Minute),
		flush:          m.GetStreamFlushTimeout().AsDuration(),
		request:        m.GetRequestTimeout().AsDuration(),
		requestHeaders: m.GetRequestHeadersTimeout().AsDuration(),
		stream:         o.GetMaxStreamDuration().AsDuration(),
	}
}

func (c *Config) logs(s *extension.Scope, m *hcmv3.HttpConnectionManager) {
	c.Logs = logOptions{
		factories: accesslog.Compile(s.Field("access_log"), m.GetAccessLog()),
		every:     m.GetAccessLogFlushInterval().AsDuration(), onStart: m.GetFlushAccessLogOnNewRequest(),
	}
	o := m.GetAccessLogOptions()
	if o == nil {
		return
	}
	if m.GetAccessLogFlushInterval() != nil {
		s.Field("access_log_flush_interval").Errorf("Only one of access_log_flush_interval or access_log_options can be specified.")
	}
	if m.GetFlushAccessLogOnNewRequest() {
		s.Field("flush_access_log_on_new_request").Errorf("Only one of flush_access_log_on_new_request or access_log_options can be specified.")
	}
	logFields.Check(s.Field("access_log_options"), o)
	c.Logs.every, c.Logs.onStart = o.GetAccessLogFlushInterval().AsDuration(), o.GetFlushAccessLogOnNewRequest()
	c.Logs.onTunnel = o.GetFlushLogOnTunnelSuccessfullyEstablished()
}

func compileReply(s *extension.Scope, m *hcmv3.LocalReplyConfig) (out replyOptions) {
	if m == nil {
		return out
	}
	replyFields.Check(s, m)
	out.format = compileBody(s.Field("body_format"), m.GetBodyFormat())
	for i, x := range m.GetMappers() {
		s := s.Field("mappers").Index(i)
		mapperFields.Check(s, x)
		if x.GetFilter() == nil {
			s.Field("filter").Errorf("is required")
		}
		p := mapper{
			when:    accesslog.CompileCondition(s.Field("filter"), x.GetFilter()),
			status:  int(x.GetStatusCode().GetValue()),
			format:  compileBody(s.Field("body_format_override"), x.GetBodyFormatOverride()),
			headers: route.CompileMutations(s, "headers", x.GetHeadersToAdd(), nil, state.Options{}),
		}
		if c := x.GetStatusCode(); c != nil && (c.Value < 200 || c.Value > 599) {
			s.Field("status_code").Errorf("must be from 200 to 599, not %d", c.Value)
		}
		if b := x.GetBody(); b != nil {
			if text, ok := state.ReadSource(s.Field("body"), b); ok {
				p.body = &text
			}
		}
		out.mappers = append(out.mappers, p)
	}
	return out
}

func compileBody(s *extension.Scope, m *corev3.SubstitutionFormatString) *bodyFormat {
	if m == nil {
		return nil
	}
	f, ok := state.CompileFormat(s, m)
	if !ok {
		return nil
	}
	out := &bodyFormat{text: f, contentType: m.GetContentType()}
	if out.contentType == "" {
		out.contentType = textPlain
		if m.GetJsonFormat() != nil {
			out.contentType = applicationJSON
		}
	}
	return out
}
