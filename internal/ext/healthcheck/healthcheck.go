// Package healthcheck is an HTTP filter that answers health checks of this proxy
// (envoy.extensions.filters.http.health_check.v3.HealthCheck).
package healthcheck

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

var fields = extension.Fields{
	Message: &healthcheckv3.HealthCheck{},
	Obeyed:  []string{"pass_through_mode", "cache_time", "cluster_min_healthy_percentages", "headers"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&fields} }

// Register adds the filter to a registry.
func Register(r *extension.Registry) { extension.Register(r, extension.HTTPFilter, compile) }

// config is the compiled filter.
type config struct {
	headers     httpmatch.Headers
	passThrough bool
	cache       time.Duration // 0: none
	clusters    []minimum
}

// A minimum is the share of a cluster's hosts that must be healthy or degraded.
type minimum struct {
	cluster string
	percent uint64
}

func compile(s *extension.Scope, m *healthcheckv3.HealthCheck) filter.HTTPFilterFactory {
	fields.Check(s, m)
	c := &config{
		headers:     httpmatch.CompileHeaders(s.Field("headers"), m.GetHeaders()),
		passThrough: m.GetPassThroughMode().GetValue(),
		cache:       m.GetCacheTime().AsDuration().Truncate(time.Millisecond),
	}
	switch {
	case m.GetPassThroughMode() == nil:
		s.Field("pass_through_mode").Errorf("is required")
	case !c.passThrough && c.cache > 0:
		s.Field("cache_time").Errorf("cache_time_ms must not be set when path_through_mode is disabled")
	case c.passThrough && len(m.GetClusterMinHealthyPercentages()) > 0:
		s.Field("cluster_min_healthy_percentages").Warnf("has no say in pass_through_mode")
	}
	for name, p := range m.GetClusterMinHealthyPercentages() {
		s := s.Field("cluster_min_healthy_percentages").Key(name)
		if v := p.GetValue(); !(v >= 0 && v <= 100) {
			s.Errorf("value must be inside range [0, 100]")
			continue
		}
		c.clusters = append(c.clusters, minimum{name, uint64(math.Trunc(p.GetValue()))})
	}
	slices.SortFunc(c.clusters, func(a, b minimum) int { return strings.Compare(a.cluster, b.cluster) })
	return c
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (c *config) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	f := &healthCheck{config: c, env: env}
	if c.cache > 0 {
		f.answers = &cache{period: c.cache, begun: time.Now()}
	}
	return f, nil
}

// healthCheck is the running filter.
type healthCheck struct {
	*config
	env     *filter.HTTPEnv
	answers *cache // nil: nothing is kept
}

// WrapHTTP implements filter.HTTPFilter.
func (f *healthCheck) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		answer, asked := next.ServeHTTP, f.headers.Request(s.Request)
		if asked {
			s.Info.HTTP().HealthCheck = true
			answer = func(s *filter.HTTPStream) (*httpmsg.Response, error) { return f.check(s, next) }
		}
		resp, err := answer(s)
		if err != nil {
			return nil, err
		}
		if asked {
			resp.Header.Set("x-envoy-upstream-healthchecked-cluster", f.env.Local.Cluster)
		}
		f.ChangeReply(s, resp)
		return resp, nil
	})
}

// ChangeReply implements filter.HTTPReplyFilter: others shall go elsewhere.
func (f *healthCheck) ChangeReply(_ *filter.HTTPStream, resp *httpmsg.Response) {
	if f.failed() {
		resp.Header.Set("x-envoy-immediate-health-check-fail", "true")
	}
}

func (f *healthCheck) failed() bool { return f.env.HealthFailed != nil && f.env.HealthFailed() }

// check answers a health check, or has the host answer it.
func (f *healthCheck) check(s *filter.HTTPStream, next filter.HTTPHandler) (*httpmsg.Response, error) {
	switch {
	case f.failed():
		return reply(s, http.StatusServiceUnavailable, "health_check_failed"), nil
	case !f.passThrough:
		status, details := f.members()
		return reply(s, status, details), nil
	case f.answers == nil:
		return next.ServeHTTP(s)
	}
	if a, ok := f.answers.get(); ok {
		resp := reply(s, a.status, "health_check_cached")
		if a.degraded {
			resp.Header.Set("x-envoy-degraded", "")
		}
		return resp, nil
	}
	resp, err := next.ServeHTTP(s)
	if err == nil {
		f.answers.put(resp.Status, resp.Header.Has("x-envoy-degraded"))
	}
	return resp, err
}

func reply(s *filter.HTTPStream, status int, details string) *httpmsg.Response {
	l := filter.LocalReply{Status: status, Details: details}
	if status/100 != 2 {
		l.Flags = filter.FailedLocalHealthCheck
	}
	return s.Reply(l)
}

// members looks whether enough hosts of the clusters asked for are there.
func (f *healthCheck) members() (status int, details string) {
	if len(f.clusters) == 0 {
		return http.StatusOK, "health_check_ok"
	}
	for _, m := range f.clusters {
		c, ok := f.env.Clusters.Cluster(m.cluster)
		if !ok {
			return http.StatusServiceUnavailable, "health_check_failed_no_cluster_found"
		}
		available, total := 0, 0
		if c, ok := c.(filter.Membership); ok {
			available, total = c.Members()
		}
		switch {
		case total == 0 && m.percent > 0:
			return http.StatusServiceUnavailable, "health_check_failed_cluster_empty"
		case 100*uint64(available) < uint64(total)*m.percent:
			return http.StatusServiceUnavailable, "health_check_failed_cluster_unhealthy"
		}
	}
	return http.StatusOK, "health_check_ok_cluster_healthy"
}

// A cache keeps the last answer of the host until the period ends in which it came; the
// periods follow one another since the cache was made, as in Envoy.
type cache struct {
	period time.Duration
	begun  time.Time
	last   atomic.Pointer[answer]
}

type answer struct {
	status   int
	degraded bool
	in       int64 // which period
}

func (c *cache) now() int64 { return int64(time.Since(c.begun) / c.period) }

func (c *cache) get() (answer, bool) {
	if a := c.last.Load(); a != nil && a.in == c.now() {
		return *a, true
	}
	return answer{}, false
}

func (c *cache) put(status int, degraded bool) { c.last.Store(&answer{status, degraded, c.now()}) }
