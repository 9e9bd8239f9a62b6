package router

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// What is answered without a cluster, or for want of one.
func TestWithoutCluster(t *testing.T) {
	routes := `{"match": {"path": "/direct"}, "directResponse": {"status": 203, "body": {"inlineString": "hello"}}},
		{"match": {"path": "/made"}, "directResponse": {"status": 201}},
		{"match": {"path": "/found"}, "directResponse": {"status": 302}},
		{"match": {"path": "/redirect"}, "redirect": {"hostRedirect": "there", "responseCode": "FOUND"}},
		{"match": {"path": "/unknown"}, "route": {"cluster": "nowhere"}},
		{"match": {"path": "/unknown404"}, "route": {"cluster": "nowhere", "clusterNotFoundResponseCode": "NOT_FOUND"}},
		{"match": {"path": "/header"}, "route": {"clusterHeader": "to"}}`
	for _, x := range []struct {
		path, body, location string
		status               int
		flags, details       string
	}{
		{"/direct", "hello", "", 203, "-", "direct_response"},
		{"/made", "", "http://h/made", 201, "-", "direct_response"},
		{"/found?x=y", "", "http://h/found?x=y", 302, "-", "direct_response"},
		{"/redirect", "", "http://there/redirect", 302, "-", "direct_response"},
		{"/unknown", "", "", 503, "NC", "cluster_not_found"},
		{"/unknown404", "", "", 404, "NC", "cluster_not_found"},
		{"/header", "", "", 503, "NC", "cluster_not_found"},
		{"/none", "", "", 404, "NR", "route_not_found"},
	} {
		w := newWorld(t, &Config{}, routes)
		r := w.get(x.path)
		if r.status != x.status || r.body != x.body || r.header.Get("location") != x.location || r.flags != x.flags || r.details != x.details {
			t.Errorf("%s: got %+v", x.path, r)
		}
	}
	w := newWorld(t, &Config{}, routes)
	w.c.then(status(200))
	if r := w.get("/header", "to", "c"); r.status != 200 {
		t.Errorf("got %+v", r)
	}
}

// A cluster that refuses requests gets none.
func TestRefused(t *testing.T) {
	for _, x := range []struct {
		why                          filter.Refusal
		body, header, flags, details string
		maintenance                  int64
	}{
		{filter.InMaintenance, "maintenance mode", "x-envoy-overloaded", "UO", "maintenance_mode", 1},
		{filter.Dropped, "drop overload", "x-envoy-drop-overload", "DO", "drop_overload", 0},
		{filter.AllDropped, "unconditional drop overload", "x-envoy-unconditional-drop-overload", "UDO", "unconditional_drop_overload", 0},
	} {
		w := newWorld(t, &Config{}, plain)
		w.c.refuses = x.why
		r := w.get("/")
		if r.status != 503 || r.body != x.body || r.flags != x.flags || r.details != x.details || r.header.Get(x.header) != "true" ||
			w.counts.value("cluster.c.upstream_rq_maintenance_mode") != x.maintenance || w.counts.value("cluster.c.upstream_rq_503") != 1 {
			t.Errorf("%s: got %+v", x.body, r)
		}
		w = newWorld(t, &Config{Quiet: true}, plain)
		w.c.refuses = x.why
		if r := w.get("/"); r.status != 503 || r.header.Has(x.header) {
			t.Errorf("%s: got %+v", x.body, r)
		}
	}
}

// Headers that are checked must be right.
func TestStrictHeaders(t *testing.T) {
	c := &Config{Strict: []string{"x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on"}}
	for _, x := range []struct{ name, value, body string }{
		{"x-envoy-upstream-rq-timeout-ms", "zz", "invalid header 'x-envoy-upstream-rq-timeout-ms' with value 'zz'"},
		{"x-envoy-upstream-rq-timeout-ms", "10", ""},
		{"x-envoy-retry-on", "5xx,nonsense", "invalid header 'x-envoy-retry-on' with value '5xx,nonsense'"},
		{"x-envoy-retry-on", "5xx,reset", ""},
		{"x-envoy-max-retries", "zz", ""},
	} {
		w := newWorld(t, c, plain)
		w.c.then(status(200))
		r := w.get("/", x.name, x.value)
		if good := x.body == ""; good != (r.status == 200) || !good && (r.status != 400 || r.body != x.body || r.flags != "IH" ||
			r.details != "request_headers_failed_strict_check{"+x.name+"}") {
			t.Errorf("%s: %s: got %+v", x.name, x.value, r)
		}
	}
}

// What the router says in headers can be switched off, but for the number of tries.
func TestQuiet(t *testing.T) {
	w := newHost(t, &Config{Quiet: true}, `"includeRequestAttemptCount": true, "routes": [
		{"match": {"prefix": "/a"}, "route": {"cluster": "c", "prefixRewrite": "/b", "hostRewriteLiteral": "other"}}]`)
	w.c.then(status(200))
	r := w.get("/a")
	sent := w.c.opened[0].request
	if len(r.header) != 0 || len(sent.Header) != 1 || sent.Header[0].Name != "x-envoy-attempt-count" || sent.Path != "/b" || sent.Authority != "other" {
		t.Errorf("sent %+v, got %+v", sent, r)
	}
}

