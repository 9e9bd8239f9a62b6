package state

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
)

func downState(m moment, key string) (filter.Object, bool) { return m.State.Get(key) }

// upState looks among what was shared with the upstream connection.
func upState(m moment, key string) (filter.Object, bool) {
	for _, e := range m.Rest().UpState {
		if e.Name == key {
			return e.Object, true
		}
	}
	return nil, false
}

// filterState makes FILTER_STATE(key[:PLAIN|TYPED|FIELD:name]).
func filterState(get func(moment, string) (filter.Object, bool)) builder {
	return func(a args) (operator, error) {
		p := strings.SplitN(a.text, ":", 4)
		p = append(p, "", "", "")
		key, form, field := p[0], p[1], p[2]
		switch {
		case key == "":
			return operator{}, errors.New("Invalid filter state configuration, key cannot be empty.") //nolint:staticcheck // Envoy's text
		case form != "" && form != "TYPED" && form != "PLAIN" && form != "FIELD":
			return operator{}, errors.New("Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.") //nolint:staticcheck // Envoy's text
		case (form == "FIELD") != (field != ""):
			return operator{}, errors.New("Invalid filter state serialize type, FIELD should be used with the field name.") //nolint:staticcheck // Envoy's text
		}
		switch form {
		case "PLAIN":
			return objectText(a, func(m moment) (string, bool) {
				if o, ok := get(m, key); ok {
					return o.Serialize()
				}
				return "", false
			}), nil
		case "FIELD":
			return objectText(a, func(m moment) (string, bool) {
				o, _ := get(m, key)
				if f, ok := o.(filter.Fielded); ok {
					return f.Field(field)
				}
				return "", false
			}), nil
		}
		return typedState(a, func(m moment) (filter.Object, bool) { return get(m, key) }), nil
	}
}

func objectText(a args, of func(moment) (string, bool)) operator {
	return operator{text: func(dst []byte, m moment) ([]byte, bool) {
		s, ok := of(m)
		if !ok {
			return dst, false
		}
		return append(dst, a.cutText(s)...), true
	}}
}

// typedState prints an object's own value; a length only cuts the text.
func typedState(a args, get func(moment) (filter.Object, bool)) operator {
	value := func(m moment) *structpb.Value {
		o, _ := get(m)
		if t, ok := o.(Typed); ok {
			return t.Value()
		}
		return nil
	}
	return operator{
		text: func(dst []byte, m moment) ([]byte, bool) {
			v := value(m)
			if v == nil {
				return dst, false
			}
			start := len(dst)
			return a.cut(appendProtoJSON(dst, v, valueOf(m, get)), start), true
		},
		json: func(dst []byte, m moment) ([]byte, bool) {
			v := value(m)
			if v == nil {
				return dst, false
			}
			if s, ok := v.Kind.(*structpb.Value_StringValue); ok && !utf8.ValidString(s.StringValue) {
				return appendQuoted(dst, spaced(s.StringValue)), true
			}
			return appendValue(dst, v), true
		},
	}
}

func valueOf(m moment, get func(moment) (filter.Object, bool)) filter.Object {
	o, _ := get(m)
	return o
}

// appendProtoJSON prints a value as protobuf's JSON printer does, which escapes more
// than the log's own printer and knows integers.
func appendProtoJSON(dst []byte, v *structpb.Value, o filter.Object) []byte {
	switch k := v.Kind.(type) {
	case *structpb.Value_StringValue:
		dst = append(dst, '"')
		for _, r := range spaced(k.StringValue) {
			switch {
			case r < 0x80 && short[r] != 0:
				dst = append(dst, '\\', short[r])
			case r < ' ' || r == '<' || r == '>' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
				dst = fmt.Appendf(dst, `\u%04x`, r)
			default:
				dst = utf8.AppendRune(dst, r)
			}
		}
		return append(dst, '"')
	case *structpb.Value_NumberValue:
		if s, ok := o.Serialize(); ok {
			return append(dst, s...) // an integer: never in scientific form
		}
	}
	return appendValue(dst, v)
}

