package compile

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

var sourceFields = extension.Fields{
	Message: &corev3.ConfigSource{},
	Obeyed:  []string{"path_config_source"},
	Ignored: map[string]string{
		"initial_fetch_timeout": "a file is there at once",
		"resource_api_version":  "resources are of version 3 in any case",
	},
}

var pathSourceFields = extension.Fields{
	Message: &corev3.PathConfigSource{},
	Obeyed:  []string{"path", "watched_directory"},
}

var watchedFields = extension.Fields{Message: &corev3.WatchedDirectory{}, Obeyed: []string{"path"}}

// dynamic compiles where resources come from while the proxy runs.
func dynamic(s *extension.Scope, m *bootstrapv3.Bootstrap_DynamicResources, p *plan.Server) {
	if m == nil {
		return
	}
	dynamicFields.Check(s, m)
	p.ListenerSource = source(s.Field("lds_config"), m.GetLdsConfig())
	p.ClusterSource = source(s.Field("cds_config"), m.GetCdsConfig())
}

// source returns nil where there is none, or an error was reported.
func source(s *extension.Scope, m *corev3.ConfigSource) *plan.ConfigSource {
	if m == nil {
		return nil
	}
	sourceFields.Check(s, m)
	x := m.GetPathConfigSource()
	if x == nil {
		return nil
	}
	s = s.Field("path_config_source")
	pathSourceFields.Check(s, x)
	p := &plan.ConfigSource{Path: x.GetPath()}
	if d := x.GetWatchedDirectory(); d != nil {
		watchedFields.Check(s.Field("watched_directory"), d)
		p.WatchedDir = d.GetPath()
	}
	return p
}
