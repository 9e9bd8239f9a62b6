package admin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/admin"
	"github.com/ginnel/ginnel/internal/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var mutations = []string{
	"/drain_listeners", "/healthcheck/fail", "/healthcheck/ok", "/logging?level=debug", "/quitquitquit",
	"/reopen_logs", "/reset_counters", "/runtime_modify?a=b", "/stats/recentlookups/clear", "/cpuprofiler?enable=y",
}

// TestMutationsNeedPOST shows that nothing happens without it.
func TestMutationsNeedPOST(t *testing.T) {
	f := newFake(t)
	f.quit = func() { t.Error("quit") }
	l := &levels{of: map[string]string{"admin": "info"}}
	st := stats.New(stats.Options{})
	st.Scope("").Counter("c").Add(3)
	s := admin.New(admin.Options{Proxy: f, Stats: st, Levels: l})
	for _, target := range mutations {
		for _, method := range []string{"GET", "PUT", "DELETE", "OPTIONS"} {
			w := ask(s, method, target)
			if want := "Method " + method + " not allowed, POST required."; w.Code != 405 || w.Body.String() != want {
				t.Errorf("%s %s: %d %q", method, target, w.Code, w.Body)
			}
		}
		if w := ask(s, "HEAD", target); w.Code != 405 {
			t.Errorf("HEAD %s: %d", target, w.Code)
		}
	}
	if f.drains != nil || f.state != 0 || f.reopened != 0 || f.overrides != nil || l.of["admin"] != "info" {
		t.Errorf("something changed: %+v, %v", f, l.of)
	}
	if got := ask(s, "GET", "/stats?filter=^c$").Body.String(); got != "c: 3\n" {
		t.Errorf("counter: %q", got)
	}
}

func TestMutations(t *testing.T) {
	f := newFake(t)
	st := stats.New(stats.Options{})
	st.Scope("").Counter("c").Add(3)
	st.Scope("").Gauge("g").Add(4)
	s := admin.New(admin.Options{Proxy: f, Stats: st})
	done := func(target string) {
		t.Helper()
		if w := ask(s, "POST", target); w.Code != 200 || w.Body.String() != "OK\n" {
			t.Errorf("POST %s: %d %q", target, w.Code, w.Body)
		}
	}
	ready := func(status int, body string) {
		t.Helper()
		if w := ask(s, "GET", "/ready"); w.Code != status || w.Body.String() != body {
			t.Errorf("/ready: %d %q, want %d %q", w.Code, w.Body, status, body)
		}
	}
	ready(200, "LIVE\n")
	done("/healthcheck/fail")
	ready(503, "DRAINING\n")
	done("/healthcheck/ok")
	ready(200, "LIVE\n")

	done("/drain_listeners")
	done("/drain_listeners?inboundonly&graceful")
	done("/drain_listeners?skip_exit&unknown=1")
	want := []admin.DrainOptions{{}, {InboundOnly: true, Graceful: true}, {SkipExit: true}}
	if !slices.Equal(f.drains, want) {
		t.Errorf("drains: %+v", f.drains)
	}

	done("/reset_counters")
	if got := ask(s, "GET", "/stats?filter=^[cg]$").Body.String(); got != "c: 0\ng: 4\n" {
		t.Errorf("after /reset_counters: %q", got)
	}

	done("/reopen_logs")
	f.reopen = errors.New("disk full")
	if w := ask(s, "POST", "/reopen_logs"); w.Code != 500 || w.Body.String() != "disk full\n" {
		t.Errorf("/reopen_logs: %d %q", w.Code, w.Body)
	}
	for path, pointer := range map[string]string{"/cpuprofiler": "/debug/pprof/profile", "/heapprofiler": "/debug/pprof/heap", "/allocprofiler": "/debug/pprof/allocs"} {
		if w := ask(s, "POST", path+"?enable=y"); w.Code != 501 || !strings.Contains(w.Body.String(), pointer) {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
}

func TestHeaders(t *testing.T) {
	s := newServer(newFake(t))
	for _, target := range []string{"/ready", "/listeners?format=json", "/nope", "/", "/stats"} {
		h := ask(s, "GET", target).Header()
		for name, want := range map[string]string{"Cache-Control": "no-cache, max-age=0", "X-Content-Type-Options": "nosniff", "Server": "ginnel"} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q", target, name, got)
			}
		}
	}
	for target, want := range map[string]string{"/ready": "text/plain; charset=UTF-8", "/listeners?format=json": "application/json", "/": "text/html; charset=UTF-8"} {
		if got := ask(s, "GET", target).Header().Get("Content-Type"); got != want {
			t.Errorf("%s: %q", target, got)
		}
	}
}

