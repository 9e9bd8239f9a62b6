package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// hostPrefix is what type URLs begin with; Envoy ignores what stands before the
// last slash.
const hostPrefix = "type.googleapis.com/"

const (
	typedStructXDS  protoreflect.FullName = "xds.type.v3.TypedStruct"
	typedStructUDPA protoreflect.FullName = "udpa.type.v1.TypedStruct"
)

func isTypedStruct(name protoreflect.FullName) bool {
	return name == typedStructXDS || name == typedStructUDPA
}

// any fills an Any: it holds the bytes of the message that is written in it.
func (d *decoder) any(n *node, m protoreflect.Message, at *place) {
	if n.kind == nullKind {
		return
	}
	if n.kind != dictKind {
		d.mismatch(n, at, `a mapping with an "@type"`, "")
		return
	}
	url, rest := cutType(n.pairs)
	if url == nil && len(rest) == 0 { // Envoy: {} is an empty Any
		return
	}
	if url == nil {
		d.missingType(n, at)
		return
	}
	mt := d.typeOf(url, at)
	if mt == nil {
		at.failed = true
		return
	}
	written := url.value
	body := mt.New()
	switch name := mt.Descriptor().FullName(); {
	case isTypedStruct(name):
		body, written = d.typedStruct(n, rest, body, at, written)
	case hasValueForm(name):
		d.valueForm(rest, body, at)
	case name == emptyName && len(rest) == 1 && rest[0].key.value == "value":
	default:
		d.fields(rest, body, at)
	}
	pack(m, written, body)
}

// pack sets what an Any holds.
func pack(m protoreflect.Message, url string, body protoreflect.Message) {
	// Cannot fail: text was checked to be UTF-8, and required fields are allowed
	// to be missing.
	value, _ := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(body.Interface())
	fields := m.Descriptor().Fields()
	m.Set(fields.ByName("type_url"), protoreflect.ValueOfString(url))
	m.Set(fields.ByName("value"), protoreflect.ValueOfBytes(value))
}

// cutType separates the "@type", the last if there are several, from the other members.
func cutType(pairs []pair) (url *node, rest []pair) {
	for _, p := range pairs {
		if p.key.value == "@type" {
			url = p.value
		} else {
			rest = append(rest, p)
		}
	}
	return url, rest
}

func (d *decoder) missingType(n *node, at *place) {
	at.failed = true
	i := Issue{Message: `"@type" is missing`, Expected: `"@type": "` + hostPrefix + `..." beside the fields of that type`}
	for _, p := range n.pairs {
		switch p.key.value {
		case "type_url", "typeUrl":
			i.Message = `"type_url" where "@type" should stand; an Any is written as "@type" and the fields of that type`
			i.Expected = ""
		case "type":
			i.Suggestion = "@type"
		}
	}
	d.fault(n, at, i)
}

// typeOf finds the message type of an "@type".
func (d *decoder) typeOf(url *node, at *place) protoreflect.MessageType {
	if url.kind != textKind {
		d.fault(url, at, Issue{Message: "@type: got " + url.String(), Expected: "a type URL such as " + hostPrefix + "..."})
		return nil
	}
	host, name := splitURL(url.value)
	mt := findType(name)
	switch {
	case mt == nil:
		d.fault(url, at, d.urls.unknown(url.value))
	case host == "":
		d.fault(url, at, Issue{
			Message: "@type: " + quote(url.value) + " lacks the part before the slash", Suggestion: hostPrefix + name,
		})
		return nil
	}
	return mt
}

// splitURL cuts a type URL at its last slash.
func splitURL(url string) (host, name string) {
	i := strings.LastIndexByte(url, '/')
	return url[:max(i, 0)], url[i+1:]
}

