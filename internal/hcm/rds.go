package hcm

import (
	"fmt"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/source"
)

// routeSource is where a route table comes from while the proxy runs (RDS).
type routeSource struct {
	name    string
	from    filter.ResourceSource
	timeout time.Duration // for the first answer; 0: any
	scope   func(*extension.Report) *extension.Scope
}

// compileRDS returns nil if an error was reported.
func compileRDS(s *extension.Scope, m *hcmv3.Rds) *routeSource {
	rdsFields.Check(s, m)
	if m.GetRouteConfigName() == "" {
		s.Field("route_config_name").Errorf("is required: a source in files or streams is asked by it")
	}
	if m.GetConfigSource() == nil {
		s.Field("config_source").Errorf("value is required")
	}
	from := source.Compile(s.Field("config_source"), m.GetConfigSource())
	if from == nil {
		return nil
	}
	return &routeSource{name: m.GetRouteConfigName(), from: from.ResourceSource, timeout: from.FetchTimeout, scope: s.Later()}
}

// subscribe makes the tables that are delivered those of the service.
func (sv *service) subscribe(r *routeSource) {
	if sv.env.Resources == nil {
		return
	}
	sv.env.Resources.Subscribe(&filter.ResourceRequest{
		Kind: filter.RouteResource, Name: r.name, Source: r.from, Timeout: r.timeout,
		StatPrefix: "http." + sv.config.StatPrefix + ".rds." + r.name + ".",
		Decode:     func(m proto.Message) (any, error) { return r.compile(m, sv.env.Clusters) },
		Deliver:    func(v any) { sv.routes.Store(v.(*route.Table)) },
	})
}

// compile makes a table of what was delivered. Clusters must be there only where the table
// says so.
func (r *routeSource) compile(m proto.Message, clusters filter.Clusters) (*route.Table, error) {
	report := &extension.Report{}
	t, _ := route.Compile(r.scope(report), m.(*routev3.RouteConfiguration), route.Options{Dynamic: true})
	if err := report.Err(); err != nil {
		return nil, err
	}
	for _, ref := range report.References {
		if !ref.Required {
			continue
		}
		if !known(clusters, ref.Name) {
			return nil, fmt.Errorf("route: unknown cluster '%s'", ref.Name)
		}
	}
	return t, nil
}

func known(clusters filter.Clusters, name string) bool {
	if k, ok := clusters.(filter.KnownClusters); ok {
		return k.Known(name)
	}
	_, ok := clusters.Cluster(name)
	return ok
}
