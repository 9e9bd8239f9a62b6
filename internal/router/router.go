package router

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// A Router serves the requests of one connection manager. It implements
// filter.HTTPHandler.
type Router struct {
	config *Config
	env    *filter.HTTPEnv
	stats  stats
	logs   []filter.AccessLog

	clusters book[string, *clusterStats]
	shares   book[shareKey, *responses]
	calls    sync.Pool           // of *call
	limits   numbers             // of x-envoy-expected-rq-timeout-ms
	random   func(n int64) int64 // below n, which is positive
}

// panicked notes that a filter has panicked in a goroutine of the router.
func (r *Router) panicked(v any) {
	r.env.HTTP.Counter("downstream_rq_panic").Add(1)
	if r.env.Env != nil && r.env.Log != nil {
		r.env.Log.Error("a filter panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	}
}

// NewHTTPHandler implements filter.HTTPTerminalFactory.
func (c *Config) NewHTTPHandler(env *filter.HTTPEnv) (filter.HTTPHandler, error) {
	r := &Router{config: c, env: env, stats: newStats(env.HTTP), random: rand.Int64N}
	r.calls.New = func() any { return newCall(r) }
	for _, f := range c.Logs {
		log, err := f.NewAccessLog(env.Env)
		if err != nil {
			return nil, err
		}
		r.logs = append(r.logs, log)
	}
	return r, nil
}

// ServeHTTP implements filter.HTTPHandler.
func (r *Router) ServeHTTP(s *filter.HTTPStream) (*httpmsg.Response, error) {
	r.stats.total.Add(1)
	rt := routeOf(s)
	switch {
	case rt == nil:
		r.stats.noRoute.Add(1)
		return s.Reply(filter.LocalReply{Status: 404, Flags: filter.NoRouteFound, Details: "route_not_found"}), nil
	case rt.Action == nil:
		return r.direct(s, rt), nil
	}
	cluster, ok := r.cluster(rt.Action, s.Request)
	if !ok {
		r.stats.noCluster.Add(1)
		return s.Reply(filter.LocalReply{
			Status: rt.Action.NotFoundStatus, Flags: filter.NoClusterFound, Details: "cluster_not_found",
		}), nil
	}
	x := r.calls.Get().(*call)
	x.begin(s, rt, cluster)
	return x.serve()
}

// routeOf returns the route of a stream; nil: none.
func routeOf(s *filter.HTTPStream) *route.Route {
	rt, _ := s.Route().(*route.Route)
	return rt
}

// cluster finds the cluster of a request.
func (r *Router) cluster(a *route.Action, req *httpmsg.Request) (filter.HTTPCluster, bool) {
	c, ok := r.env.Clusters.Cluster(a.ClusterOf(req))
	if !ok {
		return nil, false
	}
	h, ok := c.(filter.HTTPCluster)
	return h, ok
}

// statsOf returns what is counted of a cluster, of which there may be several versions
// with the same counters.
func (r *Router) statsOf(c filter.HTTPCluster) *clusterStats {
	return r.clusters.get(c.Name(),
		func(s *clusterStats) bool { return s.cluster == c },
		func() *clusterStats { return newClusterStats(c) })
}
