package hcm

import (
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// seen has a request pass and returns it as the handlers got it.
func seen(t *testing.T, c *Config, q *httpmsg.Request) (*httpmsg.Request, httpmsg.Response, *rig) {
	t.Helper()
	var got *httpmsg.Request
	r := start(t, c, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		q := *s.Request
		q.Header = q.Header.Clone()
		got = &q
		return hello(s)
	})
	_, resp := r.do(q)
	return got, resp, r
}

func TestNormalizePath(t *testing.T) {
	type o = requestOptions
	full := o{normalizePath: true, mergeSlashes: true}
	for _, c := range []struct {
		options  o
		in, want string
		verdict  verdict
	}{
		{o{}, "/a/../b", "/a/../b", goodPath},
		{o{}, "/a#b", "/a#b", badPath},
		{o{}, "/a?x#b", "/a?x#b", badPath},
		{full, "/a/../b", "/b", goodPath},
		{full, "/a/%2e%2E/b", "/b", goodPath},
		{full, "/a/..;/b", "/b", goodPath},
		{full, "/a/.;x/b", "/a/b", goodPath},
		{full, "/a;../b", "/a;../b", goodPath},
		{full, "/...", "/...", goodPath},
		{full, "/..", "/", goodPath},
		{full, "/../..//b", "/b", goodPath},
		{full, "/a/.", "/a/", goodPath},
		{full, "/a/b/..", "/a/", goodPath},
		{full, "/a\\b", "/a/b", goodPath},
		{full, "/%41%7e%zz%2F%5C%20%C3%A9", "/A~%zz%2F%5C%20%C3%A9", goodPath},
		{full, "/\"<>^`{|}", "/%22%3C%3E%5E%60%7B%7C%7D", goodPath},
		{full, "/a%00b", "/a%00b", badPath},
		{full, "//a///b?x=//../", "/a/b?x=//../", goodPath},
		{o{mergeSlashes: true}, "//a//../b", "/a/../b", goodPath},
		{o{escapedSlashes: rejectSlashes}, "/a%2fb", "/a/b", badPath},
		{o{escapedSlashes: rejectSlashes}, "/a%252Fb?%2F", "/a%252Fb?%2F", goodPath},
		{o{escapedSlashes: redirectSlashes}, "/a%2Fb%5cc?%2F", "/a/b\\c?%2F", redirectPath},
		{o{escapedSlashes: unescapeSlashes}, "/a%2Fb", "/a/b", goodPath},
		{o{escapedSlashes: unescapeSlashes, normalizePath: true}, "/a%2F..%5Cb", "/b", goodPath},
	} {
		if got, v := c.options.path(c.in); got != c.want || v != c.verdict {
			t.Errorf("%q with %+v: %q %v, want %q %v", c.in, c.options, got, v, c.want, c.verdict)
		}
	}
}

// Normalising twice is normalising once, and nothing makes it panic.
func FuzzNormalizePath(f *testing.F) {
	f.Add("/a/../b")
	f.Add("/%2e%2e;/%")
	f.Fuzz(func(t *testing.T, p string) {
		o := requestOptions{normalizePath: true, mergeSlashes: true, escapedSlashes: unescapeSlashes}
		once, v := o.path("/" + p)
		if v != goodPath {
			return
		}
		o.escapedSlashes = keepSlashes // "%252F" is not unescaped twice
		if twice, _ := o.path(once); twice != once {
			t.Errorf("%q: %q, then %q", p, once, twice)
		}
	})
}

func TestBadPaths(t *testing.T) {
	for _, c := range []struct {
		path    string
		method  string
		status  int
		details string
		counter string
	}{
		{"/a#b", "GET", 400, "path_normalization_failed", "downstream_rq_failed_path_normalization"},
		{"*", "OPTIONS", 404, "absolute_path_rejected", "downstream_rq_non_relative_path"},
		{"?q", "GET", 404, "absolute_path_rejected", "downstream_rq_non_relative_path"},
		{"", "GET", 404, "absolute_path_rejected", "downstream_rq_non_relative_path"},
	} {
		q := get(c.path)
		q.Method = c.method
		got, resp, r := seen(t, &Config{}, q)
		if got != nil || resp.Status != c.status || r.log.last(t).details != c.details || r.stats.value(c.counter) != 1 {
			t.Errorf("%s %q: %d %s", c.method, c.path, resp.Status, r.log.last(t).details)
		}
	}
}

