package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ginnel/ginnel/internal/suggest"
)

// scalar reads a value of a scalar field, as Envoy 1.40's JSON reader does.
func (d *decoder) scalar(n *node, fd protoreflect.FieldDescriptor, at *place) (protoreflect.Value, bool) {
	var none protoreflect.Value
	switch fd.Kind() {
	case protoreflect.BoolKind:
		if v, ok := boolOf(n); ok {
			return protoreflect.ValueOfBool(v), true
		}
		d.mismatch(n, at, "true or false", suggestBool(n))
	case protoreflect.StringKind:
		if n.kind == textKind {
			return protoreflect.ValueOfString(n.value), true
		}
		d.mismatch(n, at, "text", suggestText(n))
	case protoreflect.BytesKind:
		if v, ok := bytesOf(n); ok {
			return protoreflect.ValueOfBytes(v), true
		}
		d.mismatch(n, at, "bytes in base64", "")
	case protoreflect.EnumKind:
		return d.enum(n, fd.Enum(), at)
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return d.float(n, fd.Kind(), at)
	default:
		return d.integer(n, fd.Kind(), at)
	}
	return none, false
}

// boolOf also takes the texts of absl::SimpleAtob.
func boolOf(n *node) (value, ok bool) {
	switch n.kind {
	case boolKind:
		return n.value == "true", true
	case textKind:
		switch strings.ToLower(n.value) {
		case "true", "t", "yes", "y", "1":
			return true, true
		case "false", "f", "no", "n", "0":
			return false, true
		}
	}
	return false, false
}

func suggestBool(n *node) string {
	switch strings.ToLower(n.value) {
	case "1", "on", "enable", "enabled", "ture", "treu", "tru":
		return "true"
	case "0", "off", "disable", "disabled", "flase", "fales", "fals":
		return "false"
	}
	return ""
}

func suggestText(n *node) string {
	switch {
	case n.kind == boolKind, n.kind == numberKind:
		return strconv.Quote(n.written())
	case n.kind == listKind && len(n.items) == 1 && n.items[0].kind == textKind:
		return n.items[0].written()
	}
	return ""
}

// bytesOf reads base64 with either alphabet, padded or not.
func bytesOf(n *node) ([]byte, bool) {
	if n.kind != textKind {
		return nil, false
	}
	text := strings.NewReplacer("-", "+", "_", "/").Replace(n.value)
	if strings.ContainsAny(text, "\r\n") { // which the decoder would skip
		return nil, false
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return b, err == nil
}

// enum reads the name of a value in any case, or its number.
func (d *decoder) enum(n *node, ed protoreflect.EnumDescriptor, at *place) (protoreflect.Value, bool) {
	switch n.kind {
	case nullKind:
		if ed.FullName() == nullEnumName {
			return protoreflect.ValueOfEnum(0), true
		}
	case numberKind, textKind:
		if ev := enumByName(ed, n.value); ev != nil {
			return protoreflect.ValueOfEnum(ev.Number()), true
		}
		if i, err := strconv.ParseInt(n.value, 10, 32); err == nil {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(i)), true
		}
	}
	at.failed = true
	severity := Error
	if n.kind == textKind { // a value of a later API, for all we know
		severity = d.unknown
	}
	names := enumNames(ed)
	d.fault(n, at, Issue{
		Severity: severity, Message: "got " + n.String(), Expected: oneOf(names), Suggestion: suggestEnum(n, ed, names),
	})
	return protoreflect.Value{}, false
}

func suggestEnum(n *node, ed protoreflect.EnumDescriptor, names []string) string {
	if n.kind == listKind || n.kind == dictKind {
		return ""
	}
	word := strings.NewReplacer("-", "_", " ", "_").Replace(n.written())
	if ev := enumByName(ed, word); ev != nil {
		if n.kind == boolKind { // YAML takes a bare OFF for false
			return strconv.Quote(string(ev.Name()))
		}
		return string(ev.Name())
	}
	return suggest.Nearest(strings.ToUpper(word), names)
}

func enumByName(ed protoreflect.EnumDescriptor, name string) protoreflect.EnumValueDescriptor {
	if ev := ed.Values().ByName(protoreflect.Name(name)); ev != nil {
		return ev
	}
	for i := range ed.Values().Len() {
		if ev := ed.Values().Get(i); strings.EqualFold(string(ev.Name()), name) {
			return ev
		}
	}
	return nil
}

func enumNames(ed protoreflect.EnumDescriptor) []string {
	names := make([]string, 0, ed.Values().Len())
	for i := range ed.Values().Len() {
		if name := string(ed.Values().Get(i).Name()); !strings.HasPrefix(name, "hidden_envoy_deprecated") {
			names = append(names, name)
		}
	}
	return names
}

