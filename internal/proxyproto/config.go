package proxyproto

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
)

var passFields = extension.Fields{
	Message: &corev3.ProxyProtocolPassThroughTLVs{},
	Obeyed:  []string{"match_type", "tlv_type"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&passFields, &entryFields} }

// PassThrough says which TLVs are passed on. nil: none.
type PassThrough struct {
	all   bool
	types [256]bool
}

// CompilePassThrough compiles a message at the place of s.
func CompilePassThrough(s *extension.Scope, m *corev3.ProxyProtocolPassThroughTLVs) *PassThrough {
	if m == nil {
		return nil
	}
	passFields.Check(s, m)
	p := &PassThrough{all: m.GetMatchType() == corev3.ProxyProtocolPassThroughTLVs_INCLUDE_ALL}
	for i, t := range m.GetTlvType() {
		if t > 255 {
			s.Field("tlv_type").Index(i).Errorf("value must be less than 256")
			continue
		}
		p.types[t] = true
	}
	return p
}

// Select returns the TLVs that are passed on, with values of their own.
func (p *PassThrough) Select(all []TLV) []TLV {
	if p == nil {
		return nil
	}
	var out []TLV
	for _, t := range all {
		if p.all || p.types[t.Type] {
			out = append(out, TLV{t.Type, append([]byte(nil), t.Value...)})
		}
	}
	return out
}
