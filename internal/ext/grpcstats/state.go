package grpcstats

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"
)

// stateKey is the filter state of a call that the counts stand in.
const stateKey = "envoy.filters.http.grpc_stats"

// counts are the messages of a call, for access logs.
type counts struct{ requests, responses uint64 }

// Serialize implements filter.Object.
func (c counts) Serialize() (string, bool) {
	return fmt.Sprintf("%d,%d", c.requests, c.responses), true
}

// Field implements filter.Fielded.
func (c counts) Field(name string) (string, bool) {
	switch name {
	case "request_message_count":
		return strconv.FormatUint(c.requests, 10), true
	case "response_message_count":
		return strconv.FormatUint(c.responses, 10), true
	}
	return "", false
}

// Value implements state.Typed: an extensions.filters.http.grpc_stats.v3.FilterObject.
func (c counts) Value() *structpb.Value {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, 2)}
	if c.requests > 0 {
		s.Fields["requestMessageCount"] = structpb.NewStringValue(strconv.FormatUint(c.requests, 10))
	}
	if c.responses > 0 {
		s.Fields["responseMessageCount"] = structpb.NewStringValue(strconv.FormatUint(c.responses, 10))
	}
	return structpb.NewStructValue(s)
}
