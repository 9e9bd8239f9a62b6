package router

import (
	"log/slog"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// A world is what stands around a router: routes, clusters, statistics.
type world struct {
	t        testing.TB
	handler  filter.HTTPHandler
	table    *route.Table
	counts   *counts
	clusters map[string]*cluster
	c        *cluster       // the one called c
	only     filter.Cluster // in place of all; nil: there is none
}

// newWorld makes a router with the routes of a virtual host, as JSON.
func newWorld(t testing.TB, config *Config, routes string) *world {
	return newHost(t, config, `"routes": [`+routes+`]`)
}

// newHost makes a router with a virtual host, as JSON without its name and domain.
func newHost(t testing.TB, config *Config, host string) *world {
	t.Helper()
	m := &routev3.RouteConfiguration{}
	text := `{"name": "r", "virtualHosts": [{"name": "v", "domains": ["*"], ` + host + `}]}`
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	var report extension.Report
	table, ok := route.Compile(extension.NewScope(&report, &extension.Registry{}, unpackAny), m, route.Options{})
	if !ok {
		t.Fatalf("%+v", report.Issues)
	}
	w := &world{t: t, table: table, counts: &counts{of: make(map[string]*number)}}
	w.c = w.cluster("c")
	w.clusters = map[string]*cluster{"c": w.c}
	env := &filter.HTTPEnv{
		Env: &filter.Env{
			Stats: w.counts, Clusters: w, Log: slog.New(slog.DiscardHandler), Runtime: noRuntime{},
			Listener: &filter.ListenerInfo{BufferBytes: 1 << 20},
		},
		HTTP: w.counts.Scope("http.p."),
	}
	h, err := config.NewHTTPHandler(env)
	if err != nil {
		t.Fatal(err)
	}
	w.handler = h
	return w
}

func (w *world) cluster(name string) *cluster {
	return &cluster{world: w, info: filter.ClusterInfo{Name: name}, stats: w.counts.Scope("cluster." + name + ".")}
}

// Cluster implements filter.Clusters.
func (w *world) Cluster(name string) (filter.Cluster, bool) {
	if w.only != nil {
		return w.only, true
	}
	c, ok := w.clusters[name]
	return c, ok
}

type noRuntime struct{}

func (noRuntime) Enabled(_ string, n uint32) bool  { return n >= 1_000_000 }
func (noRuntime) Uint(_ string, def uint64) uint64 { return def }

func (w *world) client(r *httpmsg.Request) *client {
	c := &client{world: w}
	if r.Authority == "" {
		r.Authority = "h"
	}
	if r.Scheme == "" {
		r.Scheme = "http"
	}
	c.body, _ = r.Body.(*clientBody)
	info := &filter.Info{Start: time.Now(), Listener: &filter.ListenerInfo{BufferBytes: 1 << 20}}
	info.More().HTTP = &filter.HTTPInfo{Protocol: httpmsg.HTTP11, Request: r}
	c.stream = &filter.HTTPStream{Info: info, Request: r, HTTPHost: c}
	return c
}

// get has a GET of a path answered.
func (w *world) get(path string, header ...string) result {
	return w.client(get(path, header...)).do()
}
