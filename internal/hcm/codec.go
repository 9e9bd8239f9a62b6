package hcm

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	preservev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/http1"
	"github.com/ginnel/ginnel/internal/http2"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// codecOptions are the options of both codecs.
type codecOptions struct {
	http1 http1.ServerOptions
	http2 http2.ServerOptions
}

// codecs makes the codecs of a service's connections.
type codecs struct{ codecOptions }

func newCodecs(o codecOptions, env *filter.Env, st *stats) *codecs {
	k := &codecs{o}
	k.http1.DelayedCloseStruck = func() { st.cxDelayed.Add(1) }
	k.http2.DelayedCloseStruck = k.http1.DelayedCloseStruck
	k.http2.Violated = func() { st.cxProtocolError.Add(1) }
	k.http1.Hangups = env.Hangups
	s := env.Stats.Scope("http1.")
	dropped := s.Counter("dropped_headers_with_underscores")
	k.http1.DroppedUnderscore = func() { dropped.Add(1) }
	for _, name := range []string{"metadata_not_supported_error", "requests_rejected_with_underscores_in_headers", "response_flood"} {
		s.Counter(name)
	}
	k.http2.Stats = http2.NewStats(env.Stats.Scope("http2."))
	return k
}

func (k *codecs) server(kind Codec, c *conn) httpmsg.Server {
	if kind == HTTP2 {
		return http2.NewServer(c.stream(), &k.http2, c)
	}
	o := &k.http1
	if l := c.filter.Info.Listener; l != nil && l.BufferBytes > 0 && l.BufferBytes < http1.ReadAheadBytes {
		limited := *o
		limited.BufferBytes = l.BufferBytes
		o = &limited
	}
	return http1.NewServer(c.stream(), o, c)
}

var (
	http1Fields = extension.Fields{
		Message: &corev3.Http1ProtocolOptions{},
		Where:   ofManager,
		Obeyed: []string{"allow_absolute_url", "accept_http_10", "default_host_for_http_10", "header_key_format",
			"enable_trailers", "allow_chunked_length", "allow_custom_methods", "ignore_http_11_upgrade"},
		Ignored: map[string]string{
			"use_balsa_parser":         "there is one parser",
			"send_fully_qualified_url": "it is for clusters; a connection manager sends no targets",
		},
		Defaults: map[string]string{"override_stream_error_on_invalid_http_message": "false"},
	}
	keyFields = extension.Fields{
		Message: &corev3.Http1ProtocolOptions_HeaderKeyFormat{},
		Obeyed:  []string{"proper_case_words", "stateful_formatter"},
	}
	preserveFields = extension.Fields{
		Message: &preservev3.PreserveCaseFormatterConfig{},
		Obeyed:  []string{"formatter_type_on_envoy_headers", "forward_reason_phrase"}, // the latter by clusters
	}
)

func compileCodecs(s *extension.Scope, m *hcmv3.HttpConnectionManager, l *limits) (o codecOptions) {
	o.http1 = compileHTTP1(s.Field("http_protocol_options"), m.GetHttpProtocolOptions())
	common := m.GetCommonHttpProtocolOptions()
	o.http1.MaxRequestHeadersBytes = maxHeaders(s, m)
	o.http1.MaxHeadersCount = int(common.GetMaxHeadersCount().GetValue())
	_, o.http1.RequestHeadersTimeout = l.head()
	o.http1.DelayedCloseTimeout = l.delayedClose
	switch common.GetHeadersWithUnderscoresAction() {
	case corev3.HttpProtocolOptions_REJECT_REQUEST:
		o.http1.HeadersWithUnderscoresAction = http1.RejectRequest
	case corev3.HttpProtocolOptions_DROP_HEADER:
		o.http1.HeadersWithUnderscoresAction = http1.DropHeader
	}
	o.http2 = compileHTTP2(s.Field("http2_protocol_options"), m.GetHttp2ProtocolOptions(), o.http1.MaxRequestHeadersBytes, m.GetStreamErrorOnInvalidHttpMessage().GetValue())
	o.shared(l)
	return o
}

// maxHeaders is the most bytes of a head; 0: the default.
func maxHeaders(s *extension.Scope, m *hcmv3.HttpConnectionManager) int {
	kb := m.GetMaxRequestHeadersKb()
	if kb == nil {
		return 0
	}
	if kb.Value == 0 || kb.Value > 8192 {
		s.Field("max_request_headers_kb").Errorf("must be from 1 to 8192, not %d", kb.Value)
	}
	return int(kb.Value) << 10
}

func compileHTTP1(s *extension.Scope, m *corev3.Http1ProtocolOptions) http1.ServerOptions {
	o := http1.ServerOptions{AllowAbsoluteURL: true}
	if m == nil {
		return o
	}
	http1Fields.Check(s, m)
	if a := m.GetAllowAbsoluteUrl(); a != nil {
		o.AllowAbsoluteURL = a.Value
	}
	o.AcceptHTTP10, o.DefaultHostForHTTP10 = m.GetAcceptHttp_10(), m.GetDefaultHostForHttp_10()
	o.HeaderKeyFormat = keyFormat(s.Field("header_key_format"), m.GetHeaderKeyFormat())
	o.EnableTrailers = m.GetEnableTrailers()
	o.AllowChunkedLength = m.GetAllowChunkedLength()
	o.AllowCustomMethods = m.GetAllowCustomMethods()
	if list := m.GetIgnoreHttp_11Upgrade(); len(list) > 0 {
		var ignored []func(string) bool
		for i, x := range list {
			ignored = append(ignored, httpmatch.String(s.Field("ignore_http_11_upgrade").Index(i), x))
		}
		o.IgnoreUpgrade = func(protocol string) bool {
			for _, f := range ignored {
				if f(protocol) {
					return true
				}
			}
			return false
		}
	}
	return o
}

func keyFormat(s *extension.Scope, m *corev3.Http1ProtocolOptions_HeaderKeyFormat) (f http1.KeyFormat) {
	if m == nil {
		return f
	}
	keyFields.Check(s, m)
	switch k := m.GetHeaderFormat().(type) {
	case *corev3.Http1ProtocolOptions_HeaderKeyFormat_ProperCaseWords_:
		f.ProperCase = true
	case *corev3.Http1ProtocolOptions_HeaderKeyFormat_StatefulFormatter:
		at := s.Field("stateful_formatter.typed_config")
		msg, ok := at.Unpack(k.StatefulFormatter.GetTypedConfig())
		if !ok {
			return f
		}
		p, ok := msg.(*preservev3.PreserveCaseFormatterConfig)
		if !ok {
			at.Errorf("not supported yet: %s", msg.ProtoReflect().Descriptor().FullName())
			return f
		}
		preserveFields.Check(at, p)
		f.PreserveCase = true
		f.ProperCase = p.GetFormatterTypeOnEnvoyHeaders() == preservev3.PreserveCaseFormatterConfig_PROPER_CASE
	default:
		s.Errorf("one of proper_case_words and stateful_formatter is required")
	}
	return f
}
