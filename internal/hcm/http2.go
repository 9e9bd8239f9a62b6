package hcm

import (
	"cmp"
	"math"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/http1"
	"github.com/ginnel/ginnel/internal/http2"
	"github.com/ginnel/ginnel/internal/http2settings"
)

const ofManager = "connection manager"

var (
	http2Fields = extension.Fields{
		Message: &corev3.Http2ProtocolOptions{},
		Where:   ofManager,
		Obeyed: []string{
			"hpack_table_size", "max_concurrent_streams", "initial_stream_window_size", "initial_connection_window_size",
			"allow_connect", "max_outbound_frames", "max_outbound_control_frames",
			"max_consecutive_inbound_frames_with_empty_payload", "max_inbound_priority_frames_per_stream",
			"max_inbound_window_update_frames_per_data_frame_sent", "stream_error_on_invalid_http_messaging",
			"override_stream_error_on_invalid_http_message", "custom_settings_parameters", "connection_keepalive",
			"enable_huffman_encoding", "max_header_field_size_kb", "disallow_obs_text", "stream_reset_burst",
			"stream_reset_rate",
		},
		Ignored: map[string]string{
			"use_oghttp2_codec": "chooses between Envoy's codecs",
			"max_metadata_size": "only allow_metadata, which is refused, leads to such frames",
		},
		Defaults: map[string]string{"allow_metadata": "false"},
	}
	pingFields = extension.Fields{
		Message: &corev3.KeepaliveSettings{},
		Where:   ofManager,
		Obeyed:  []string{"interval", "timeout", "interval_jitter"},
		Ignored: map[string]string{"connection_idle_interval": "it is for clusters: a server begins no streams"},
	}
)

// compileHTTP2 compiles m; headBytes is the most of all headers, 0: the default.
func compileHTTP2(s *extension.Scope, m *corev3.Http2ProtocolOptions, headBytes int, streamErrors bool) (o http2.ServerOptions) {
	o.StreamErrors = streamErrors
	if m == nil {
		return o
	}
	http2Fields.Check(s, m)
	o.TableSize = most(m.GetHpackTableSize())
	o.MaxConcurrentStreams = m.GetMaxConcurrentStreams().GetValue()
	o.StreamWindow = window(s.Field("initial_stream_window_size"), m.GetInitialStreamWindowSize())
	o.ConnectionWindow = window(s.Field("initial_connection_window_size"), m.GetInitialConnectionWindowSize())
	o.AllowConnect = m.GetAllowConnect()
	o.Huffman = m.GetEnableHuffmanEncoding().GetValue()
	o.DisallowObsText = m.GetDisallowObsText().GetValue()
	o.MaxOutboundFrames = most(m.GetMaxOutboundFrames())
	o.MaxOutboundControlFrames = most(m.GetMaxOutboundControlFrames())
	o.MaxEmptyFrames = most(m.GetMaxConsecutiveInboundFramesWithEmptyPayload())
	o.MaxPriorityFrames = most(m.GetMaxInboundPriorityFramesPerStream())
	o.MaxWindowUpdates = most(m.GetMaxInboundWindowUpdateFramesPerDataFrameSent())
	o.MaxFieldBytes = http2settings.FieldBytes(s, m, cmp.Or(headBytes, http1.DefaultMaxRequestHeadersBytes), "max_request_headers_kb")
	o.ResetBurst, o.ResetRate = resets(m.GetStreamResetBurst()), resets(m.GetStreamResetRate())
	o.StreamErrors = o.StreamErrors || m.GetStreamErrorOnInvalidHttpMessaging()
	if v := m.GetOverrideStreamErrorOnInvalidHttpMessage(); v != nil {
		o.StreamErrors = v.Value
	}
	if k := m.GetConnectionKeepalive(); k != nil {
		pingFields.Check(s.Field("connection_keepalive"), k)
		o.Keepalive = http2.Keepalive{Interval: k.GetInterval().AsDuration(), Timeout: k.GetTimeout().AsDuration(), Jitter: 0.15}
		if j := k.GetIntervalJitter(); j != nil {
			o.Keepalive.Jitter = j.Value / 100
		}
	}
	http2settings.Custom(s, m, func(id uint16, value uint32) {
		o.Settings = append(o.Settings, http2.Setting{ID: id, Value: value})
	})
	return o
}

// most is a limit for the codec, to which 0 is the default and less than that none.
func most(v *wrapperspb.UInt32Value) int {
	if v != nil && v.Value == 0 {
		return -1
	}
	return int(v.GetValue())
}

// resets is most for what is wider.
func resets(v *wrapperspb.UInt64Value) int {
	if v != nil && v.Value == 0 {
		return -1
	}
	return int(min(v.GetValue(), math.MaxInt32))
}

func window(s *extension.Scope, v *wrapperspb.UInt32Value) uint32 {
	if v != nil && (v.Value < 65535 || v.Value > 1<<31-1) {
		s.Errorf("must be from 65535 to 2147483647, not %d", v.Value)
	}
	return v.GetValue()
}

// shared puts what concerns both codecs into the options of HTTP/2.
func (o *codecOptions) shared(l *limits) {
	h1, h2 := &o.http1, &o.http2
	h2.MaxHeaderBytes, h2.MaxHeaders = h1.MaxRequestHeadersBytes, h1.MaxHeadersCount
	h2.RequestHeadersTimeout = h1.RequestHeadersTimeout
	h2.Underscores = http2.Underscores(h1.HeadersWithUnderscoresAction)
	if h2.DelayedClose = l.delayedClose; l.delayedClose == 0 {
		h2.DelayedClose = -1
	}
}
