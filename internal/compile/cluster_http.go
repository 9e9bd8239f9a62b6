package compile

import (
	"slices"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	preservecasev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/http2settings"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/transport"
)

// defaultIdleTimeout is Envoy's.
const defaultIdleTimeout = time.Hour

// httpOptions compiles how a cluster's hosts speak HTTP: the typed options, or where
// there are none the older fields of the cluster, which are not used beside them (Envoy).
func httpOptions(s *extension.Scope, c *clusterv3.Cluster) plan.HTTP {
	h := plan.HTTP{
		IdleTimeout: defaultIdleTimeout, MaxRequests: c.GetMaxRequestsPerConnection().GetValue(),
		PerDownstream: c.GetConnectionPoolPerDownstreamConnection(),
	}
	preconnect(s.Field("preconnect_policy"), c.GetPreconnectPolicy(), &h)
	if m, at := typedHTTPOptions(s, c); m != nil {
		httpOptionsFields.Check(at, m)
		commonHTTP(at.Field("common_http_protocol_options"), m.GetCommonHttpProtocolOptions(), &h)
		upstreamHTTP(at.Field("upstream_http_protocol_options"), m.GetUpstreamHttpProtocolOptions(), &h)
		upstreamFilters(at.Field("http_filters"), m)
		httpVersion(at, m, &h)
		if p := route.CompileClusterPolicies(at, m); p != nil {
			h.Policies = p
		}
		return h
	}
	olderHTTPOptions(s, c, &h)
	return h
}

// typedHTTPOptions returns the HttpProtocolOptions of a cluster; nil: it has none. They
// are found by their type, whatever their key.
func typedHTTPOptions(s *extension.Scope, c *clusterv3.Cluster) (*httpv3.HttpProtocolOptions, *extension.Scope) {
	for key, a := range c.GetTypedExtensionProtocolOptions() {
		if a.MessageIs(&httpv3.HttpProtocolOptions{}) {
			at := s.Field("typed_extension_protocol_options").Key(key)
			m, _ := at.Unpack(a) // checkProtocolOptions has reported what is wrong
			if o, ok := m.(*httpv3.HttpProtocolOptions); ok {
				return o, at
			}
		}
	}
	return nil, nil
}

func olderHTTPOptions(s *extension.Scope, c *clusterv3.Cluster, h *plan.HTTP) {
	commonHTTP(s.Field("common_http_protocol_options"), c.GetCommonHttpProtocolOptions(), h)
	upstreamHTTP(s.Field("upstream_http_protocol_options"), c.GetUpstreamHttpProtocolOptions(), h)
	one, two := c.GetHttpProtocolOptions(), c.GetHttp2ProtocolOptions()
	http1(s.Field("http_protocol_options"), one, &h.HTTP1)
	http2(s.Field("http2_protocol_options"), two, h)
	switch {
	case c.GetProtocolSelection() == clusterv3.Cluster_USE_DOWNSTREAM_PROTOCOL:
		h.Version = plan.AsDownstream
	case one != nil && two != nil:
		s.Errorf("cluster: Both HTTP1 and HTTP2 options may only be configured with non-default 'protocol_selection' values")
	case two != nil:
		h.Version = plan.HTTP2Only
	}
}

func httpVersion(s *extension.Scope, m *httpv3.HttpProtocolOptions, h *plan.HTTP) {
	switch v := m.GetUpstreamProtocolOptions().(type) {
	case *httpv3.HttpProtocolOptions_ExplicitHttpConfig_:
		at, e := s.Field("explicit_http_config"), v.ExplicitHttpConfig
		explicitFields.Check(at, e)
		http1(at.Field("http_protocol_options"), e.GetHttpProtocolOptions(), &h.HTTP1)
		http2(at.Field("http2_protocol_options"), e.GetHttp2ProtocolOptions(), h)
		if e.GetHttp2ProtocolOptions() != nil {
			h.Version = plan.HTTP2Only
		}
	case *httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig:
		at, e := s.Field("use_downstream_protocol_config"), v.UseDownstreamProtocolConfig
		useDownstreamFields.Check(at, e)
		http1(at.Field("http_protocol_options"), e.GetHttpProtocolOptions(), &h.HTTP1)
		http2(at.Field("http2_protocol_options"), e.GetHttp2ProtocolOptions(), h)
		h.Version = plan.AsDownstream
	case *httpv3.HttpProtocolOptions_AutoConfig:
		at, e := s.Field("auto_config"), v.AutoConfig
		autoFields.Check(at, e)
		http1(at.Field("http_protocol_options"), e.GetHttpProtocolOptions(), &h.HTTP1)
		http2(at.Field("http2_protocol_options"), e.GetHttp2ProtocolOptions(), h)
		h.Version = plan.Negotiated
	}
}

