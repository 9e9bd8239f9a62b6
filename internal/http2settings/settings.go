// Package http2settings is what Http2ProtocolOptions say of SETTINGS and of the sizes of
// fields, checked as Envoy checks it: of a connection manager and of a cluster.
package http2settings

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	xhttp2 "golang.org/x/net/http2"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
)

// Fields are those of a parameter.
var Fields = extension.Fields{
	Message: &corev3.Http2ProtocolOptions_SettingsParameter{},
	Obeyed:  []string{"identifier", "value"},
}

// Custom gives add each of the custom_settings_parameters of m, whose place is s. What Envoy
// refuses is refused, and what no peer could obey.
func Custom(s *extension.Scope, m *corev3.Http2ProtocolOptions, add func(id uint16, value uint32)) {
	seen := make(map[uint32]uint32)
	for i, p := range m.GetCustomSettingsParameters() {
		at := s.Field("custom_settings_parameters").Index(i)
		Fields.Check(at, p)
		id, value := p.GetIdentifier().GetValue(), p.GetValue().GetValue()
		before, again := seen[id]
		seen[id] = value
		why := wrong(m, xhttp2.SettingID(id), value)
		switch {
		case why != "":
			at.Errorf("%s", why)
		case again && before != value:
			at.Errorf("inconsistent HTTP/2 custom SETTINGS parameter: identifier 0x%x is %d, too", id, before)
		case !again:
			add(uint16(id), value)
		}
	}
}

// wrong tells why a parameter cannot be obeyed; "": it can.
func wrong(m *corev3.Http2ProtocolOptions, id xhttp2.SettingID, value uint32) string {
	switch {
	case id == xhttp2.SettingEnablePush && value != 0:
		return "server push is not supported and can not be enabled via a SETTINGS parameter"
	case id == xhttp2.SettingEnableConnectProtocol:
		return `the "allow_connect" SETTINGS parameter must only be configured through the named field`
	case id == xhttp2.SettingInitialWindowSize && value > 1<<31-1:
		return "an initial window is at most 2147483647"
	case id == xhttp2.SettingMaxFrameSize && value != 1<<14:
		return "not supported: frames of more than 16384 bytes are not taken, and smaller ones may not be asked for"
	}
	if name, set := named(m, id); set != nil {
		return "the {" + name + "} HTTP/2 SETTINGS parameter can not be configured through both named and custom parameters"
	}
	return ""
}

// named returns the field that a parameter has of its own; nil: none, or it is not set.
func named(m *corev3.Http2ProtocolOptions, id xhttp2.SettingID) (name string, set *wrapperspb.UInt32Value) {
	switch id {
	case xhttp2.SettingHeaderTableSize:
		return "hpack_table_size", m.GetHpackTableSize()
	case xhttp2.SettingMaxConcurrentStreams:
		return "max_concurrent_streams", m.GetMaxConcurrentStreams()
	case xhttp2.SettingInitialWindowSize:
		return "initial_stream_window_size", m.GetInitialStreamWindowSize()
	}
	return "", nil
}

// FieldBytes is max_header_field_size_kb in bytes; 0: the default. headBytes is the value of
// the field limit: what all fields of a head may have; 0: it is not compared.
func FieldBytes(s *extension.Scope, m *corev3.Http2ProtocolOptions, headBytes int, limit string) int {
	n := int(m.GetMaxHeaderFieldSizeKb().GetValue()) << 10
	if headBytes > 0 && n > headBytes {
		s.Field("max_header_field_size_kb").Errorf("must not exceed %s", limit)
	}
	return n
}
