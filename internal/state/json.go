package state

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
)

// CompileJSON compiles a JSON format: an object with the same fields, sorted, in
// which every string is a format. A string that is a single operator takes the type
// of its value. Each object is followed by a newline.
func CompileJSON(format *structpb.Struct, o Options) (Formatter, error) {
	root, err := newObject("", format, o)
	if err != nil {
		return nil, err
	}
	root.root = true
	return &jsonFormat{root: root, omit: o.OmitEmpty}, nil
}

// A FieldError is an error in one string of a JSON format.
type FieldError struct {
	Path string // as in a.b[2]
	Err  error
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns the error itself.
func (e *FieldError) Unwrap() error { return e.Err }

type jsonFormat struct {
	root *object
	omit bool
}

// Append implements Formatter.
func (f *jsonFormat) Append(dst []byte, info *filter.Info, t filter.AccessLogType) []byte {
	dst, _ = f.root.append(dst, moment{info, t}, f.omit)
	return append(dst, '\n')
}

// A node adds its JSON to dst. False, only with omit: it has nothing to print, and
// dst is as it was.
type node interface {
	append(dst []byte, m moment, omit bool) ([]byte, bool)
}

func newNode(path string, v *structpb.Value, o Options) (node, error) {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StructValue:
		return newObject(path, k.StructValue, o)
	case *structpb.Value_ListValue:
		return newList(path, k.ListValue, o)
	case *structpb.Value_StringValue:
		if strings.Contains(k.StringValue, "%") {
			return newTemplate(path, k.StringValue, o)
		}
	case nil, *structpb.Value_NullValue:
		return null{}, nil
	}
	return constant(appendValue(nil, v)), nil
}

// object is a JSON object, its members in the order of their keys.
type object struct {
	keys   []string // with quotes and colon
	values []node
	root   bool // printed even when it is empty
}

func newObject(path string, s *structpb.Struct, opts Options) (*object, error) {
	o := &object{}
	for _, k := range slices.Sorted(maps.Keys(s.GetFields())) {
		at := k
		if path != "" {
			at = path + "." + k
		}
		v, err := newNode(at, s.Fields[k], opts)
		if err != nil {
			return nil, err
		}
		o.keys = append(o.keys, string(append(appendQuoted(nil, k), ':')))
		o.values = append(o.values, v)
	}
	return o, nil
}

func (o *object) append(dst []byte, m moment, omit bool) ([]byte, bool) {
	start, empty := len(dst), true
	dst = append(dst, '{')
	for i, v := range o.values {
		before := len(dst)
		if !empty {
			dst = append(dst, ',')
		}
		out, ok := v.append(append(dst, o.keys[i]...), m, omit)
		if !ok {
			dst = dst[:before]
			continue
		}
		dst, empty = out, false
	}
	if empty && omit && !o.root {
		return dst[:start], false
	}
	return append(dst, '}'), true
}

// list is a JSON array; it is printed even when it is empty.
type list []node

func newList(path string, l *structpb.ListValue, o Options) (node, error) {
	out := list{}
	for i, v := range l.GetValues() {
		n, err := newNode(path+"["+strconv.Itoa(i)+"]", v, o)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (l list) append(dst []byte, m moment, omit bool) ([]byte, bool) {
	dst = append(dst, '[')
	empty := true
	for _, v := range l {
		before := len(dst)
		if !empty {
			dst = append(dst, ',')
		}
		out, ok := v.append(dst, m, omit)
		if !ok {
			dst = dst[:before]
			continue
		}
		dst, empty = out, false
	}
	return append(dst, ']'), true
}

type constant []byte

func (c constant) append(dst []byte, _ moment, _ bool) ([]byte, bool) { return append(dst, c...), true }

type null struct{}

func (null) append(dst []byte, _ moment, omit bool) ([]byte, bool) {
	if omit {
		return dst, false
	}
	return append(dst, "null"...), true
}

// single is a string that is one operator and so keeps its type.
type single struct{ op operator }

func newTemplate(path, format string, o Options) (node, error) {
	ops, err := parse(format, o)
	if err != nil {
		return nil, &FieldError{path, err}
	}
	if len(ops) == 1 {
		return single{ops[0]}, nil
	}
	return mixed(ops), nil
}

func (s single) append(dst []byte, m moment, omit bool) ([]byte, bool) {
	if out, ok := s.op.appendJSON(dst, m); ok {
		return out, true
	}
	return null{}.append(dst, m, omit)
}

// mixed is a string of several operators and texts.
type mixed []operator

func (x mixed) append(dst []byte, m moment, omit bool) ([]byte, bool) {
	f := textFormat{ops: x, missing: "-"}
	if omit {
		f.missing = ""
	}
	dst = append(dst, '"')
	start := len(dst)
	return append(escapeTail(f.append(dst, m), start), '"'), true
}

// appendValue adds a protobuf value as JSON, object members sorted.
func appendValue(dst []byte, v *structpb.Value) []byte {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return appendQuoted(dst, k.StringValue)
	case *structpb.Value_NumberValue:
		return appendNumber(dst, k.NumberValue)
	case *structpb.Value_BoolValue:
		return strconv.AppendBool(dst, k.BoolValue)
	case *structpb.Value_StructValue:
		return appendStruct(dst, k.StructValue)
	case *structpb.Value_ListValue:
		dst = append(dst, '[')
		for i, e := range k.ListValue.GetValues() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, e)
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

func appendStruct(dst []byte, s *structpb.Struct) []byte {
	dst = append(dst, '{')
	for i, k := range slices.Sorted(maps.Keys(s.GetFields())) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, k), ':')
		dst = appendValue(dst, s.Fields[k])
	}
	return append(dst, '}')
}

// appendNumber prints a double as C++'s std::to_chars does: the shortest digits that
// read back the same, and of the fixed and the scientific form the shorter one.
func appendNumber(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	var fixed, scientific [400]byte
	precision := -1
	if math.Abs(v) >= 1<<53 {
		precision = 0 // exact
	}
	f := strconv.AppendFloat(fixed[:0], v, 'f', precision, 64)
	e := strconv.AppendFloat(scientific[:0], v, 'e', -1, 64)
	if len(e) < len(f) {
		f = e
	}
	return append(dst, f...)
}

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := len(dst)
	return append(escapeTail(append(dst, s...), start), '"')
}

// escapeTail escapes what dst has from start on for a JSON string. Only quotes,
// backslashes and control characters are escaped, and in text that is not UTF-8
// every byte beyond ASCII, as in Envoy.
func escapeTail(dst []byte, start int) []byte {
	valid := utf8.Valid(dst[start:])
	needs := func(c byte) bool { return c < ' ' || c == '"' || c == '\\' || c >= 0x80 && !valid }
	i := slices.IndexFunc(dst[start:], needs)
	if i < 0 {
		return dst
	}
	tail := string(dst[start+i:])
	dst = dst[:start+i]
	for _, c := range []byte(tail) {
		switch {
		case !needs(c):
			dst = append(dst, c)
		case short[c] != 0:
			dst = append(dst, '\\', short[c])
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// short are the characters with an escape of two characters.
var short = [256]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