// checkALPN reports a cluster that is to choose its version by ALPN and has a transport
// without. One that did not compile is reported already.
func checkALPN(s *extension.Scope, c *clusterv3.Cluster, p *plan.Cluster) {
	if p.HTTP.Version != plan.Negotiated {
		return
	}
	_, at := typedHTTPOptions(s, c)
	lacks := func(t plan.Transport) bool { return t.Socket != nil && !transport.Negotiates(t.Socket) }
	if lacks(p.Transport) || slices.ContainsFunc(p.Transports, func(m plan.TransportMatch) bool { return lacks(m.Transport) }) {
		at.Field("auto_config").Errorf("ALPN configured for cluster %s which has a non-ALPN transport socket", c.GetName())
	}
}

func commonHTTP(s *extension.Scope, m *corev3.HttpProtocolOptions, h *plan.HTTP) {
	if m == nil {
		return
	}
	commonHTTPFields.Check(s, m)
	if d := m.GetIdleTimeout(); d != nil {
		h.IdleTimeout = d.AsDuration()
	}
	h.MaxDuration = durationOr(m.GetMaxConnectionDuration(), 0)
	h.MaxDurationJitter = m.GetMaxConnectionDurationJitter().GetValue()
	h.MaxStreamDuration = durationOr(m.GetMaxStreamDuration(), 0)
	h.MaxHeaders = m.GetMaxHeadersCount().GetValue()
	h.MaxHeaderBytes = int(m.GetMaxResponseHeadersKb().GetValue()) << 10
	if v := m.GetMaxRequestsPerConnection(); v != nil {
		h.MaxRequests = v.GetValue()
	}
}

func upstreamHTTP(s *extension.Scope, m *corev3.UpstreamHttpProtocolOptions, h *plan.HTTP) {
	if m == nil {
		return
	}
	upstreamHTTPFields.Check(s, m)
	h.AutoSNI, h.AutoSANs = m.GetAutoSni(), m.GetAutoSanValidation()
	h.SNIHeader = strings.ToLower(m.GetOverrideAutoSniHeader())
}

// upstreamFilters takes the list that says what is done anyway: the codec.
func upstreamFilters(s *extension.Scope, m *httpv3.HttpProtocolOptions) {
	const codec = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
	for i, f := range m.GetHttpFilters() {
		if string(f.GetTypedConfig().MessageName()) != codec {
			s.Index(i).Errorf("not supported yet: of upstream HTTP filters there is only %s", codec)
		}
	}
}

func preconnect(s *extension.Scope, m *clusterv3.Cluster_PreconnectPolicy, h *plan.HTTP) {
	if m == nil {
		return
	}
	preconnectFields.Check(s, m)
	if r := m.GetPerUpstreamPreconnectRatio(); r != nil {
		h.PerHostPreconnect = r.GetValue()
	}
}

func http1(s *extension.Scope, m *corev3.Http1ProtocolOptions, h *plan.HTTP1) {
	if m == nil {
		return
	}
	http1Fields.Check(s, m)
	*h = plan.HTTP1{
		Trailers: m.GetEnableTrailers(), AllowChunkedLength: m.GetAllowChunkedLength(), FullURL: m.GetSendFullyQualifiedUrl(),
	}
	switch f := m.GetHeaderKeyFormat().GetHeaderFormat().(type) {
	case *corev3.Http1ProtocolOptions_HeaderKeyFormat_ProperCaseWords_:
		h.ProperCase = true
	case *corev3.Http1ProtocolOptions_HeaderKeyFormat_StatefulFormatter:
		preserveCase(s.Field("header_key_format.stateful_formatter.typed_config"), f.StatefulFormatter, h)
	}
}

