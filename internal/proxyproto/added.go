package proxyproto

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

var entryFields = extension.Fields{
	Message: &corev3.TlvEntry{},
	Obeyed:  []string{"type", "value", "format_string"},
}

// Added are TLVs that a configuration adds to headers.
type Added []added

type added struct {
	kind   byte
	value  []byte
	format state.Formatter // nil: value
}

// CompileAdded compiles a list at the place of s.
func CompileAdded(s *extension.Scope, all []*corev3.TlvEntry) Added {
	var out Added
	for i, m := range all {
		s := s.Index(i)
		entryFields.Check(s, m)
		a := added{kind: byte(m.GetType()), value: m.GetValue()}
		switch {
		case len(m.GetValue()) > 0 && m.GetFormatString() != nil:
			s.Errorf("Invalid TLV configuration: only one of 'value' or 'format_string' may be set.")
		case len(m.GetValue()) == 0 && m.GetFormatString() == nil:
			s.Errorf("Invalid TLV configuration: one of 'value' or 'format_string' must be set.")
		case m.GetFormatString() != nil:
			a.format, _ = state.CompileFormat(s.Field("format_string"), m.GetFormatString())
		}
		out = append(out, a)
	}
	return out
}

// TLVs returns what is added for the connection of i.
func (a Added) TLVs(i *filter.Info) []TLV {
	if len(a) == 0 {
		return nil
	}
	out := make([]TLV, len(a))
	for n, e := range a {
		out[n] = TLV{e.kind, e.value}
		if e.format != nil {
			out[n].Value = e.format.Append(nil, i, filter.NotSet)
		}
	}
	return out
}

// Over returns over, and behind it what under has of other types.
func Over(over, under []TLV) []TLV {
	if len(over) == 0 || len(under) == 0 {
		return append(over, under...)
	}
	out := slices.Clone(over)
	for _, t := range under {
		if !slices.ContainsFunc(over, func(o TLV) bool { return o.Type == t.Type }) {
			out = append(out, t)
		}
	}
	return out
}
