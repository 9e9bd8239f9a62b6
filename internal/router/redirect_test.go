package router

import (
	"strings"
	"testing"
	"testing/synctest"
)

// Internal redirects are followed once by default, and only where they may be.
func TestInternalRedirect(t *testing.T) {
	const routes = `{"match": {"path": "/from"}, "route": {"cluster": "c", "internalRedirectPolicy": {"responseHeadersToCopy": ["copied"]}}},
		{"match": {"path": "/to"}, "route": {"cluster": "c"}}, {"match": {"path": "/direct"}, "directResponse": {"status": 207}}`
	moved := func(to string) script {
		return script{events: []event{{head: head(302, "location", to, "copied", "1"), end: true, request: true}}}
	}
	for _, x := range []struct {
		name, location string
		status, tries  int
		counter        string
	}{
		{"followed", "http://other/to?q#f", 200, 2, "cluster.c.upstream_internal_redirect_succeeded_total"},
		{"followed without who asks", "http://user:word@other/to?q", 200, 2, "cluster.c.upstream_internal_redirect_succeeded_total"},
		{"to no authority", "http://user@/to", 302, 1, "http.p.passthrough_internal_redirect_bad_location"},
		{"to an odd authority", "http://a\x80b/to", 302, 1, "http.p.passthrough_internal_redirect_bad_location"},
		{"to an odd port", "http://a:1:2/to", 302, 1, "http.p.passthrough_internal_redirect_bad_location"},
		{"with a query alone", "http://other?to", 302, 1, "http.p.passthrough_internal_redirect_no_route"},
		{"to a direct response", "http://other/direct", 207, 1, "cluster.c.upstream_internal_redirect_succeeded_total"},
		{"twice", "http://other/from", 302, 2, "http.p.passthrough_internal_redirect_too_many_redirects"},
		{"relative", "/to", 302, 1, "http.p.passthrough_internal_redirect_bad_location"},
		{"to https", "https://other/to", 302, 1, "http.p.passthrough_internal_redirect_unsafe_scheme"},
		{"to nowhere", "http://other/none", 302, 1, "http.p.passthrough_internal_redirect_no_route"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, routes)
				next := script{events: []event{{head: head(200), end: true, request: true}}}
				if x.name == "twice" {
					next = moved(x.location)
				}
				w.c.scripts = []script{moved(x.location), next}
				r := w.client(post("/from", newBody(true, "body"))).do()
				if r.status != x.status || len(w.c.asked) != x.tries || w.counts.value(x.counter) != 1 {
					t.Errorf("got %+v after %d tries, counted %d", r, len(w.c.asked), w.counts.value(x.counter))
				}
				if strings.HasPrefix(x.name, "followed") {
					u := w.c.opened[1]
					if h := u.request.Header; u.request.Path != "/to?q" || u.request.Authority != "other" || string(u.body) != "body" ||
						h.Get("x-envoy-original-url") != "http://h/from" || h.Get("copied") != "1" {
						t.Errorf("sent %+v %q", u.request, u.body)
					}
				}
				w.c.released()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // 303 has the answer fetched
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "internalRedirectPolicy": {"redirectResponseCodes": [303]}}}`)
		w.c.then(event{head: head(303, "location", "http://other/to"), end: true, request: true})
		w.c.then(status(200))
		req := post("/", newBody(true, "body"))
		req.Header.Set("content-length", "4")
		w.client(req).do()
		if u := w.c.opened[1]; u.request.Method != "GET" || len(u.body) != 0 || u.request.Header.Has("content-length") || !u.complete {
			t.Errorf("sent %+v", u.request)
		}
	})
}
