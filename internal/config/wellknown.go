package config

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	anyName       protoreflect.FullName = "google.protobuf.Any"
	durationName  protoreflect.FullName = "google.protobuf.Duration"
	timestampName protoreflect.FullName = "google.protobuf.Timestamp"
	fieldMaskName protoreflect.FullName = "google.protobuf.FieldMask"
	structName    protoreflect.FullName = "google.protobuf.Struct"
	valueName     protoreflect.FullName = "google.protobuf.Value"
	listValueName protoreflect.FullName = "google.protobuf.ListValue"
	emptyName     protoreflect.FullName = "google.protobuf.Empty"
	nullEnumName  protoreflect.FullName = "google.protobuf.NullValue"
)

// wellKnown reads the messages that have a JSON form of their own, and reports
// whether m is one. Duration, Timestamp, FieldMask and the wrappers may also be
// written as the messages they are, as Envoy allows.
func (d *decoder) wellKnown(n *node, m protoreflect.Message, at *place) bool {
	switch name := m.Descriptor().FullName(); {
	case name == anyName:
		d.any(n, m, at)
	case name == structName:
		d.structure(n, m, at)
	case name == valueName:
		d.anyValue(n, m, at)
	case name == listValueName:
		d.listValue(n, m, at)
	case n.kind == dictKind:
		return false
	case name == durationName:
		d.duration(n, m, at)
	case name == timestampName:
		d.timestamp(n, m, at)
	case name == fieldMaskName:
		d.fieldMask(n, m, at)
	case isWrapper(name):
		fd := m.Descriptor().Fields().ByName("value")
		if n.kind == nullKind { // as the value of an Any
			break
		}
		if v, ok := d.scalar(n, fd, at); ok {
			m.Set(fd, v)
		}
	default:
		return false
	}
	return true
}

func isWrapper(name protoreflect.FullName) bool {
	switch name {
	case "google.protobuf.BoolValue", "google.protobuf.StringValue", "google.protobuf.BytesValue",
		"google.protobuf.Int32Value", "google.protobuf.UInt32Value",
		"google.protobuf.Int64Value", "google.protobuf.UInt64Value",
		"google.protobuf.FloatValue", "google.protobuf.DoubleValue":
		return true
	}
	return false
}

// hasValueForm reports whether an Any holds the message as {"@type", "value"}.
func hasValueForm(name protoreflect.FullName) bool {
	switch name {
	case anyName, durationName, timestampName, fieldMaskName, structName, valueName, listValueName:
		return true
	}
	return isWrapper(name)
}

var durationText = regexp.MustCompile(`^(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s$`)

const maxDurationSeconds = 315_576_000_000 // of protobuf: 10,000 years

func (d *decoder) duration(n *node, m protoreflect.Message, at *place) {
	if n.kind == nullKind {
		return
	}
	parts := durationText.FindStringSubmatch(n.value)
	if n.kind != textKind || parts == nil {
		d.mismatch(n, at, `a duration in seconds, such as "5s" or "0.25s"`, suggestDuration(n))
		return
	}
	seconds, _ := strconv.ParseInt(parts[2], 10, 64)
	nanos, _ := strconv.ParseInt((parts[3] + "000000000")[:9], 10, 32)
	if seconds > maxDurationSeconds {
		d.mismatch(n, at, fmt.Sprintf("a duration of at most %ds", maxDurationSeconds), "")
		return
	}
	if parts[1] == "-" {
		seconds, nanos = -seconds, -nanos
	}
	setSecondsNanos(m, seconds, int32(nanos))
}

func setSecondsNanos(m protoreflect.Message, seconds int64, nanos int32) {
	fields := m.Descriptor().Fields()
	m.Set(fields.ByName("seconds"), protoreflect.ValueOfInt64(seconds))
	m.Set(fields.ByName("nanos"), protoreflect.ValueOfInt32(nanos))
}

