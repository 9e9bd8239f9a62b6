package upstream

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/internal/plan"
)

// transportFor returns the socket of the first match that the endpoint's metadata
// contains; else the locality's; else the cluster's own.
func transportFor(c *plan.Cluster, endpoint, locality *corev3.Metadata) *plan.Transport {
	for _, meta := range []*corev3.Metadata{endpoint, locality} {
		have := meta.GetFilterMetadata()[transportMatch]
		for i := range c.Transports {
			if contains(have, c.Transports[i].Match) {
				return &c.Transports[i].Transport
			}
		}
	}
	return &c.Transport
}

// transportMatch is the metadata that says which transport an endpoint wants.
const transportMatch = "envoy.transport_socket_match"

// contains reports whether have has all fields of want; an empty want always is.
func contains(have, want *structpb.Struct) bool {
	for k, v := range want.GetFields() {
		if got, ok := have.GetFields()[k]; !ok || !proto.Equal(got, v) {
			return false
		}
	}
	return true
}
