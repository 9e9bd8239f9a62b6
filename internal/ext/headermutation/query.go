package headermutation

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

var parameterFields = extension.Fields{
	Message: &corev3.KeyValueMutation{},
	Obeyed:  []string{"append", "remove"},
}

var appendFields = extension.Fields{
	Message: &corev3.KeyValueAppend{},
	Obeyed:  []string{"record", "action"},
}

var pairFields = extension.Fields{
	Message: &corev3.KeyValuePair{},
	Obeyed:  []string{"key", "value"},
}

// A parameter changes one query parameter.
type parameter struct {
	name   string
	remove bool
	action corev3.KeyValueAppend_KeyValueAppendAction
	value  state.Formatter
}

func compileQuery(s *extension.Scope, list []*corev3.KeyValueMutation, o state.Options) []parameter {
	o.OmitEmpty = true
	var out []parameter
	for i, m := range list {
		out = append(out, compileParameter(s.Index(i), m, o))
	}
	return out
}

func compileParameter(s *extension.Scope, m *corev3.KeyValueMutation, o state.Options) parameter {
	parameterFields.Check(s, m)
	a := m.GetAppend()
	switch {
	case a != nil && m.GetRemove() != "":
		s.Errorf("Only one of 'append'/'remove can be specified.")
	case m.GetRemove() != "":
		return parameter{name: m.GetRemove(), remove: true}
	case a == nil:
		s.Errorf("One of 'append'/'remove' must be specified.")
	default:
		return compileAppend(s.Field("append"), a, o)
	}
	return parameter{}
}

func compileAppend(s *extension.Scope, m *corev3.KeyValueAppend, o state.Options) parameter {
	appendFields.Check(s, m)
	r, s := m.GetRecord(), s.Field("record")
	if r == nil {
		s.Errorf("No record specified for append mutation.")
		return parameter{}
	}
	pairFields.Check(s, r)
	if r.GetKey() == "" {
		s.Field("key").Errorf("is required")
	}
	text, ok := r.GetValue().GetKind().(*structpb.Value_StringValue)
	if !ok {
		s.Field("value").Errorf("Only string value is allowed for record value.")
		return parameter{}
	}
	p := parameter{name: r.GetKey(), action: m.GetAction()}
	p.value, _ = state.CompileText(s.Field("value"), text.StringValue, o)
	return p
}

// A pair is a parameter of a query: its text, and its name without escapes.
type pair struct{ name, rawName, rawValue string }

// changeQuery returns a path with its query changed. As in Envoy the parameters are then
// in the order of their names, and each has a "="; those that nobody changes keep their
// escapes, which Envoy loses.
func changeQuery(path string, list []parameter, info *filter.Info) string {
	path, query, _ := strings.Cut(path, "?")
	pairs := parseQuery(query)
	for i := range list {
		pairs = list[i].apply(pairs, info)
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString(path)
	for i, p := range pairs {
		if i == 0 {
			b.WriteByte('?')
		} else {
			b.WriteByte('&')
		}
		b.WriteString(p.rawName)
		b.WriteByte('=')
		b.WriteString(p.rawValue)
	}
	return b.String()
}

func parseQuery(query string) []pair {
	var out []pair
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(one, "=")
		out = append(out, pair{unescape(name), name, value})
	}
	return out
}

func (p *parameter) apply(pairs []pair, info *filter.Info) []pair {
	named := func(x pair) bool { return x.name == p.name }
	if p.remove {
		return slices.DeleteFunc(pairs, named)
	}
	there := slices.ContainsFunc(pairs, named)
	switch p.action {
	case corev3.KeyValueAppend_ADD_IF_ABSENT:
		if there {
			return pairs
		}
	case corev3.KeyValueAppend_OVERWRITE_IF_EXISTS:
		if !there {
			return pairs
		}
		pairs = slices.DeleteFunc(pairs, named)
	case corev3.KeyValueAppend_OVERWRITE_IF_EXISTS_OR_ADD:
		pairs = slices.DeleteFunc(pairs, named)
	}
	var buf [128]byte
	value := p.value.Append(buf[:0], info, filter.NotSet)
	return append(pairs, pair{p.name, escape(p.name), escape(string(value))})
}

const hex = "0123456789ABCDEF"

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~", c) >= 0
}

// escape writes everything but RFC 3986's unreserved characters as %XX.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// unescape reads %XX; other percent signs stand for themselves.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if hi, lo := digit(s[i+1]), digit(s[i+2]); hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func digit(c byte) int {
	if 'a' <= c && c <= 'f' {
		c -= 'a' - 'A'
	}
	return strings.IndexByte(hex, c)
}
