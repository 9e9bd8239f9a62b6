package cors_test

import (
	"testing"

	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/ext/cors"
	"github.com/ginnel/ginnel/internal/ext/teststream"
)

const good = `{"allow_origin_string_match": [{"exact": "http://good"}], "allow_methods": "GET", "max_age": "9"`

// ask sends a request from a page and returns the response; the route has these levels.
func ask(t *testing.T, env *teststream.Env, s *teststream.Stream, cluster string, levels ...string) *httpmsg.Response {
	t.Helper()
	s.Routed = &teststream.RouteOf{Cluster: cluster}
	for _, l := range levels {
		s.Routed.Configs = append(s.Routed.Configs, teststream.Route(t, cors.Register, &corsv3.CorsPolicy{}, l))
	}
	f := teststream.Filter(t, env, cors.Register, &corsv3.Cors{}, `{}`)
	resp, err := s.Serve(f, teststream.Answer(204, nil, "access-control-allow-origin: *"))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func preflight(origin string) *teststream.Stream {
	return teststream.New("OPTIONS", "/", "origin: "+origin, "access-control-request-method: GET")
}

func TestPreflight(t *testing.T) {
	env := teststream.NewEnv()
	r := ask(t, env, preflight("http://good"), "up", good+`}`)
	if r.Status != 200 || r.Header.Get("access-control-allow-origin") != "http://good" || r.Header.Get("access-control-max-age") != "9" {
		t.Errorf("%+v", r)
	}
	if r := ask(t, env, preflight("http://bad"), "up", good+`}`); r.Status != 204 {
		t.Errorf("a preflight of another origin was not passed on: %+v", r)
	}
	if v, i := env.Stats.Get("http.test.cors.origin_valid"), env.Stats.Get("http.test.cors.origin_invalid"); v != 1 || i != 1 {
		t.Errorf("%d valid, %d invalid", v, i)
	}
}

// TestNotForwarded: a preflight that is answered here names no origin that may not.
func TestNotForwarded(t *testing.T) {
	r := ask(t, teststream.NewEnv(), preflight("http://bad"), "up", good+`, "forward_not_matching_preflights": false}`)
	if r.Status != 200 || r.Header.Has("access-control-allow-origin") {
		t.Errorf("%+v", r)
	}
}

// TestLevels: what the most specific level does not say, a more general one does.
func TestLevels(t *testing.T) {
	r := ask(t, teststream.NewEnv(), preflight("http://good"), "up", good+`}`, `{"allow_methods": "PUT", "allow_credentials": true}`)
	if r.Header.Get("access-control-allow-methods") != "PUT" || r.Header.Get("access-control-max-age") != "9" ||
		r.Header.Get("access-control-allow-credentials") != "true" {
		t.Errorf("%+v", r)
	}
}

// TestNotConcerned: without a policy, an origin, a share of requests or a cluster nothing
// is answered, changed or counted.
func TestNotConcerned(t *testing.T) {
	off := good + `, "filter_enabled": {"default_value": {"numerator": 0}}`
	for name, c := range map[string]struct {
		s       *teststream.Stream
		cluster string
		levels  []string
	}{
		"no policy": {preflight("http://good"), "up", nil},
		"no origin": {teststream.New("OPTIONS", "/", "access-control-request-method: GET"), "up", []string{good + `}`}},
		"off":       {preflight("http://good"), "up", []string{off + `}`}},
		"redirect":  {preflight("http://good"), "", []string{good + `}`}},
	} {
		env := teststream.NewEnv()
		if r := ask(t, env, c.s, c.cluster, c.levels...); r.Status != 204 || r.Header.Get("access-control-allow-origin") != "*" || len(env.Stats.All()) > 0 {
			t.Errorf("%s: %+v, %v", name, r, env.Stats.All())
		}
	}
	env := teststream.NewEnv()
	shadow := off + `, "shadow_enabled": {"default_value": {"numerator": 100}}}`
	if r := ask(t, env, preflight("http://good"), "up", shadow); r.Status != 204 || env.Stats.Get("http.test.cors.origin_valid") != 1 {
		t.Errorf("shadow: %+v, %v", r, env.Stats.All())
	}
}
