package config

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/structpb"
)

// What Envoy 1.40.0 makes of plain scalars, as its config_dump shows them.
func TestYAMLScalarsAsEnvoy(t *testing.T) {
	text := `node: {metadata: {f: 0.5, i: 3, big: 12345678901, hex: 0x10, oct: 010, y: yes, n: no, nul: null, t: ~, e: ,
	d: 2020-01-01, q: "5", inf: .inf, neg: -5, bin: 0b1, sci: 1e3, tr: TRUE, yEs: yEs, plus: +5, us: 1_000, empty: "",
	lst: [1.0, a], 5: k, yes: k2, hexn: -0x10, sp: ' ', mx: 2147483648, mn: -2147483648, mm: -2147483649, o9: 09, x: 0x,
	f1: 1.0, inf2: -.inf, hexbig: 0xFFFFFFFF, octbig: 077777777777, bool: Off, ON: ON, tag: !!int "5", tag2: !!float 1,
	tag3: !foo bar, NUL: Null, N2: nULL}}`
	const envoy = `{"hexbig": "4294967295", "mm": "-2147483649", "tag2": 1, "N2": "nULL", "y": true, "x": "0x", "bin": "0b1",
	"ON": true, "yEs": "yEs", "lst": ["1.0", "a"], "inf2": "-.inf", "neg": -5, "oct": 8, "nul": null,
	"mx": "2147483648", "tr": true, "bool": false, "sci": "1e3", "tag": 5, "hex": 16, "t": null, "hexn": -16, "NUL": null,
	"e": null, "octbig": "8589934591", "f": "0.5", "plus": 5, "d": "2020-01-01", "mn": -2147483648, "f1": "1.0", "i": 3,
	"inf": ".inf", "o9": "09", "tag3": "bar", "n": false, "5": "k", "big": "12345678901", "yes": "k2", "q": "5", "sp": " ",
	"empty": "", "us": "1_000"}`
	want := &structpb.Struct{}
	if err := protojson.Unmarshal([]byte(envoy), want); err != nil {
		t.Fatal(err)
	}
	got := &bootstrapv3.Bootstrap{}
	if _, err := Load(Input{Data: []byte(strings.ReplaceAll(text, "\t", "  ")), Target: got}); err != nil {
		t.Fatal(err)
	}
	for key, w := range want.Fields {
		if g := got.Node.Metadata.Fields[key]; !proto.Equal(g, w) {
			t.Errorf("%s: got %v, want %v", key, g, w)
		}
	}
	if g, w := len(got.Node.Metadata.Fields), len(want.Fields); g != w {
		t.Errorf("got %d fields, want %d", g, w)
	}
}

