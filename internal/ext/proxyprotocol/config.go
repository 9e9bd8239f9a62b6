// Package proxyprotocol is the listener filter that takes the addresses of a connection
// from the PROXY protocol header before its bytes
// (envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol).
package proxyprotocol

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/proxyproto"
)

// Namespace is where rules without one put their metadata.
const Namespace = "envoy.filters.listener.proxy_protocol"

var (
	fields = extension.Fields{
		Message: &proxyv3.ProxyProtocol{},
		Obeyed: []string{"rules", "allow_requests_without_proxy_protocol", "pass_through_tlvs",
			"disallowed_versions", "stat_prefix", "tlv_location"},
	}
	ruleFields = extension.Fields{
		Message: &proxyv3.ProxyProtocol_Rule{},
		Obeyed:  []string{"tlv_type", "on_tlv_present"},
	}
	pairFields = extension.Fields{
		Message: &proxyv3.ProxyProtocol_KeyValuePair{},
		Obeyed:  []string{"metadata_namespace", "key", "value_string_encoding"},
	}
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return append([]*extension.Fields{&fields, &ruleFields, &pairFields}, proxyproto.Support()...)
}

// Register adds the filter to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.ListenerFilter, func(s *extension.Scope, m *proxyv3.ProxyProtocol) filter.ListenerFilterFactory {
		return compile(s, m)
	})
}

// config is the compiled filter.
type config struct {
	prefix     string // of the statistics
	rules      map[byte]rule
	inState    bool // what rules find goes to the filter state
	pass       *proxyproto.PassThrough
	optional   bool // connections without a header are served
	disallowed [3]bool
}

// A rule says where the value of a TLV is put.
type rule struct {
	namespace, key string
	base64         bool
}

func compile(s *extension.Scope, m *proxyv3.ProxyProtocol) *config {
	fields.Check(s, m)
	c := &config{
		prefix: "proxy_proto.", rules: make(map[byte]rule),
		inState:  m.GetTlvLocation() == proxyv3.ProxyProtocol_FILTER_STATE,
		pass:     proxyproto.CompilePassThrough(s.Field("pass_through_tlvs"), m.GetPassThroughTlvs()),
		optional: m.GetAllowRequestsWithoutProxyProtocol(),
	}
	if m.GetStatPrefix() != "" {
		c.prefix += m.GetStatPrefix() + "."
	}
	for i, r := range m.GetRules() {
		s := s.Field("rules").Index(i)
		ruleFields.Check(s, r)
		if r.GetTlvType() > 255 {
			s.Field("tlv_type").Errorf("value must be less than 256")
		}
		c.rules[byte(r.GetTlvType())] = compilePair(s.Field("on_tlv_present"), r.GetOnTlvPresent())
	}
	for i, v := range m.GetDisallowedVersions() {
		switch v {
		case corev3.ProxyProtocolConfig_V1:
			c.disallowed[1] = true
		case corev3.ProxyProtocolConfig_V2:
			c.disallowed[2] = true
		default:
			s.Field("disallowed_versions").Index(i).Errorf("value must be one of the defined enum values")
		}
	}
	if c.disallowed[1] && c.disallowed[2] {
		s.Field("disallowed_versions").Errorf("Proxy Protocol filter is misconfigured: all proxy protocol versions are disallowed.")
	}
	return c
}

func compilePair(s *extension.Scope, m *proxyv3.ProxyProtocol_KeyValuePair) rule {
	r := rule{namespace: Namespace, key: m.GetKey()}
	if m == nil {
		return r
	}
	pairFields.Check(s, m)
	if r.key == "" {
		s.Field("key").Errorf("value length must be at least 1 characters")
	}
	if m.GetMetadataNamespace() != "" {
		r.namespace = m.GetMetadataNamespace()
	}
	r.base64 = m.GetValueStringEncoding() == proxyv3.ProxyProtocol_KeyValuePair_BASE64
	return r
}

// text is the value of a TLV in metadata or filter state.
func (r rule) text(v []byte) string {
	if r.base64 {
		return base64.StdEncoding.EncodeToString(v)
	}
	if utf8.Valid(v) {
		return string(v)
	}
	var b strings.Builder
	for len(v) > 0 {
		c, n := utf8.DecodeRune(v)
		if c == utf8.RuneError && n == 1 {
			b.WriteByte('!')
		} else {
			b.Write(v[:n])
		}
		v = v[n:]
	}
	return b.String()
}
