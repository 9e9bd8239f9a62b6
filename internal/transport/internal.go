package transport

import (
	internalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// Internal is internal_upstream: it passes metadata and shared filter state to
// internal listeners, and the bytes to another socket.
type Internal struct {
	Inner   extension.UpstreamTransport
	Sources []extension.MetadataSource // in order: of two with one name the later wins
}

// Transparent implements extension.UpstreamTransport.
func (t *Internal) Transparent() bool { return t.Inner.Transparent() }

// NewUpstream implements extension.UpstreamFactory by the socket inside.
func (t *Internal) NewUpstream(env *extension.UpstreamEnv) filter.UpstreamTransport {
	if f, ok := t.Inner.(extension.UpstreamFactory); ok {
		return f.NewUpstream(env)
	}
	return nil
}

// Negotiates implements extension.Negotiator by the socket inside.
func (t *Internal) Negotiates() bool { return Negotiates(t.Inner) }

// LogPaths implements extension.LogWriter by the socket inside.
func (t *Internal) LogPaths() []string { return logPaths(t.Inner) }

// Passthrough implements extension.UpstreamTransport. The socket inside of another
// internal_upstream passes nothing of its own.
func (t *Internal) Passthrough() ([]extension.MetadataSource, bool) { return t.Sources, true }

var (
	internalFields = extension.Fields{
		Message: &internalv3.InternalUpstreamTransport{},
		Obeyed:  []string{"passthrough_metadata", "transport_socket"},
	}
	sourceFields = extension.Fields{
		Message: &internalv3.InternalUpstreamTransport_MetadataValueSource{},
		Obeyed:  []string{"kind", "name"},
	}
)

func compileInternal(s *extension.Scope, m *internalv3.InternalUpstreamTransport) extension.UpstreamTransport {
	internalFields.Check(s, m)
	t := &Internal{Inner: Raw{}}
	for i, src := range m.GetPassthroughMetadata() {
		at := s.Field("passthrough_metadata").Index(i)
		sourceFields.Check(at, src)
		t.Sources = append(t.Sources, compileSource(at, src))
	}
	inner := s.Field("transport_socket")
	if m.GetTransportSocket() == nil {
		inner.Errorf("value is required")
	} else if c, ok := Compile(inner, m.GetTransportSocket()); ok {
		t.Inner = c
	}
	return t
}

func compileSource(s *extension.Scope, m *internalv3.InternalUpstreamTransport_MetadataValueSource) extension.MetadataSource {
	src := extension.MetadataSource{Name: m.GetName()}
	if src.Name == "" {
		s.Field("name").Errorf("value length must be at least 1 characters")
	}
	switch m.GetKind().GetKind().(type) {
	case *metadatav3.MetadataKind_Host_:
		src.Kind = extension.HostMetadata
	case *metadatav3.MetadataKind_Cluster_:
		src.Kind = extension.ClusterMetadata
	case *metadatav3.MetadataKind_Route_:
		src.Kind = extension.RouteMetadata
		s.Field("kind").Strictf("metadata type is not supported: Envoy passes only host and cluster metadata on")
	case *metadatav3.MetadataKind_Request_:
		src.Kind = extension.RequestMetadata
		s.Field("kind").Strictf("metadata type is not supported: Envoy passes only host and cluster metadata on")
	default:
		s.Field("kind").Errorf("value is required")
	}
	return src
}
