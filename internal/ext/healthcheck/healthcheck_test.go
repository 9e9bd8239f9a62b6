package healthcheck_test

import (
	"testing"
	"testing/synctest"
	"time"

	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/ext/healthcheck"
	"github.com/ginnel/ginnel/internal/ext/teststream"
	"github.com/ginnel/ginnel/internal/testcompile"
)

const path = `"headers": [{"name": ":path", "string_match": {"exact": "/healthz"}}]`

// clusters have so many hosts, of which so many are available.
type clusters map[string][2]int

func (c clusters) Cluster(name string) (filter.Cluster, bool) {
	n, ok := c[name]
	return members{n: n}, ok
}

type members struct {
	filter.Cluster // nil: nobody connects
	n              [2]int
}

func (m members) Members() (available, total int) { return m.n[0], m.n[1] }

func TestMembers(t *testing.T) {
	for _, c := range []struct {
		available, total int
		percent          string
		status           int
		details          string
	}{
		{3, 4, "75", 200, "health_check_ok_cluster_healthy"},
		{3, 4, "75.9", 200, "health_check_ok_cluster_healthy"}, // the fraction does not count
		{3, 4, "76", 503, "health_check_failed_cluster_unhealthy"},
		{0, 4, "0", 200, "health_check_ok_cluster_healthy"},
		{0, 0, "0.9", 200, "health_check_ok_cluster_healthy"},
		{0, 0, "1", 503, "health_check_failed_cluster_empty"},
	} {
		env := teststream.NewEnv()
		env.Clusters = clusters{"up": {c.available, c.total}}
		f := teststream.Filter(t, env, healthcheck.Register, &healthcheckv3.HealthCheck{},
			`{"pass_through_mode": false, "cluster_min_healthy_percentages": {"up": {"value": `+c.percent+`}}, `+path+`}`)
		s := teststream.New("GET", "/healthz")
		resp, err := s.Serve(f, teststream.Answer(404, nil))
		if err != nil || resp.Status != c.status || s.Local.Details != c.details || !s.Info.HTTP().HealthCheck {
			t.Errorf("%d of %d, %s %%: %v %v, %v", c.available, c.total, c.percent, resp.Status, s.Local, err)
		}
		if failed := s.Info.Flags == filter.FailedLocalHealthCheck; failed != (c.status == 503) {
			t.Errorf("%d of %d: flags %v", c.available, c.total, s.Info.Flags)
		}
	}
}

// TestCache: an answer of the host is good until its period ends.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := teststream.Filter(t, teststream.NewEnv(), healthcheck.Register, &healthcheckv3.HealthCheck{},
			`{"pass_through_mode": true, "cache_time": "10s", `+path+`}`)
		asked := 0
		ask := func() *httpmsg.Response {
			resp, err := teststream.New("GET", "/healthz").Serve(f, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
				asked++
				return teststream.Answer(299+asked, nil, "x-envoy-degraded: ")(s)
			})
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		for _, c := range []struct {
			after  time.Duration
			status int
		}{{0, 300}, {9 * time.Second, 300}, {time.Second, 301}, {9 * time.Second, 301}, {20 * time.Second, 302}} {
			time.Sleep(c.after)
			if r := ask(); r.Status != c.status || !r.Header.Has("x-envoy-degraded") {
				t.Errorf("after %v: %+v, want %d", c.after, r, c.status)
			}
		}
	})
}

// TestFailed: the operator's word counts more than anything, and others hear of it.
func TestFailed(t *testing.T) {
	failed := true
	env := teststream.NewEnv()
	env.HealthFailed = func() bool { return failed }
	f := teststream.Filter(t, env, healthcheck.Register, &healthcheckv3.HealthCheck{}, `{"pass_through_mode": true, `+path+`}`)
	for _, c := range []struct {
		failed bool
		path   string
		status int
		tells  bool
	}{{true, "/healthz", 503, true}, {true, "/", 204, true}, {false, "/healthz", 204, false}, {false, "/", 204, false}} {
		failed = c.failed
		resp, err := teststream.New("GET", c.path).Serve(f, teststream.Answer(204, nil))
		if err != nil || resp.Status != c.status || resp.Header.Has("x-envoy-immediate-health-check-fail") != c.tells {
			t.Errorf("%+v: %+v, %v", c, resp, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "x.pass_through_mode",
		`{"pass_through_mode": false, "cache_time": "1s"}`:                                       "x.cache_time",
		`{"pass_through_mode": false, "cluster_min_healthy_percentages": {"a": {"value": 101}}}`: `x.cluster_min_healthy_percentages["a"]`,
	} {
		_, issues := testcompile.JSON(t, healthcheck.Register, extension.HTTPFilter, &healthcheckv3.HealthCheck{}, text)
		if len(issues) != 1 || issues[0].Path != want {
			t.Errorf("%s: %v", text, issues)
		}
	}
}