var wordyDuration = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?|\.[0-9]+) *([a-zA-Zµ]*)$`)

// durationUnits are the seconds in what people write as a unit.
var durationUnits = map[string]*big.Rat{
	"": big.NewRat(1, 1), "s": big.NewRat(1, 1), "sec": big.NewRat(1, 1), "secs": big.NewRat(1, 1),
	"second": big.NewRat(1, 1), "seconds": big.NewRat(1, 1),
	"ms": big.NewRat(1, 1000), "msec": big.NewRat(1, 1000), "millis": big.NewRat(1, 1000),
	"millisecond": big.NewRat(1, 1000), "milliseconds": big.NewRat(1, 1000),
	"us": big.NewRat(1, 1e6), "µs": big.NewRat(1, 1e6), "ns": big.NewRat(1, 1e9),
	"m": big.NewRat(60, 1), "min": big.NewRat(60, 1), "mins": big.NewRat(60, 1),
	"minute": big.NewRat(60, 1), "minutes": big.NewRat(60, 1),
	"h": big.NewRat(3600, 1), "hr": big.NewRat(3600, 1), "hour": big.NewRat(3600, 1), "hours": big.NewRat(3600, 1),
	"d": big.NewRat(86400, 1), "day": big.NewRat(86400, 1), "days": big.NewRat(86400, 1),
}

// suggestDuration reads forms that protobuf has not: 5, 1m30s, 250 ms, 2 minutes.
func suggestDuration(n *node) string {
	text := strings.TrimSpace(strings.TrimPrefix(n.value, "+"))
	if len(text) > 40 || n.kind != textKind && n.kind != numberKind {
		return ""
	}
	if v, err := time.ParseDuration(text); err == nil && v >= 0 {
		return secondsText(big.NewRat(int64(v), int64(time.Second)))
	}
	if parts := wordyDuration.FindStringSubmatch(text); parts != nil {
		count, ok := new(big.Rat).SetString(parts[1])
		unit := durationUnits[strings.ToLower(parts[2])]
		if ok && unit != nil {
			return secondsText(count.Mul(count, unit))
		}
	}
	return ""
}

func secondsText(r *big.Rat) string {
	text := r.FloatString(9)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + "s"
}

func (d *decoder) timestamp(n *node, m protoreflect.Message, at *place) {
	if n.kind == nullKind {
		return
	}
	t, err := time.Parse(time.RFC3339Nano, n.value)
	year := t.UTC().Year()
	if n.kind != textKind || err != nil || fractionDigits(n.value) > 9 || year < 1 || year > 9999 {
		d.mismatch(n, at, `a time such as "2026-01-02T15:04:05Z"`, "")
		return
	}
	setSecondsNanos(m, t.Unix(), int32(t.Nanosecond()))
}

func fractionDigits(s string) int {
	_, fraction, _ := strings.Cut(s, ".")
	return len(fraction) - len(strings.TrimLeft(fraction, "0123456789"))
}

// fieldMask reads comma-separated paths; Envoy takes lower_snake as well as
// protobuf's lowerCamel.
func (d *decoder) fieldMask(n *node, m protoreflect.Message, at *place) {
	if n.kind == nullKind {
		return
	}
	if n.kind != textKind {
		d.mismatch(n, at, "field paths separated by commas", "")
		return
	}
	mask := &fieldmaskpb.FieldMask{}
	for path := range strings.SplitSeq(n.value, ",") {
		if path != "" {
			mask.Paths = append(mask.Paths, snakeCase(path))
		}
	}
	setMessage(m, mask.ProtoReflect())
}

func snakeCase(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			b.WriteByte(c - 'A' + 'a')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// setMessage moves the fields of from to m, which is of the same type, if need be
// one made at run time.
func setMessage(m, from protoreflect.Message) {
	fields := m.Descriptor().Fields()
	from.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		m.Set(fields.ByNumber(fd.Number()), v)
		return true
	})
}

func (d *decoder) structure(n *node, m protoreflect.Message, at *place) {
	if n.kind == nullKind {
		return
	}
	if n.kind != dictKind {
		d.mismatch(n, at, "a mapping", "")
		return
	}
	setMessage(m, d.structValue(n, at).ProtoReflect())
}

func (d *decoder) anyValue(n *node, m protoreflect.Message, at *place) {
	if v := d.value(n, at); v != nil {
		setMessage(m, v.ProtoReflect())
	}
}

func (d *decoder) listValue(n *node, m protoreflect.Message, at *place) {
	if n.kind == nullKind {
		return
	}
	if n.kind != listKind {
		d.mismatch(n, at, "a list", "")
		return
	}
	setMessage(m, d.valueList(n, at).ProtoReflect())
}

// value reads JSON of any form. It returns nil where it had to stop.
func (d *decoder) value(n *node, at *place) *structpb.Value {
	switch n.kind {
	case nullKind:
		return structpb.NewNullValue()
	case boolKind:
		return structpb.NewBoolValue(n.value == "true")
	case textKind:
		return structpb.NewStringValue(n.value)
	case numberKind:
		f, err := strconv.ParseFloat(n.value, 64)
		if err != nil || math.IsInf(f, 0) {
			d.mismatch(n, at, "a number that fits 64-bit floating point", "")
			return nil
		}
		return structpb.NewNumberValue(f)
	case listKind:
		return structpb.NewListValue(d.valueList(n, at))
	default:
		return structpb.NewStructValue(d.structValue(n, at))
	}
}

func (d *decoder) valueList(n *node, at *place) *structpb.ListValue {
	list := &structpb.ListValue{}
	if !d.enter(n, at) {
		return list
	}
	defer d.leave()
	for i, item := range n.items {
		p := at.child(step{kind: byIndex, index: i}, d.pos(item))
		if v := d.value(item, p); v != nil {
			list.Values = append(list.Values, v)
		}
	}
	return list
}

func (d *decoder) structValue(n *node, at *place) *structpb.Struct {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(n.pairs))}
	if !d.enter(n, at) {
		return s
	}
	defer d.leave()
	for _, p := range d.unique(n, at) {
		kid := at.child(step{kind: byKey, name: p.key.value}, d.placeOf(p))
		kid.whole = true
		if v := d.value(p.value, kid); v != nil {
			s.Fields[p.key.value] = v
		}
	}
	return s
}