// findType looks a message type up. Types of the v2 API that newer packages still
// link are not to be had.
func findType(name string) protoreflect.MessageType {
	if apiV2.MatchString(name) {
		return nil
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	return mt
}

// valueForm reads an Any of a type that has a JSON form of its own: the value
// stands under "value".
func (d *decoder) valueForm(rest []pair, body protoreflect.Message, at *place) {
	name := body.Descriptor().FullName()
	for _, p := range rest {
		if p.key.value != "value" {
			d.fault(p.key, at, Issue{
				Message:  fmt.Sprintf("unknown field %s beside a %s", quote(p.key.value), name),
				Expected: `only "@type" and "value"`,
			})
			continue
		}
		inner := at
		if isWrapper(name) || name == anyName { // whose message has a field of that name
			inner = at.child(step{kind: byField, name: "value"}, d.placeOf(p))
		}
		d.message(p.value, body, inner)
	}
}

// typedStruct reads what a TypedStruct holds as the type it names, and returns
// that message and its type URL. One that names no type stays what it is.
func (d *decoder) typedStruct(n *node, rest []pair, body protoreflect.Message, at *place, written string) (protoreflect.Message, string) {
	var url, value *node
	for _, p := range rest {
		switch p.key.value {
		case "type_url", "typeUrl":
			url = p.value
		case "value":
			value = p.value
		}
	}
	if url == nil || url.kind == nullKind || url.kind == textKind && url.value == "" {
		d.fields(rest, body, at)
		return body, written
	}
	if url.kind == textKind && !strings.Contains(url.value, "/") { // Envoy: without a host too
		url = &node{kind: textKind, line: url.line, column: url.column, value: hostPrefix + url.value}
	}
	mt := d.typeOf(url, at)
	if mt == nil || isTypedStruct(mt.Descriptor().FullName()) {
		if mt != nil {
			d.fault(url, at, Issue{Message: "a TypedStruct inside a TypedStruct", Expected: "the type of the configuration"})
		}
		at.failed = true
		return body, written
	}
	at.typedStruct = true
	for _, p := range rest {
		if name := p.key.value; name != "value" && name != "type_url" && name != "typeUrl" {
			d.unknownField(p, body, at)
		}
	}
	real := mt.New()
	if value != nil && value.kind != nullKind {
		d.message(value, real, at)
	}
	return real, url.value
}

// Unpack returns the message that an Any holds, looked up among all Envoy,
// contrib and xDS types. A TypedStruct, in which control planes send what they
// have no type for, becomes the message it names.
func Unpack(a *anypb.Any) (proto.Message, error) {
	if a == nil || a.TypeUrl == "" {
		return nil, errors.New("no type URL")
	}
	_, name := splitURL(a.TypeUrl)
	mt := findType(name)
	if mt == nil {
		return nil, unknownTypeError(a.TypeUrl)
	}
	m := mt.New().Interface()
	if err := proto.Unmarshal(a.Value, m); err != nil {
		return nil, fmt.Errorf("not a %s: %s", name, protobufReason(err))
	}
	if isTypedStruct(mt.Descriptor().FullName()) {
		return unpackStruct(m)
	}
	return m, nil
}

// typedStruct is either of the two messages of that name.
type typedStruct interface {
	GetTypeUrl() string
	GetValue() *structpb.Struct
}

func unpackStruct(m proto.Message) (proto.Message, error) {
	ts, ok := m.(typedStruct)
	if !ok || ts.GetTypeUrl() == "" {
		return m, nil
	}
	_, name := splitURL(ts.GetTypeUrl())
	mt := findType(name)
	if mt == nil {
		return nil, unknownTypeError(ts.GetTypeUrl())
	}
	if isTypedStruct(mt.Descriptor().FullName()) {
		return nil, errors.New("a TypedStruct inside a TypedStruct")
	}
	r := &report{}
	root := &place{}
	d := decoder{report: r, budget: math.MaxInt} // a Struct has no aliases
	real := mt.New()
	d.message(structNode(ts.GetValue()), real, root)
	if faults, _ := r.issues(); len(faults) > 0 {
		return nil, faults
	}
	return real.Interface(), nil
}

func unknownTypeError(url string) error {
	var hints urlHints
	return Issues{hints.unknown(url)}
}

// structNode makes nodes of a Struct, so that it is read as a file is.
func structNode(s *structpb.Struct) *node {
	n := &node{kind: dictKind}
	for key, v := range s.GetFields() {
		n.pairs = append(n.pairs, pair{&node{kind: textKind, value: key}, valueNode(v)})
	}
	return n
}

func valueNode(v *structpb.Value) *node {
	switch v := v.GetKind().(type) {
	case *structpb.Value_BoolValue:
		return &node{kind: boolKind, value: strconv.FormatBool(v.BoolValue)}
	case *structpb.Value_NumberValue:
		return &node{kind: numberKind, value: strconv.FormatFloat(v.NumberValue, 'g', -1, 64)}
	case *structpb.Value_StringValue:
		return &node{kind: textKind, value: v.StringValue}
	case *structpb.Value_ListValue:
		n := &node{kind: listKind}
		for _, item := range v.ListValue.GetValues() {
			n.items = append(n.items, valueNode(item))
		}
		return n
	case *structpb.Value_StructValue:
		return structNode(v.StructValue)
	default:
		return &node{kind: nullKind}
	}
}