// spaced replaces every byte that is not UTF-8 by a blank, as protobuf does.
func spaced(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b.WriteByte(' ')
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// A namespace finds the struct of a metadata namespace; nil: none.
type namespace func(m moment, name string) *structpb.Struct

func dynamicMetadata(m moment, name string) *structpb.Struct { return m.Metadata[name] }

func clusterMetadata(m moment, name string) *structpb.Struct {
	if c := m.Up.ClusterInfo; c != nil {
		return of(c.Metadata, name)
	}
	return nil
}

func hostMetadata(m moment, name string) *structpb.Struct {
	if m.Up.Host == nil {
		return nil
	}
	return of(m.Up.Host.Metadata, name)
}

func listenerMetadata(m moment, name string) *structpb.Struct {
	if m.Listener == nil {
		return nil
	}
	return of(m.Listener.Metadata, name)
}

func chainMetadata(m moment, name string) *structpb.Struct {
	if m.Chain == nil {
		return nil
	}
	return of(m.Chain.Metadata, name)
}

func routeMetadata(m moment, name string) *structpb.Struct {
	if h := m.HTTP(); h != nil && h.Route != nil {
		return of(h.Route.Metadata(), name)
	}
	return nil
}

func virtualHostMetadata(m moment, name string) *structpb.Struct {
	if h := m.HTTP(); h != nil && h.Route != nil {
		return of(h.Route.HostMetadata(), name)
	}
	return nil
}

func of(md *corev3.Metadata, name string) *structpb.Struct { return md.GetFilterMetadata()[name] }

var metadataKinds = map[string]namespace{
	"DYNAMIC": dynamicMetadata, "CLUSTER": clusterMetadata, "UPSTREAM_HOST": hostMetadata,
	"LISTENER": listenerMetadata, "LISTENER_FILTER_CHAIN": chainMetadata,
	"ROUTE": routeMetadata, "VIRTUAL_HOST": virtualHostMetadata,
}

// anyMetadata makes METADATA(TYPE:namespace:key...).
func anyMetadata(a args) (operator, error) {
	kind, rest, _ := strings.Cut(a.text, ":")
	ns, ok := metadataKinds[kind]
	if !ok {
		return operator{}, fmt.Errorf("%s is not supported type of metadata", kind)
	}
	a.text = rest
	return metadataOf(ns)(a)
}

// metadataOf makes NAME(namespace:key:key...). A length cuts text and strings only.
func metadataOf(ns namespace) builder {
	return func(a args) (operator, error) {
		name, rest, deeper := strings.Cut(a.text, ":")
		var keys []string
		if deeper {
			keys = strings.Split(rest, ":")
		}
		find := func(m moment) *structpb.Value { return Walk(ns(m, name), keys) }
		return operator{
			text: func(dst []byte, m moment) ([]byte, bool) {
				start := len(dst)
				switch k := find(m).GetKind().(type) {
				case nil, *structpb.Value_NullValue:
					return dst, false
				case *structpb.Value_StringValue:
					dst = append(dst, k.StringValue...)
				default:
					dst = appendValue(dst, &structpb.Value{Kind: k})
				}
				return a.cut(dst, start), true
			},
			json: func(dst []byte, m moment) ([]byte, bool) {
				v := find(m)
				switch k := v.GetKind().(type) {
				case nil, *structpb.Value_NullValue:
					return dst, false
				case *structpb.Value_StringValue:
					return appendQuoted(dst, a.cutText(k.StringValue)), true
				}
				return appendValue(dst, v), true
			},
		}, nil
	}
}

// Walk returns the value at a path of keys within s: s itself for no keys, nil when
// there is none.
func Walk(s *structpb.Struct, keys []string) *structpb.Value {
	if s == nil {
		return nil
	}
	if len(keys) == 0 {
		return structpb.NewStructValue(s)
	}
	for _, k := range keys[:len(keys)-1] {
		s = s.GetFields()[k].GetStructValue()
	}
	return s.GetFields()[keys[len(keys)-1]]
}
