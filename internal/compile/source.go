package compile

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/source"
)

// dynamic compiles where resources come from while the proxy runs.
func dynamic(s *extension.Scope, m *bootstrapv3.Bootstrap_DynamicResources, p *plan.Server) {
	if m == nil {
		return
	}
	dynamicFields.Check(s, m)
	p.ListenerSource = source.Compile(s.Field("lds_config"), m.GetLdsConfig())
	p.ClusterSource = source.Compile(s.Field("cds_config"), m.GetCdsConfig())
}