func TestHost(t *testing.T) {
	for _, c := range []struct {
		options  requestOptions
		in, want string
	}{
		{requestOptions{stripPort: stripMatchingPort}, "h:80", "h"},
		{requestOptions{stripPort: stripMatchingPort}, "h:81", "h:81"},
		{requestOptions{stripPort: stripAnyPort}, "h:81", "h"},
		{requestOptions{stripPort: stripAnyPort}, "[::1]:81", "[::1]"},
		{requestOptions{stripPort: stripAnyPort}, "[::1]", "[::1]"},
		{requestOptions{stripPort: stripAnyPort}, "h:x", "h:x"},
		{requestOptions{stripDot: true}, "h.", "h"},
		{requestOptions{stripDot: true}, "h.:80", "h:80"},
	} {
		if got := c.options.host(c.in, 80); got != c.want {
			t.Errorf("%q with %+v: %q, want %q", c.in, c.options, got, c.want)
		}
	}
}

var tens = internalAddresses{ranges: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}

// Who the client is, and what follows from that (reference: Envoy 1.40.0).
func TestOrigin(t *testing.T) {
	for _, c := range []struct {
		name     string
		options  requestOptions
		header   []string
		remote   string // as logs have it
		forward  string
		proto    string
		internal bool
		keeps    bool // x-envoy-max-retries
		external string
	}{
		{"nothing known", requestOptions{}, nil, "192.0.2.1:4321", "", "http", false, false, ""},
		{"forwarded", requestOptions{internal: tens}, []string{"x-forwarded-for", "10.1.1.1", "x-forwarded-proto", "https"},
			"10.1.1.1:0", "10.1.1.1", "https", true, true, ""},
		{"forwarded by two", requestOptions{internal: tens}, []string{"x-forwarded-for", "10.1.1.1, 10.2.2.2"},
			"10.2.2.2:0", "10.1.1.1, 10.2.2.2", "http", false, false, ""},
		{"two lines", requestOptions{}, []string{"x-forwarded-for", "1.1.1.1", "x-forwarded-for", "2001:db8::1"},
			"[2001:db8::1]:0", "1.1.1.1,2001:db8::1", "http", false, false, ""},
		{"no address", requestOptions{}, []string{"x-forwarded-for", "bogus"}, "192.0.2.1:4321", "bogus", "http", false, false, ""},
		{"hops", requestOptions{trustedHops: 1, internal: tens}, []string{"x-forwarded-for", "10.1.1.1, 5.6.7.8"},
			"10.1.1.1:0", "10.1.1.1, 5.6.7.8", "http", false, false, ""},
		{"edge", requestOptions{useRemoteAddress: true, internal: tens}, []string{"x-forwarded-for", "10.1.1.1", "x-forwarded-proto", "https"},
			"192.0.2.1:4321", "10.1.1.1,192.0.2.1", "http", false, false, "192.0.2.1"},
		{"edge behind one", requestOptions{useRemoteAddress: true, trustedHops: 1}, []string{"x-forwarded-for", "9.9.9.9, 5.6.7.8", "x-forwarded-proto", "https"},
			"5.6.7.8:0", "9.9.9.9, 5.6.7.8,192.0.2.1", "https", false, false, "5.6.7.8"},
		{"edge that appends nothing", requestOptions{useRemoteAddress: true, skipXFFAppend: true}, []string{"x-forwarded-for", "9.9.9.9"},
			"192.0.2.1:4321", "9.9.9.9", "http", false, false, "192.0.2.1"},
		{"internal client", requestOptions{useRemoteAddress: true, internal: internalAddresses{ranges: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}},
			nil, "192.0.2.1:4321", "192.0.2.1", "http", true, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := get("/", append(c.header, "x-envoy-max-retries", "3", "x-envoy-internal", "true", "x-envoy-foo", "1")...)
			got, _, r := seen(t, &Config{Request: c.options}, q)
			h := got.Header
			if e := r.log.last(t); e.remote != c.remote {
				t.Errorf("remote address %s, want %s", e.remote, c.remote)
			}
			if v := h.Get("x-forwarded-for"); v != c.forward {
				t.Errorf("x-forwarded-for %q, want %q", v, c.forward)
			}
			if v := h.Get("x-forwarded-proto"); v != c.proto || got.Scheme != c.proto {
				t.Errorf("x-forwarded-proto %q, scheme %q, want %q", v, got.Scheme, c.proto)
			}
			if h.Get("x-envoy-internal") == "true" != c.internal || h.Has("x-envoy-max-retries") != c.keeps || !h.Has("x-envoy-foo") {
				t.Errorf("%v", h)
			}
			if v := h.Get("x-envoy-external-address"); v != c.external {
				t.Errorf("x-envoy-external-address %q, want %q", v, c.external)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	for _, c := range []struct {
		name    string
		options requestOptions
		header  []string
		of      string
		want    string
		has     bool
	}{
		{"te", requestOptions{}, []string{"te", "gzip, trailers;q=1"}, "te", "trailers", true},
		{"te without trailers", requestOptions{}, []string{"te", "gzip"}, "te", "", false},
		{"client certificate", requestOptions{}, []string{"x-forwarded-client-cert", "a"}, "x-forwarded-client-cert", "", false},
		{"client certificate, forwarded", requestOptions{forwardCert: alwaysForwardCert}, []string{"x-forwarded-client-cert", "a"}, "x-forwarded-client-cert", "a", true},
		{"via", requestOptions{via: "b"}, []string{"via", "a"}, "via", "a, b", true},
		{"referer", requestOptions{}, []string{"referer", "http://h/x?y"}, "referer", "http://h/x?y", true},
		{"relative referer", requestOptions{}, []string{"referer", "/x"}, "referer", "/x", true},
		{"referer with user", requestOptions{}, []string{"referer", "http://u@h/"}, "referer", "", false},
		{"referer with fragment", requestOptions{}, []string{"referer", "http://h/#f"}, "referer", "", false},
		{"no id is kept", requestOptions{generateID: true}, []string{"x-request-id", "abc"}, "x-request-id", "abc", true},
		{"no id is made", requestOptions{}, []string{"x-request-id", ""}, "x-request-id", "", true},
		{"port", requestOptions{forwardedPort: true}, []string{"x-forwarded-port", "9"}, "x-forwarded-port", "9", true},
		{"port of the edge", requestOptions{forwardedPort: true, useRemoteAddress: true}, []string{"x-forwarded-port", "9"}, "x-forwarded-port", "80", true},
		{"decorator at the edge", requestOptions{useRemoteAddress: true}, []string{"x-envoy-decorator-operation", "d"}, "x-envoy-decorator-operation", "", false},
		{"decorator", requestOptions{}, []string{"x-envoy-decorator-operation", "d"}, "x-envoy-decorator-operation", "d", true},
		{"scheme", requestOptions{scheme: "https"}, nil, "x-forwarded-proto", "https", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, _ := seen(t, &Config{Request: c.options}, get("/", c.header...))
			if v, ok := got.Header.Lookup(c.of); v != c.want || ok != c.has {
				t.Errorf("%s: %q %v, want %q %v", c.of, v, ok, c.want, c.has)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	isID := func(v string) bool {
		if len(v) != 36 || v[14] != '4' || v[8] != '-' || v[13] != '-' || v[18] != '-' || v[23] != '-' {
			return false
		}
		return v[19] == '8' || v[19] == '9' || v[19] == 'a' || v[19] == 'b'
	}
	o := requestOptions{generateID: true}
	one, _, r := seen(t, &Config{Request: o}, get("/"))
	other, _, _ := seen(t, &Config{Request: o}, get("/", "x-request-id", ""))
	a, b := one.Header.Get("x-request-id"), other.Header.Get("x-request-id")
	if !isID(a) || !isID(b) || a == b {
		t.Errorf("ids %q and %q", a, b)
	}
	if r.log.last(t).code != 200 {
		t.Error("no response")
	}
	o.useRemoteAddress = true
	edge, resp, _ := seen(t, &Config{Request: o, Response: responseOptions{requestID: true}}, get("/", "x-request-id", "abc"))
	if v := edge.Header.Get("x-request-id"); !isID(v) || resp.Header.Get("x-request-id") != v {
		t.Errorf("at the edge %q, in the response %q", v, resp.Header.Get("x-request-id"))
	}
	o.preserveExternalID = true
	if got, _, _ := seen(t, &Config{Request: o}, get("/", "x-request-id", "abc")); got.Header.Get("x-request-id") != "abc" {
		t.Error("an external id was not preserved")
	}
}

// A CONNECT is routed without its port, but keeps it.
func TestConnectHost(t *testing.T) {
	const routes = `{"virtual_hosts": [{"name": "v", "domains": ["host"], "routes": [{"match": {"connect_matcher": {}},
		"route": {"cluster": "c", "upgrade_configs": [{"upgrade_type": "CONNECT"}]}}]}]}`
	c := &Config{Request: requestOptions{stripPort: stripAnyPort}, Routes: table(t, routes)}
	got, resp, _ := seen(t, c, &httpmsg.Request{Method: "CONNECT", Authority: "host:99"})
	if resp.Status != 200 || got.Authority != "host:99" {
		t.Errorf("%d %+v", resp.Status, got)
	}
}
