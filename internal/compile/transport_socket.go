package compile

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/transport"
)

// upstreamTransport compiles a transport_socket field; nil is raw_buffer. The name
// stays empty: a transport is named by what matches it.
func upstreamTransport(s *extension.Scope, m *corev3.TransportSocket) plan.Transport {
	socket, ok := transport.Compile(s, m)
	if ok && m != nil && m.GetTypedConfig() == nil {
		s.Strictf("Didn't find a registered implementation for '%s' with type URL: '': Envoy 1.40 wants a typed_config", m.GetName())
	}
	return plan.Transport{Socket: socket}
}

func transportMatches(s *extension.Scope, in []*clusterv3.Cluster_TransportSocketMatch) []plan.TransportMatch {
	var out []plan.TransportMatch
	for i, m := range in {
		at := s.Index(i)
		transportMatchFields.Check(at, m)
		if m.GetTransportSocket() == nil {
			at.Field("transport_socket").Errorf("value is required: a match says which transport socket to use")
		}
		t := upstreamTransport(at.Field("transport_socket"), m.GetTransportSocket())
		t.Name = m.GetName()
		out = append(out, plan.TransportMatch{Transport: t, Match: m.GetMatch()})
	}
	return out
}
