// Package compile turns protobuf messages into a plan, or says what is wrong with
// them, all at once and each fault with its field path.
//
// It is pure: it opens and starts nothing, and equal messages give equal plans. It
// never half obeys: a field that ginnel would not do the bidding of is refused,
// unless a table of Support gives the reason why ignoring it is harmless.
package compile

import (
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats"
)

// Options change what is asked of a configuration.
type Options struct{}

const defaultStatsFlush = 5 * time.Second

// Bootstrap compiles a whole configuration. The report holds everything that is
// wrong with it; the plan is of use only when nothing in it is an error.
func Bootstrap(b *bootstrapv3.Bootstrap, reg *extension.Registry, resolve extension.Resolver, _ Options) (*plan.Server, *extension.Report) {
	r := &extension.Report{}
	s := extension.NewScope(r, reg, resolve)
	bootstrapFields.Check(s, b)
	p := &plan.Server{
		Bootstrap: b, Node: b.GetNode(),
		FlushStatsEvery: defaultStatsFlush,
		Runtime:         runtimeLayers(s.Field("layered_runtime"), b.GetLayeredRuntime()),
		Admin:           admin(s.Field("admin"), b.GetAdmin()),
	}
	if every := b.GetStatsFlushInterval(); every != nil {
		p.FlushStatsEvery = every.AsDuration()
	}
	if _, err := stats.Configure(b.GetStatsConfig(), nil); err != nil {
		s.Field("stats_config").Errorf("%v", err)
	}
	elsewhere(s, b, p)
	dynamic(s.Field("dynamic_resources"), b.GetDynamicResources(), p)
	in := internalListeners(s.Field("bootstrap_extensions"), b.GetBootstrapExtensions())
	p.InternalBufferBytes = in.bufferBytes
	static := s.Field("static_resources")
	if m := b.GetStaticResources(); m != nil {
		staticFields.Check(static, m)
		secrets(static.Field("secrets"), s, m.GetSecrets())
		static = s.Field("static_resources")
	}
	p.Listeners = listeners(static.Field("listeners"), b.GetStaticResources().GetListeners(), in.given)
	p.Clusters = clusters(static.Field("clusters"), b.GetStaticResources().GetClusters())
	if all := p.Bind; all != nil {
		for _, c := range p.Clusters {
			c.Bind, c.Hash = inheritBind(c.Bind, all), mixed(c.Hash, hash(b.GetClusterManager().GetUpstreamBindConfig()))
		}
	}
	resolveReferences(s, r, p)
	checkCaches(r)
	return p, r
}
