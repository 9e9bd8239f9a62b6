// Package compile turns protobuf messages into a plan, or says what is wrong with
// them, all at once and each fault with its field path. It is pure: it opens and
// starts nothing.
package compile

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	ilv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

type Options struct{}

func Bootstrap(b *bootstrapv3.Bootstrap, reg *extension.Registry, resolve extension.Resolver, o Options) (*plan.Server, *extension.Report) {
	r := &extension.Report{}
	s := extension.NewScope(r, reg, resolve)
	p := &plan.Server{Bootstrap: b, Node: b.Node}
	for _, e := range b.BootstrapExtensions {
		if m, ok := s.Unpack(e.GetTypedConfig()); ok {
			if il, ok := m.(*ilv3.InternalListener); ok && il.BufferSizeKb != nil {
				p.InternalBufferBytes = int(il.BufferSizeKb.Value) << 10
			}
		}
	}
	if a := b.Admin; a != nil {
		p.Admin = &plan.Admin{Address: addr(a.Address)}
	}
	for _, l := range b.GetLayeredRuntime().GetLayers() {
		vals := map[string]*structpb.Value{}
		for k, v := range l.GetStaticLayer().GetFields() {
			vals[k] = v
		}
		p.Runtime = append(p.Runtime, plan.RuntimeLayer{Name: l.Name, Values: vals, Admin: l.GetAdminLayer() != nil})
	}
	for i, l := range b.GetStaticResources().GetListeners() {
		p.Listeners = append(p.Listeners, list(s.Field("static_resources.listeners").Index(i), l))
	}
	for i, c := range b.GetStaticResources().GetClusters() {
		p.Clusters = append(p.Clusters, clus(s.Field("static_resources.clusters").Index(i), c))
	}
	return p, r
}
