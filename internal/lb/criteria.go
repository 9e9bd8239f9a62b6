package lb

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"
)

// listKey is the key of the criteria to be tried in order (Envoy).
const listKey = "fallback_list"

// criteria are what a request wants of its host's metadata, with one of the list that they
// may have over them.
type criteria struct {
	base, over map[string]*structpb.Value
	list       bool // base has a list, which is no criterion
}

// size is the number of keys.
func (c *criteria) size() int {
	n := len(c.base)
	if c.list {
		n--
	}
	for k := range c.over {
		if _, too := c.base[k]; !too || c.list && k == listKey {
			n++
		}
	}
	return n
}

func (c *criteria) get(key string) (*structpb.Value, bool) {
	if v, ok := c.over[key]; ok {
		return v, true
	}
	if c.list && key == listKey {
		return nil, false
	}
	v, ok := c.base[key]
	return v, ok
}

// values appends the encoded values of keys; ok is false when one is missing.
func (c *criteria) values(keys []string, to []byte) (out []byte, ok bool) {
	for _, k := range keys {
		v, ok := c.get(k)
		if !ok {
			return nil, false
		}
		to = appendValue(to, v)
	}
	return to, true
}

// appendValue appends a value so that equal values, and only those, are the same bytes, and
// none begins another one.
func appendValue(to []byte, v *structpb.Value) []byte {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return appendText(append(to, 's'), k.StringValue)
	case *structpb.Value_NumberValue:
		return binary.BigEndian.AppendUint64(append(to, 'n'), math.Float64bits(k.NumberValue+0)) // -0 is 0
	case *structpb.Value_BoolValue:
		if k.BoolValue {
			return append(to, 't')
		}
		return append(to, 'f')
	case *structpb.Value_ListValue:
		to = binary.AppendUvarint(append(to, 'l'), uint64(len(k.ListValue.GetValues())))
		for _, e := range k.ListValue.GetValues() {
			to = appendValue(to, e)
		}
		return to
	case *structpb.Value_StructValue:
		fields := k.StructValue.GetFields()
		to = binary.AppendUvarint(append(to, 'm'), uint64(len(fields)))
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			to = appendValue(appendText(to, name), fields[name])
		}
		return to
	}
	return append(to, 'z')
}

func appendText(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}
