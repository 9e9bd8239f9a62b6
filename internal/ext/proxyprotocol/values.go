package proxyprotocol

import (
	"encoding/json"

	"google.golang.org/protobuf/types/known/structpb"
)

// StateKey names the filter-state object that has the values of TLVs by the keys of their
// rules.
const StateKey = "envoy.network.proxy_protocol.tlv"

// values does not change once it is in a filter state.
type values map[string]string

func (v values) with(key, value string) values {
	if v == nil {
		v = make(values)
	}
	v[key] = value
	return v
}

// Serialize implements filter.Object.
func (v values) Serialize() (string, bool) {
	b, err := json.Marshal(map[string]string(v))
	return string(b), err == nil
}

// Field implements filter.Fielded.
func (v values) Field(name string) (string, bool) {
	s, ok := v[name]
	return s, ok
}

// Value implements state.Typed.
func (v values) Value() *structpb.Value {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(v))}
	for k, text := range v {
		s.Fields[k] = structpb.NewStringValue(text)
	}
	return structpb.NewStructValue(s)
}