// oneOf lists alternatives for a message.
func oneOf(names []string) string {
	const most = 12
	if len(names) > most {
		return fmt.Sprintf("one of %s and %d others", strings.Join(names[:most], ", "), len(names)-most)
	}
	return "one of " + strings.Join(names, ", ")
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// float reads a number, also one in quotes, and the words for those that JSON lacks.
func (d *decoder) float(n *node, kind protoreflect.Kind, at *place) (protoreflect.Value, bool) {
	bits := 64
	if kind == protoreflect.FloatKind {
		bits = 32
	}
	f, ok := floatOf(n, bits)
	if !ok {
		d.mismatch(n, at, "a number", suggestFloat(n))
		return protoreflect.Value{}, false
	}
	if bits == 32 {
		return protoreflect.ValueOfFloat32(float32(f)), true
	}
	return protoreflect.ValueOfFloat64(f), true
}

func floatOf(n *node, bits int) (float64, bool) {
	if n.kind != numberKind && n.kind != textKind || strings.ContainsAny(n.value, "xXpP_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(n.value, bits)
	return f, err == nil
}

func suggestFloat(n *node) string {
	switch strings.ToLower(n.value) {
	case ".inf", "+.inf":
		return "Infinity"
	case "-.inf":
		return "-Infinity"
	case ".nan":
		return "NaN"
	}
	if percent, ok := strings.CutSuffix(n.value, "%"); ok && jsonNumber.MatchString(percent) {
		return percent
	}
	return ""
}

// integerRange tells the bounds of an integer kind.
func integerRange(kind protoreflect.Kind) (low, high *big.Int) {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return big.NewInt(math.MinInt32), big.NewInt(math.MaxInt32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return new(big.Int), big.NewInt(math.MaxUint32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return new(big.Int), new(big.Int).SetUint64(math.MaxUint64)
	default:
		return big.NewInt(math.MinInt64), big.NewInt(math.MaxInt64)
	}
}

// integer reads a whole number, also one in quotes or written as 1e3 or 1.0.
func (d *decoder) integer(n *node, kind protoreflect.Kind, at *place) (protoreflect.Value, bool) {
	low, high := integerRange(kind)
	i := integerOf(n)
	if i == nil || i.Cmp(low) < 0 || i.Cmp(high) > 0 {
		d.mismatch(n, at, fmt.Sprintf("a whole number from %s to %s", low, high), suggestInteger(n))
		return protoreflect.Value{}, false
	}
	if isOctal(n.source) {
		d.fault(n, at, Issue{Severity: Warning, Message: fmt.Sprintf("%s is octal: it means %s", n.source, n.value)})
	}
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(i.Int64())), true
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(i.Uint64())), true
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(i.Uint64()), true
	default:
		return protoreflect.ValueOfInt64(i.Int64()), true
	}
}

// isOctal reports whether YAML takes what looks like a decimal number for octal.
func isOctal(source string) bool {
	digits := strings.TrimLeft(source, "+-")
	return len(digits) > 1 && digits[0] == '0' && strings.Trim(digits, "01234567") == ""
}

// integerOf returns nil for what is not a whole number, or absurdly large.
func integerOf(n *node) *big.Int {
	if n.kind != numberKind && n.kind != textKind {
		return nil
	}
	if i, err := strconv.ParseInt(n.value, 10, 64); err == nil && jsonNumber.MatchString(n.value) {
		return big.NewInt(i)
	}
	const longest = 64 // more digits, or a larger exponent, than any type holds
	if len(n.value) > longest || !jsonNumber.MatchString(n.value) {
		return nil
	}
	if e := strings.IndexAny(n.value, "eE"); e >= 0 {
		if x, err := strconv.Atoi(n.value[e+1:]); err != nil || x > longest || x < -longest {
			return nil
		}
	}
	r, ok := new(big.Rat).SetString(n.value)
	if !ok || !r.IsInt() {
		return nil
	}
	return r.Num()
}

// unitBytes are the suffixes of sizes that people write where bytes are wanted.
var unitBytes = map[string]int64{
	"k": 1 << 10, "kb": 1 << 10, "ki": 1 << 10, "kib": 1 << 10,
	"m": 1 << 20, "mb": 1 << 20, "mi": 1 << 20, "mib": 1 << 20,
	"g": 1 << 30, "gb": 1 << 30, "gi": 1 << 30, "gib": 1 << 30,
}

func suggestInteger(n *node) string {
	if n.kind != textKind {
		return ""
	}
	text := strings.ReplaceAll(strings.TrimSpace(n.value), "_", "")
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return strconv.FormatInt(i, 10)
	}
	digits := strings.TrimRight(text, "kKmMgGiIbB ")
	unit := unitBytes[strings.ToLower(strings.TrimSpace(text[len(digits):]))]
	if i, err := strconv.ParseInt(digits, 10, 32); err == nil && unit > 0 {
		return strconv.FormatInt(i*unit, 10)
	}
	return ""
}