// One cluster field at a time, with the answer of Envoy 1.40.0.
func TestFormsAsEnvoy(t *testing.T) {
	field := func(name string) func(string) string {
		return func(v string) string {
			return "static_resources:\n  clusters:\n  - name: a\n    " + name + ": " + v + "\n"
		}
	}
	for _, c := range []struct {
		what    string
		wrap    func(string) string
		good    []string
		refused []string
	}{
		{"duration", field("connect_timeout"),
			[]string{"1s", "0.5s", "null", "~", "{seconds: 1}", "{seconds: \"1\", nanos: 5}"},
			[]string{
				"1", `"1"`, "1m", "5 seconds", ".5s", "1.s", "1e3s", "1ms", "+1s", "1.0000000001s", "315576000001s", "1S",
				"' 1s'", "0x1s", "-1s", "0s", "9223372037s", "[1s]", "{sec: 1}",
			}},
		{"enum", field("lb_policy"),
			[]string{"RANDOM", "random", "Random", "0", `"0"`, "null", "round_robin"},
			[]string{"1.0", "99", "RANDOMM", "true", "round-robin", "roundRobin", "LEAST REQUEST", "''"}},
		{"integer", field("per_connection_buffer_limit_bytes"),
			[]string{"1", `"1"`, "1.0", "1e3", `"1e3"`, "0x10", "010", "null", `"1.0"`, "{value: 3}", "1.0e0", "{}"},
			[]string{
				"1.5", "-1", "4294967296", `"abc"`, "true", "1_000", `" 1"`, "0o17", `""`, "1e-1", "{valu: 5}",
				"1e99999999999999999999",
			}},
		{"bool", field("ignore_health_on_host_removal"),
			[]string{"true", `"true"`, "yes", `"yes"`, "on", `"1"`, "True", "TRUE", "y", "null", "T"},
			[]string{"1", `"on"`, "enabled", "[]", "{}"}},
		{"double", field("preconnect_policy: {per_upstream_preconnect_ratio"),
			[]string{"1}", "1.5}", "1e0}", `"1.5"}`, "+1.5}", "null}"},
			[]string{"0.5}", ".nan}", ".inf}", "abc}", "1e400}", "1e2}", `"Infinity"}`, "true}"}},
		{"text", field("alt_stat_name"),
			[]string{"1.5", "12345678901", "2020-01-01", `"123"`, "1e3", ".inf", "1_000", "0b1", "yEs", "null", "|\n      123\n"},
			[]string{"123", "yes", "no", "true", "y", "on", "0x10", "[a]", "{a: b}", "Y", "Yes"}},
		{"any", func(s string) string { return field("metadata")("{typed_filter_metadata: {x: " + s + "}}") },
			[]string{
				"{}", "null",
				`{"@type": type.googleapis.com/google.protobuf.BytesValue, value: aGk=}`,
				`{"@type": type.googleapis.com/google.protobuf.BytesValue, value: _-8}`,
				`{"@type": type.googleapis.com/google.protobuf.BytesValue, value: /+8=}`,
				`{"@type": type.googleapis.com/google.protobuf.Timestamp, value: "2020-01-01T00:00:00.5+01:00"}`,
				`{"@type": type.googleapis.com/google.protobuf.Timestamp, value: 2020-01-01T00:00:00Z}`,
				`{"@type": type.googleapis.com/google.protobuf.FieldMask, value: "a.b,cD"}`,
				`{"@type": type.googleapis.com/google.protobuf.Duration, value: {seconds: 1}}`,
				`{"@type": type.googleapis.com/google.protobuf.StringValue, value: {value: x}}`,
				`{"@type": type.googleapis.com/google.protobuf.StringValue, value: null}`,
				`{"@type": type.googleapis.com/google.protobuf.Int64Value, value: 5.0}`,
				`{"@type": type.googleapis.com/google.protobuf.Struct, value: null}`,
				`{"@type": type.googleapis.com/google.protobuf.Value, value: null}`,
				`{"@type": type.googleapis.com/google.protobuf.Empty}`,
				`{"@type": type.googleapis.com/google.protobuf.Any, value: {}}`,
				`{"@type": type.googleapis.com/google.protobuf.Any, value: {"@type": a/google.protobuf.StringValue, value: a}}`,
				`{"@type": foo.com/x/google.protobuf.BoolValue, value: yes}`,
			},
			[]string{
				`{"@type": google.protobuf.BoolValue, value: yes}`, `{"@type": /google.protobuf.BoolValue, value: yes}`,
				`{"@type": null, value: yes}`, `{value: yes}`, "a", "[]",
				`{"@type": type.googleapis.com/google.protobuf.BytesValue, value: a}`,
				`{"@type": type.googleapis.com/google.protobuf.BytesValue, value: a b}`,
				`{"@type": type.googleapis.com/google.protobuf.BytesValue, value: "a\n="}`,
				`{"@type": type.googleapis.com/google.protobuf.Timestamp, value: 2020-01-01}`,
				`{"@type": type.googleapis.com/google.protobuf.Timestamp, value: "2020-01-01 00:00:00Z"}`,
				`{"@type": type.googleapis.com/google.protobuf.Timestamp, seconds: 1}`,
				`{"@type": type.googleapis.com/google.protobuf.FieldMask, paths: [a]}`,
				`{"@type": type.googleapis.com/google.protobuf.StringValue, value: 5}`,
				`{"@type": type.googleapis.com/google.protobuf.Struct, value: []}`,
				`{"@type": type.googleapis.com/google.protobuf.Struct, foo: bar}`,
			}},
	} {
		for _, v := range c.good {
			if _, err := Load(Input{Data: []byte(c.wrap(v))}); err != nil {
				t.Errorf("%s %s: %v", c.what, v, err)
			}
		}
		for _, v := range c.refused {
			if _, err := Load(Input{Data: []byte(c.wrap(v))}); err == nil {
				t.Errorf("%s %s: accepted", c.what, v)
			}
		}
	}
}

