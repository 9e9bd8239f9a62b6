// Package source compiles messages that say where resources come from while the proxy
// runs. It opens nothing.
package source

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// Envoy's default.
const defaultFetchTimeout = 15 * time.Second

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{&sourceFields, &pathFields, &watchedFields}
}

var sourceFields = extension.Fields{
	Message: &corev3.ConfigSource{},
	Obeyed:  []string{"path", "path_config_source", "initial_fetch_timeout"},
	Ignored: map[string]string{"resource_api_version": "resources are of version 3 in any case"},
}

var pathFields = extension.Fields{
	Message: &corev3.PathConfigSource{},
	Obeyed:  []string{"path", "watched_directory"},
}

var watchedFields = extension.Fields{Message: &corev3.WatchedDirectory{}, Obeyed: []string{"path"}}

// Compile returns nil where there is none, or an error was reported.
func Compile(s *extension.Scope, m *corev3.ConfigSource) *plan.ConfigSource {
	if m == nil {
		return nil
	}
	sourceFields.Check(s, m)
	p := &plan.ConfigSource{FetchTimeout: defaultFetchTimeout}
	if t := m.GetInitialFetchTimeout(); t != nil {
		p.FetchTimeout = t.AsDuration()
	}
	switch x := m.GetConfigSourceSpecifier().(type) {
	case *corev3.ConfigSource_Path:
		p.Path = x.Path
	case *corev3.ConfigSource_PathConfigSource:
		p.ResourceSource = path(s.Field("path_config_source"), x.PathConfigSource)
	default: // fields.Check has refused it, or the constraints of the API have
		return nil
	}
	return p
}

func path(s *extension.Scope, m *corev3.PathConfigSource) filter.ResourceSource {
	pathFields.Check(s, m)
	out := filter.ResourceSource{Path: m.GetPath()}
	if d := m.GetWatchedDirectory(); d != nil {
		watchedFields.Check(s.Field("watched_directory"), d)
		out.WatchedDir = d.GetPath()
	}
	return out
}
