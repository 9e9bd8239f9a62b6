package state

import (
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/httpmsg"
)

// Headers are those of a message: what a tunnel's answer was, for logs.
type Headers struct{ value *structpb.Value }

// NewHeaders returns the object for h, which it copies.
func NewHeaders(h httpmsg.Header) Headers {
	lines := make([]*structpb.Value, len(h))
	for i, f := range h {
		lines[i] = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"key": structpb.NewStringValue(f.Name), "value": structpb.NewStringValue(f.Value),
		}})
	}
	return Headers{structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
		"headers": structpb.NewListValue(&structpb.ListValue{Values: lines}),
	}})}
}

// Serialize implements filter.Object: there is no text of it.
func (h Headers) Serialize() (string, bool) { return "", false }

// Value implements Typed.
func (h Headers) Value() *structpb.Value { return h.value }