// Hostile input ends in an error, and soon.
func TestHostile(t *testing.T) {
	const deep = 100_000
	bomb := "node:\n  metadata:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		bomb += fmt.Sprintf("    a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	nested := []byte{}
	for range 20_000 { // a Struct in a Struct in binary
		nested = append(protoBytes(1, append(protoBytes(1, []byte("k")), protoBytes(2, protoBytes(5, nested))...)), nil...)
		if len(nested) > 1<<17 {
			break
		}
	}
	for _, c := range []struct {
		name, file string
		data       []byte
	}{
		{"flow nesting", "f.yaml", []byte("node: " + strings.Repeat("[", deep))},
		{"closed flow nesting", "f.yaml", []byte("node: {metadata: {a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}}")},
		{"block nesting", "f.yaml", []byte("node:\n  " + strings.Repeat("- ", deep) + "a\n")},
		{"json nesting", "f.json", []byte(`{"node":{"metadata":` + strings.Repeat(`{"a":`, deep))},
		{"json in yaml nesting", "f.yaml", []byte(`{"node":{"metadata":{"a":` + strings.Repeat(`[`, deep))},
		{"text nesting", "f.pb_text", []byte("node{metadata{" + strings.Repeat("fields{value{struct_value{", deep))},
		{"binary nesting", "f.pb", protoBytes(1, protoBytes(3, nested))},
		{"alias bomb", "f.yaml", []byte(bomb)},
		{"alias to itself", "f.yaml", []byte("node: &a {metadata: *a}")},
		{"faults without end", "f.yaml", []byte(strings.Repeat("- a\n", 10))},
		{"huge exponent", "f.json", []byte(`{"node":{"locality":{}},"stats_flush_interval":1e999999999}`)},
		{"unknown fields without end", "f.json", []byte("{" + strings.TrimSuffix(strings.Repeat(`"foo":1,`, 1)+manyKeys(20_000), ",") + "}")},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(Input{Path: c.file, Data: c.data})
			var is Issues
			if !errors.As(err, &is) {
				t.Fatalf("got %v", err)
			}
			if len(is) > maxIssues+1 {
				t.Errorf("%d issues", len(is))
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"key%d":1,`, i)
	}
	return b.String()
}

// protoBytes is a length-delimited field on the wire.
func protoBytes(number int, b []byte) []byte {
	out := []byte{byte(number<<3 | 2)}
	n := len(b)
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(append(out, byte(n)), b...)
}

// Whatever protojson writes of a message is read as that message, by either
// reader, for every message type there is.
func TestAgainstProtojson(t *testing.T) {
	types := 0
	protoregistry.GlobalTypes.RangeMessages(func(mt protoreflect.MessageType) bool {
		name := mt.Descriptor().FullName()
		if !strings.HasPrefix(string(name), "envoy.") && !strings.HasPrefix(string(name), "xds.") ||
			mt.Descriptor().IsMapEntry() || apiV2.MatchString(string(name)) {
			return true
		}
		types++
		for seed := range uint64(3) {
			g := generator{rand: rand.New(rand.NewPCG(seed, uint64(len(name))))}
			m := mt.New()
			g.fill(m, 4)
			roundTrip(t, m.Interface(), protojson.MarshalOptions{UseProtoNames: seed%2 == 0, EmitDefaultValues: seed == 2, UseEnumNumbers: seed == 1})
		}
		return !t.Failed()
	})
	if types < 1000 {
		t.Errorf("only %d types", types)
	}
}

func roundTrip(t *testing.T, m proto.Message, o protojson.MarshalOptions) {
	t.Helper()
	text, err := o.Marshal(m)
	if err != nil {
		t.Fatalf("%T: %v", m, err)
	}
	for _, f := range []format{formatJSON, formatYAML} {
		l := loader{report: &report{}}
		got := m.ProtoReflect().New().Interface()
		l.decode("f", f, text, got)
		if faults, warnings := l.report.issues(); len(faults)+len(warnings) > 0 {
			t.Errorf("%T: format %d: %v %v\n%s", m, f, faults, warnings, text)
			return
		}
		if !proto.Equal(got, m) {
			t.Errorf("%T: format %d:\n%s\nread as %v\nwrote %v", m, f, text, got, m)
			return
		}
	}
}

// A generator makes messages that protojson can write.
type generator struct{ rand *rand.Rand }

func (g *generator) fill(m protoreflect.Message, depth int) {
	switch m.Descriptor().FullName() {
	case anyName:
		inner := findType([]string{"envoy.config.core.v3.Address", "google.protobuf.Duration", "google.protobuf.UInt64Value", "google.protobuf.Struct"}[g.rand.IntN(4)]).New()
		g.fill(inner, depth-1)
		pack(m, hostPrefix+string(inner.Descriptor().FullName()), inner)
		return
	case durationName, timestampName:
		setSecondsNanos(m, g.rand.Int64N(1<<32), int32(g.rand.IntN(1e9)))
		return
	case fieldMaskName:
		l := m.Mutable(m.Descriptor().Fields().ByName("paths")).List()
		l.Append(protoreflect.ValueOfString("a_b.c"))
		return
	case structName, valueName, listValueName:
		g.fillJSON(m, depth)
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); g.rand.IntN(3) > 0 {
			g.fillField(m, fd, depth)
		}
	}
}

// fillJSON leaves numbers out: in YAML a fraction is text, as it is for Envoy.
func (g *generator) fillJSON(m protoreflect.Message, depth int) {
	v := structpb.NewStringValue(g.text())
	if depth > 0 {
		v = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{
			v, structpb.NewBoolValue(true), structpb.NewNullValue(), structpb.NewNumberValue(float64(g.rand.IntN(100))),
		}})
	}
	switch m.Descriptor().FullName() {
	case valueName:
		setMessage(m, v.ProtoReflect())
	case listValueName:
		setMessage(m, (&structpb.ListValue{Values: []*structpb.Value{v, v}}).ProtoReflect())
	default:
		setMessage(m, (&structpb.Struct{Fields: map[string]*structpb.Value{g.text(): v}}).ProtoReflect())
	}
}

func (g *generator) fillField(m protoreflect.Message, fd protoreflect.FieldDescriptor, depth int) {
	switch {
	case fd.Message() != nil && depth <= 0:
	case fd.IsMap():
		entries := m.Mutable(fd).Map()
		for range g.rand.IntN(3) {
			entries.Set(g.scalar(fd.MapKey()).MapKey(), g.element(entries.NewValue, fd.MapValue(), depth))
		}
	case fd.IsList():
		list := m.Mutable(fd).List()
		for range g.rand.IntN(3) {
			list.Append(g.element(list.NewElement, fd, depth))
		}
	case fd.Message() != nil:
		g.fill(m.Mutable(fd).Message(), depth-1)
	default:
		m.Set(fd, g.scalar(fd))
	}
}

func (g *generator) element(fresh func() protoreflect.Value, fd protoreflect.FieldDescriptor, depth int) protoreflect.Value {
	if fd.Message() == nil {
		return g.scalar(fd)
	}
	v := fresh()
	g.fill(v.Message(), depth-1)
	return v
}

var texts = []string{
	"", "a", "yes", "null", "12", "0x1f", "1.5", "~", "-", "- a", "a: b", "#x", "é😀", "\n", "\t", "\\", "\"", "'", " ", "\u2028",
	"\x00", "*a", "&a", "!b", "<<", "@type", "{", "%", "a\r\nb", strings.Repeat("long ", 300),
}

func (g *generator) text() string { return texts[g.rand.IntN(len(texts))] }

func (g *generator) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	r := g.rand
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(g.text())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(g.text()))
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(r.IntN(values.Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(r.Uint32()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(r.Uint32())
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(r.Uint64())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32([]float32{0, -1.5, 1e-30, math.MaxFloat32, float32(math.Inf(1)), float32(math.NaN())}[r.IntN(6)])
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, 0.1, -2e300, math.Inf(-1), math.NaN(), 12345678901}[r.IntN(6)])
	default:
		return protoreflect.ValueOfInt64(int64(r.Uint64()))
	}
}
