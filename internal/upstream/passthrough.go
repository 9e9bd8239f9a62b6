package upstream

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// passthrough is what internal_upstream passes on of the metadata around a host. It
// is worked out once where that can be: most sources are fixed with the host.
type passthrough struct {
	on      bool // an internal_upstream: shared filter state passes, too
	fixed   filter.Metadata
	missing uint64 // sources without metadata

	sources          []extension.MetadataSource // nil: fixed is all there is
	cluster, ofAHost *corev3.Metadata
}

func newPassthrough(t extension.UpstreamTransport, cluster, host *corev3.Metadata) passthrough {
	sources, on := t.Passthrough()
	p := passthrough{on: on}
	for _, s := range sources {
		if s.Kind == extension.RouteMetadata || s.Kind == extension.RequestMetadata {
			p.sources, p.cluster, p.ofAHost = sources, cluster, host
			return p
		}
	}
	p.fixed, p.missing = gather(sources, cluster, host, nil, nil)
	return p
}

// metadata returns what passes with one connection, and how many sources had none.
// The caller must not change it.
func (p *passthrough) metadata(i *filter.Info, route *corev3.Metadata) (filter.Metadata, uint64) {
	if p.sources == nil {
		return p.fixed, p.missing
	}
	return gather(p.sources, p.cluster, p.ofAHost, i, route)
}

// gather reads the sources in order: of two with one name the later wins whole
// (Envoy).
func gather(sources []extension.MetadataSource, cluster, host *corev3.Metadata, i *filter.Info, route *corev3.Metadata) (out filter.Metadata, missing uint64) {
	for _, s := range sources {
		var v *structpb.Struct
		switch s.Kind {
		case extension.HostMetadata:
			v = host.GetFilterMetadata()[s.Name]
		case extension.ClusterMetadata:
			v = cluster.GetFilterMetadata()[s.Name]
		case extension.RouteMetadata:
			v = route.GetFilterMetadata()[s.Name]
		case extension.RequestMetadata:
			v = i.Metadata[s.Name]
		}
		if v == nil {
			missing++
			continue
		}
		if out == nil {
			out = make(filter.Metadata, len(sources))
		}
		out[s.Name] = v
	}
	return out, missing
}