// The host that was chosen gives its name to the request.
func TestAutoHostRewrite(t *testing.T) {
	w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "autoHostRewrite": true}}`)
	w.c.scripts = []script{{events: []event{status(200)}, host: &filter.Host{Hostname: "one.example"}}}
	w.get("/")
	if sent := w.c.opened[0].request; sent.Authority != "one.example" || sent.Header.Get("x-envoy-original-host") != "h" {
		t.Errorf("sent %+v", sent)
	}
}

// Where the scheme is to match, it says how the host of each try is reached.
func TestSchemeOfHost(t *testing.T) {
	w := newWorld(t, &Config{}, retrying("5xx", ""))
	w.c.scripts = []script{{events: []event{status(500)}, tls: &filter.TLS{}}, {events: []event{status(200)}}}
	c := w.client(get("/"))
	c.stream.Info.HTTP().SchemeOfHost = true
	if r := c.do(); r.status != 200 {
		t.Errorf("%+v", r)
	}
	for i, want := range []string{"https", "http"} {
		if got := w.c.opened[i].request.Scheme; got != want {
			t.Errorf("try %d: %s, want %s", i+1, got, want)
		}
	}
}

// Statistics of virtual clusters, of routes with a prefix, and of canaries.
func TestStatistics(t *testing.T) {
	w := newHost(t, &Config{}, `"virtualClusters": [{"name": "vc", "headers": [{"name": ":path", "stringMatch": {"prefix": "/v"}}]}],
		"routes": [{"match": {"prefix": "/"}, "statPrefix": "sp", "route": {"cluster": "c"}}]`)
	w.c.then(status(200, "x-envoy-upstream-canary", "true"))
	w.get("/v", "x-envoy-internal", "true", "x-envoy-upstream-alt-stat-name", "alt")
	for _, name := range []string{
		"vhost.v.vcluster.vc.upstream_rq_200", "vhost.v.route.sp.upstream_rq_2xx", "cluster.c.canary.upstream_rq_200",
		"cluster.c.internal.upstream_rq_200", "cluster.c.alt.upstream_rq_200", "cluster.c.canary.upstream_rq_time",
	} {
		if w.counts.value(name) != 1 {
			t.Errorf("%s: %d", name, w.counts.value(name))
		}
	}
	if w.counts.value("cluster.c.external.upstream_rq_200") != 0 {
		t.Error("counted as external")
	}
	w = newWorld(t, &Config{NoStatistics: true}, plain)
	w.c.then(status(200))
	w.get("/")
	if n := w.counts.value("cluster.c.upstream_rq_200"); n != 0 {
		t.Errorf("counted %d", n)
	}
}

// A response before the end of the request ends both; what is left of the request is not
// wanted.
func TestEarlyResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, plain)
		w.c.then(opens(413), last("enough"))
		if r := w.client(post("/", newBody(false, "a"))).do(); r.status != 413 || r.body != "enough" || r.err != nil {
			t.Errorf("got %+v", r)
		}
		if w.c.opened[0].why == nil {
			t.Error("the host's stream was not reset")
		}
		w.c.released()
	})
}

// A host that answers at last, but does not take the last bytes, is not waited for long.
func TestLingeringHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, plain)
		w.c.scripts = []script{{stuck: true, events: []event{later(time.Second, status(200))}}}
		begun := time.Now()
		if r := w.client(post("/", newBody(true))).do(); r.status != 200 {
			t.Errorf("got %+v", r)
		}
		if d := time.Since(begun); d != 2*time.Second {
			t.Errorf("ended after %v", d)
		}
		w.c.released()
	})
}

// Informational responses go ahead of the one that counts, and end the time for retries.
func TestInformational(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, retrying("5xx", ""))
		w.c.then(event{head: head(100)}, event{head: head(103)}, status(500))
		c := w.client(get("/"))
		if r := c.do(); r.status != 500 || len(c.informed) != 2 || len(w.c.asked) != 1 {
			t.Errorf("got %+v, %v", r, c.informed)
		}
	})
}

// A gRPC host that resets behind an informational response has sent no head to look at.
func TestResetBehindInformational(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, plain)
		w.c.then(event{head: head(103)}, reset(httpmsg.RemoteReset))
		if r := w.get("/", "content-type", "application/grpc"); r.flags != "UR" {
			t.Errorf("got %+v", r)
		}
		w.c.released()
	})
}

// Outlier detection is told what gRPC means by its 200.
func TestOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, plain)
		w.c.then(status(200, "grpc-status", "14"))
		w.c.then(status(200, "grpc-status", "14"))
		w.c.then(reset(httpmsg.RemoteReset))
		w.get("/", "content-type", "application/grpc")
		w.get("/")
		w.get("/")
		for i, want := range []string{"503", "200", "remote_reset"} {
			if got := w.c.opened[i].outcome; got != want {
				t.Errorf("the host was told %s, want %s", got, want)
			}
		}
	})
}

// A host may answer before the client sends its body: the head does not wait for it.
func TestHeadGoesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, plain)
		w.c.then(opens(200), data("go on"), event{end: true, request: true})
		b := newBody(false)
		c := w.client(post("/", b))
		resp, err := w.handler.ServeHTTP(c.stream)
		if err != nil || resp.Status != 200 {
			t.Fatal(resp, err)
		}
		if p, err := resp.Body.Next(); string(p) != "go on" || err != nil {
			t.Errorf("got %q, %v", p, err)
		}
		b.pieces <- "the rest"
		close(b.pieces)
		if _, err := resp.Body.Next(); err != io.EOF {
			t.Error(err)
		}
		for _, f := range c.ends {
			f()
		}
		w.c.released()
	})
}
