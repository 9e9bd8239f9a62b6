package hcm

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/state"
)

// replying answers with a local reply.
func replying(l filter.LocalReply) filter.HTTPHandlerFunc {
	return func(s *filter.HTTPStream) (*httpmsg.Response, error) { return s.Reply(l), nil }
}

func TestReply(t *testing.T) {
	full := filter.LocalReply{Status: 503, Body: "no %\n", Details: "why", Flags: filter.NoHealthyUpstream}
	for _, c := range []struct {
		name   string
		reply  filter.LocalReply
		method string
		header []string
		status int
		body   string
		want   map[string]string // "": not there
	}{
		{"text", full, "GET", nil, 503, "no %\n", map[string]string{"content-length": "5", "content-type": "text/plain", "grpc-status": ""}},
		{"HEAD", full, "HEAD", nil, 503, "", map[string]string{"content-length": "5", "content-type": "text/plain"}},
		{"empty", filter.LocalReply{Status: 404}, "GET", nil, 404, "", map[string]string{"content-type": ""}},
		{"headers", filter.LocalReply{Status: 307, Header: httpmsg.Header{{Name: "location", Value: "/x"}}}, "GET", nil, 307, "", map[string]string{"location": "/x"}},
		{"gRPC", full, "POST", []string{"content-type", "application/grpc+proto"}, 200, "",
			map[string]string{"grpc-status": "14", "grpc-message": "no %25%0A", "content-type": "application/grpc", "content-length": ""}},
		{"gRPC's own status", filter.LocalReply{Status: 403, GRPCStatus: 9}, "POST", []string{"content-type", "application/grpc"}, 200, "",
			map[string]string{"grpc-status": "9", "grpc-message": ""}},
		{"gRPC web is text", full, "POST", []string{"content-type", "application/grpc-web"}, 503, "no %\n", map[string]string{"grpc-status": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, &Config{}, replying(c.reply))
			q := get("/", c.header...)
			q.Method = c.method
			w, resp := r.do(q)
			if resp.Status != c.status || string(w.body) != c.body || !w.ended {
				t.Errorf("%d %q ended %v", resp.Status, w.body, w.ended)
			}
			for name, want := range c.want {
				if v := resp.Header.Get(name); v != want {
					t.Errorf("%s: %q, want %q", name, v, want)
				}
			}
			if e := r.log.last(t); e.flags != c.reply.Flags.String() || e.details != c.reply.Details {
				t.Errorf("log %+v", e)
			}
		})
	}
}

func formatOf(t *testing.T, text string) state.Formatter {
	t.Helper()
	f, err := state.Compile(text, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The first mapper that fits changes the reply; its format goes before that of all.
func TestReplyMappers(t *testing.T) {
	status := func(want int) func(*filter.Info, filter.AccessLogType, filter.Runtime) bool {
		return func(i *filter.Info, _ filter.AccessLogType, _ filter.Runtime) bool { return i.HTTP().Code == want }
	}
	gone := "gone"
	var report extension.Report
	add := route.CompileMutations(extension.NewScope(&report, &extension.Registry{}, nil), "headers", []*corev3.HeaderValueOption{
		{Header: &corev3.HeaderValue{Key: "x-m", Value: "first"}}}, nil, state.Options{})
	o := replyOptions{
		mappers: []mapper{
			{when: status(404), status: 410, body: &gone, headers: add},
			{when: status(404), status: 500},
			{when: status(503), format: &bodyFormat{formatOf(t, "<%RESPONSE_FLAGS%>"), "text/html"}},
		},
		format: &bodyFormat{formatOf(t, "all"), "text/css"},
	}
	for _, c := range []struct {
		reply       filter.LocalReply
		status      int
		body, kind  string
		m           string
		connections int
	}{
		{filter.LocalReply{Status: 404, Body: "x"}, 410, "all", "text/css", "first", 0},
		{filter.LocalReply{Status: 503, Flags: filter.NoClusterFound}, 503, "<NC>", "text/html", "", 0},
		{filter.LocalReply{Status: 400, Body: "x"}, 400, "all", "text/css", "", 1},
	} {
		r := start(t, &Config{Reply: o}, replying(c.reply))
		w, resp := r.do(get("/"))
		if resp.Status != c.status || string(w.body) != c.body || resp.Header.Get("content-type") != c.kind || resp.Header.Get("x-m") != c.m {
			t.Errorf("%+v: %d %q %v", c.reply, resp.Status, w.body, resp.Header)
		}
		if n := len(r.codec.drains()); n != c.connections {
			t.Errorf("%+v: the connection ends: %d, want %d", c.reply, n, c.connections)
		}
		if e := r.log.last(t); e.code != c.status {
			t.Errorf("logged as %d, want %d", e.code, c.status)
		}
	}
}

// Replies have the response headers of the route.
func TestReplyRouteHeaders(t *testing.T) {
	const routes = `{"response_headers_to_add": [{"header": {"key": "x-rt", "value": "1"}}], "virtual_hosts": [
		{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}`
	r := start(t, &Config{Routes: table(t, routes)}, replying(filter.LocalReply{Status: 503}))
	if _, resp := r.do(get("/")); resp.Header.Get("x-rt") != "1" {
		t.Errorf("%v", resp.Header)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		status        int
		details, text string
		flags         string
	}{
		{400, "http1.codec_error", "Bad Request", "DPE"},
		{431, "http1.headers_too_large", "Request Header Fields Too Large", "DPE"},
		{501, "http1.invalid_transfer_encoding", "Not Implemented", "DPE"},
		{426, "low_version", "Upgrade Required", "DPE"},
		{400, "missing_host_header", "", "-"},
		{408, "request_header_timeout", "request header timeout", "-"},
	} {
		r := start(t, &Config{}, hello)
		w := newResponder()
		r.codec.requests <- exchange{r: get("/"), w: w, refuse: c.status, why: &httpmsg.ResetError{Reason: httpmsg.ProtocolError, Details: c.details}}
		<-w.answered
		if resp := w.last(t); resp.Status != c.status || string(w.body) != c.text {
			t.Errorf("%s: %d %q", c.details, resp.Status, w.body)
		}
		if e := r.log.last(t); e.details != c.details || e.flags != c.flags {
			t.Errorf("%s: log %+v", c.details, e)
		}
	}
}

func TestServerHeader(t *testing.T) {
	for _, c := range []struct {
		how  serverHeader
		up   string
		want string
	}{
		{overwriteServer, "up", "me"}, {overwriteServer, "", "me"},
		{appendServer, "up", "up"}, {appendServer, "", "me"},
		{passServer, "up", "up"}, {passServer, "", ""},
	} {
		r := start(t, &Config{Response: responseOptions{serverName: "me", server: c.how, via: "v"}}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			resp := s.NewResponse()
			resp.Status = 200
			if c.up != "" {
				resp.Header.Add("server", c.up)
			}
			resp.Header.Add("date", "then")
			resp.Header.Add("via", "1.1 up")
			return resp, nil
		})
		_, resp := r.do(get("/"))
		if v := resp.Header.Get("server"); v != c.want {
			t.Errorf("%v over %q: %q, want %q", c.how, c.up, v, c.want)
		}
		if resp.Header.Get("date") != "then" || resp.Header.Get("via") != "1.1 up, v" {
			t.Errorf("%v", resp.Header)
		}
	}
}