// TestEscaping puts markup where a configuration can.
func TestEscaping(t *testing.T) {
	f := newFake(t)
	f.clusters[0].Name = "<script>alert(1)</script>"
	f.clusters[0].Hosts[0].Addr = filter.InternalAddr{Listener: "<b>"}
	st := stats.New(stats.Options{})
	st.Scope("").Counter("<script>").Add(1)
	s := admin.New(admin.Options{Proxy: f, Stats: st})
	for _, target := range []string{"/", "/stats?format=html", "/clusters", "/clusters?format=json", "/no<script>", "/config_dump"} {
		w := ask(s, "GET", target)
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") && strings.Contains(w.Body.String(), "<script") {
			t.Errorf("%s: markup in\n%s", target, w.Body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s may be sniffed", target)
		}
	}
	if got := ask(s, "GET", "/stats?format=html").Body.String(); !strings.Contains(got, "&lt;script&gt;: 1") {
		t.Errorf("stats page: %s", got)
	}
}

func TestIndex(t *testing.T) {
	got := ask(newServer(newFake(t)), "GET", "/").Body.String()
	for _, want := range []string{
		`<form action="quitquitquit" method="post" id="quitquitquit">`,
		`<form action="clusters" method="get" id="clusters">`,
		`<input type="checkbox" name="graceful" form="drain_listeners"`,
		`<select name="format" form="listeners"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("home page lacks %s", want)
		}
	}
}

// A running server and the address it serves at.
type running struct {
	*admin.Server
	addr   string
	served chan error
}

func serve(t *testing.T, s *admin.Server, listen string) *running {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Skip(err)
	}
	r := &running{s, l.Addr().String(), make(chan error, 1)}
	go func() { r.served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-r.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// do sends a request on a connection of its own.
func (r *running) do(t *testing.T, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", r.addr)
	}}}
	req, err := http.NewRequest(method, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestHosts has what a page of a browser can make a request look like.
func TestHosts(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		r := serve(t, newServer(newFake(t)), listen)
		for host, want := range map[string]int{
			r.addr: 200, "127.0.0.1": 200, "10.1.2.3:80": 200, "[::1]:9901": 200, "[::1]": 200,
			"localhost": 200, "LocalHost:9901": 200, "localhost.": 200, "a.localhost:1": 200,
			"evil.example": 403, "evil.example:9901": 403, "localhost.evil.example": 403, "127.0.0.1.evil.example": 403, "notlocalhost": 403,
		} {
			if got, body := r.do(t, "GET", "/config_dump", "", "Host", host); got != want {
				t.Errorf("%s, Host %q: %d, want %d: %.80s", listen, host, got, want, body)
			}
			for _, open := range []string{"/ready", "/stats", "/stats/prometheus"} {
				if got, _ := r.do(t, "GET", open, "", "Host", host); got != 200 {
					t.Errorf("%s, Host %q: %s says %d", listen, host, open, got)
				}
			}
		}
		if got, body := r.do(t, "GET", "/nope", "", "Host", "evil.example"); got != 403 || strings.Contains(body, "admin commands") {
			t.Errorf("unknown path: %d %q", got, body)
		}
	}
}

// TestHostsByAddress has the address types that connections of the proxy may have.
func TestHostsByAddress(t *testing.T) {
	s := newServer(newFake(t))
	ip := func(a string) net.Addr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(a)} }
	for _, c := range []struct {
		local net.Addr
		want  int
	}{
		{ip("127.0.0.1:9901"), 403}, {ip("127.1.2.3:9901"), 403}, {ip("[::1]:9901"), 403}, {ip("[::ffff:127.0.0.1]:9901"), 403},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, 403}, {ip("10.0.0.1:9901"), 200}, {filter.UnixAddr{Path: "@a"}, 200}, {nil, 200},
	} {
		r := httptest.NewRequest("GET", "http://evil.example/config_dump", nil)
		if c.local != nil {
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, c.local))
		}
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("on %v: %d, want %d", c.local, w.Code, c.want)
		}
	}
}

func TestOrigins(t *testing.T) {
	f := newFake(t)
	r := serve(t, newServer(f), "127.0.0.1:0")
	for _, c := range []struct {
		want    int
		headers []string
	}{
		{200, nil},
		{200, []string{"Origin", "http://" + r.addr}},
		{200, []string{"Sec-Fetch-Site", "same-origin"}},
		{403, []string{"Origin", "http://evil.example"}},
		{403, []string{"Origin", "null"}},
		{403, []string{"Sec-Fetch-Site", "cross-site"}},
		{403, []string{"Host", "evil.example", "Origin", "http://evil.example"}}, // DNS rebinding
	} {
		f.drains = nil
		got, body := r.do(t, "POST", "/drain_listeners", "", c.headers...)
		if got != c.want || (len(f.drains) == 1) != (c.want == 200) {
			t.Errorf("%q: %d %q, %d drains", c.headers, got, body, len(f.drains))
		}
	}
}

func TestForms(t *testing.T) {
	f := newFake(t)
	r := serve(t, newServer(f), "127.0.0.1:0")
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	if got, body := r.do(t, "POST", "/runtime_modify?a=1", "b=2&c=x%20y", form...); got != 200 {
		t.Errorf("%d %q", got, body)
	}
	if f.overrides["a"].GetStringValue() != "1" || f.overrides["c"].GetStringValue() != "x y" {
		t.Errorf("runtime: %v", f.overrides)
	}
	if got, _ := r.do(t, "POST", "/runtime_modify?d=1", "e="+strings.Repeat("x", 2<<20), form...); got != 413 || f.overrides["d"] != nil {
		t.Errorf("a long body: %d, %v", got, f.overrides["d"])
	}
	if got, body := r.do(t, "GET", "/ready?%zz", ""); got != 200 || body != "LIVE\n" {
		t.Errorf("a broken query: %d %q", got, body)
	}
}

func TestHEAD(t *testing.T) {
	r := serve(t, newServer(newFake(t)), "127.0.0.1:0")
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for _, want := range []int{200, 405} {
		path := map[int]string{200: "/ready", 405: "/quitquitquit"}[want]
		fmt.Fprintf(c, "HEAD %s HTTP/1.1\r\nHost: x.localhost\r\n\r\n", path)
		resp, err := http.ReadResponse(in, &http.Request{Method: "HEAD"})
		if err != nil || resp.StatusCode != want {
			t.Fatalf("HEAD %s: %v %v", path, resp, err)
		}
	}
	// A body would stand here.
	fmt.Fprintf(c, "GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("after HEAD: %v %v", resp, err)
	}
}

// TestQuit ends the server on the way, as the proxy does: the answer arrives all the
// same, on a connection that is kept alive.
func TestQuit(t *testing.T) {
	f := newFake(t)
	s := newServer(f)
	r := serve(t, s, "127.0.0.1:0")
	closed := make(chan struct{})
	f.quit = func() {
		go func() {
			s.Close()
			close(closed)
		}()
	}
	idle, err := net.Dial("tcp", r.addr) // must not hold the end up
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if got, body := r.do(t, "POST", "/quitquitquit", ""); got != 200 || body != "OK\n" {
		t.Errorf("%d %q", got, body)
	}
	<-closed
	if c, err := net.Dial("tcp", r.addr); err == nil {
		c.Close()
		t.Error("still accepting")
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection is open")
	}
}

// TestCloseEndsRecording shows that Close waits for no profile.
func TestCloseEndsRecording(t *testing.T) {
	s := newServer(newFake(t))
	r := serve(t, s, "127.0.0.1:0")
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /debug/pprof/trace?seconds=500 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	recording := func() bool {
		return strings.Contains(ask(s, "GET", "/debug/pprof/goroutine?debug=2").Body.String(), "admin.record(")
	}
	for !recording() {
		runtime.Gosched()
	}
	s.Close()
	if recording() {
		t.Error("the recording goes on")
	}
}

func TestConcurrently(t *testing.T) {
	f := newFake(t)
	r := serve(t, newServer(f), "127.0.0.1:0")
	var all sync.WaitGroup
	for _, path := range []string{"/config_dump?include_eds", "/clusters?format=json", "/stats", "/inproc", "/runtime", "/"} {
		all.Go(func() {
			for range 5 {
				if got, body := r.do(t, "GET", path, ""); got != 200 {
					t.Errorf("%s: %d %.80q", path, got, body)
				}
			}
		})
	}
	for _, path := range []string{"/logging?level=debug", "/runtime_modify?a=b", "/reset_counters", "/healthcheck/fail"} {
		all.Go(func() {
			for range 5 {
				if got, body := r.do(t, "POST", path, ""); got != 200 {
					t.Errorf("%s: %d %.80q", path, got, body)
				}
			}
		})
	}
	all.Wait()
}

func TestProfiles(t *testing.T) {
	s := newServer(newFake(t))
	for target, want := range map[string]string{
		"/debug/pprof/":                          "goroutine?debug=1: ",
		"/debug/pprof":                           "profile?seconds=30",
		"/debug/pprof/goroutine?debug=1":         "goroutine profile: total ",
		"/debug/pprof/heap?gc=1":                 "\x1f\x8b",
		"/heap_dump":                             "\x1f\x8b",
		"/debug/pprof/profile?seconds=0.001":     "\x1f\x8b",
		"/debug/pprof/trace?seconds=0.001":       "go 1.",
		"/debug/pprof/cmdline":                   "test",
		"/contention":                            "Mutex contention tracing is not enabled.",
		"/stats/recentlookups":                   "Lookup tracking is not enabled.",
		"/hot_restart_version":                   "disabled",
		"/stats/prometheus?histogram_buckets=no": "usage: /stats?histogram_buckets",
	} {
		if got := ask(s, "GET", target).Body.String(); !strings.Contains(got, want) {
			t.Errorf("%s: %.200q", target, got)
		}
	}
	for target, want := range map[string]int{
		"/debug/pprof/nope": 404, "/debug/pprof/profile?seconds=601": 400, "/debug/pprof/profile?seconds=0": 400,
		"/debug/pprof/trace?seconds=NaN": 400, "/debug/pprof/trace?seconds=x": 400, "/debug/pprofx": 404, "/ready/": 404,
	} {
		if got := ask(s, "GET", target).Code; got != want {
			t.Errorf("%s: %d, want %d", target, got, want)
		}
	}
}

var _ http.Handler = (*admin.Server)(nil)

// TestNoDefaultMux keeps the profiles off the mux of the program around the proxy.
func TestNoDefaultMux(t *testing.T) {
	_, pattern := http.DefaultServeMux.Handler(httptest.NewRequest("GET", "/debug/pprof/", nil))
	if pattern != "" {
		t.Errorf("the default mux serves %q", pattern)
	}
}