func preserveCase(s *extension.Scope, m *corev3.TypedExtensionConfig, h *plan.HTTP1) {
	config, ok := s.Unpack(m.GetTypedConfig())
	if !ok {
		return
	}
	f, ok := config.(*preservecasev3.PreserveCaseFormatterConfig)
	if !ok {
		s.Errorf("%s is a known type, but ginnel does not implement it as a header formatter", config.ProtoReflect().Descriptor().FullName())
		return
	}
	preserveCaseFields.Check(s, f)
	h.PreserveCase, h.ForwardPhrase = true, f.GetForwardReasonPhrase()
	h.ProperCase = f.GetFormatterTypeOnEnvoyHeaders() == preservecasev3.PreserveCaseFormatterConfig_PROPER_CASE
}

// http2 comes behind commonHTTP.
func http2(s *extension.Scope, m *corev3.Http2ProtocolOptions, all *plan.HTTP) {
	if m == nil {
		return
	}
	http2Fields.Check(s, m)
	h := &all.HTTP2
	*h = plan.HTTP2{
		TableBytes:   limit(m.GetHpackTableSize()),
		MaxStreams:   m.GetMaxConcurrentStreams().GetValue(),
		StreamWindow: m.GetInitialStreamWindowSize().GetValue(), ConnectionWindow: m.GetInitialConnectionWindowSize().GetValue(),
		AllowConnect: m.GetAllowConnect(), DisallowObsText: m.GetDisallowObsText().GetValue(),
		MaxOutboundFrames: limit(m.GetMaxOutboundFrames()), MaxOutboundControlFrames: limit(m.GetMaxOutboundControlFrames()),
		MaxEmptyFrames:             limit(m.GetMaxConsecutiveInboundFramesWithEmptyPayload()),
		MaxPriorityFramesPerStream: limit(m.GetMaxInboundPriorityFramesPerStream()),
		MaxWindowUpdatesPerData:    limit(m.GetMaxInboundWindowUpdateFramesPerDataFrameSent()),
		MaxFieldBytes:              http2settings.FieldBytes(s, m, all.MaxHeaderBytes, "max_response_headers_kb"),
		Huffman:                    m.GetEnableHuffmanEncoding().GetValue(),
	}
	h.StreamErrors = m.GetStreamErrorOnInvalidHttpMessaging()
	if v := m.GetOverrideStreamErrorOnInvalidHttpMessage(); v != nil {
		h.StreamErrors = v.GetValue()
	}
	h.Keepalive = http2Keepalive(s.Field("connection_keepalive"), m.GetConnectionKeepalive())
	http2settings.Custom(s, m, func(id uint16, value uint32) {
		h.Settings = append(h.Settings, plan.Setting{ID: id, Value: value})
	})
}

// limit is a limit where it is set: 0 then is -1, for 0 is the default.
func limit(v *wrapperspb.UInt32Value) int {
	switch {
	case v == nil:
		return 0
	case v.GetValue() == 0:
		return -1
	}
	return int(v.GetValue())
}

func http2Keepalive(s *extension.Scope, m *corev3.KeepaliveSettings) plan.HTTP2Keepalive {
	if m == nil {
		return plan.HTTP2Keepalive{}
	}
	pingFields.Check(s, m)
	k := plan.HTTP2Keepalive{
		Interval: durationOr(m.GetInterval(), 0), Timeout: durationOr(m.GetTimeout(), 0),
		JitterPercent: 15, IdleInterval: durationOr(m.GetConnectionIdleInterval(), 0),
	}
	if j := m.GetIntervalJitter(); j != nil {
		k.JitterPercent = j.GetValue()
	}
	return k
}
