package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ginnel/ginnel/internal/app"
)

const answersHTTP = `{name: hcm, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: h, drain_timeout: 0.01s, route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}, http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}`

// draining is a proxy with an HTTP and a TCP listener for each direction, and one of HTTP that
// drains when it is modified alone.
func draining(t *testing.T, o app.Options) *lab {
	var all []string
	for _, d := range []string{"INBOUND", "OUTBOUND", "UNSPECIFIED"} {
		all = append(all, listener("http"+d, 0, "traffic_direction: "+d+",", chain("", answersHTTP)),
			listener("tcp"+d, 0, "traffic_direction: "+d+",", chain("", echoes)))
	}
	all = append(all, listener("modify", 0, "drain_type: MODIFY_ONLY,", chain("", answersHTTP)))
	return start(t, o, "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n"+listeners(all...))
}

func (l *lab) post(path string) {
	l.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+l.AdminAddr().String()+path, "", nil)
	if err != nil {
		l.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		l.t.Fatal(resp.Status)
	}
}

// asked reports whether the answer to a request of a connection says that it is the last.
func asked(t *testing.T, c net.Conn) bool {
	t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nhost: h\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Close
}

// Which connections of HTTP are told to go, and who still accepts, by every form of drain. TCP
// connections stay in any case.
func TestDrainForms(t *testing.T) {
	const in, out, none, modify = "INBOUND", "OUTBOUND", "UNSPECIFIED", "modify"
	all := []string{in, out, none, modify}
	for _, test := range []struct {
		path          string
		told, refused []string
	}{
		{"/healthcheck/fail", []string{in, out, none}, nil},
		{"/drain_listeners", all, all},
		{"/drain_listeners?inboundonly", []string{in}, []string{in}},
		{"/drain_listeners?graceful", all, nil},
		{"/drain_listeners?graceful&skip_exit", all, nil},
		{"/drain_listeners?skip_exit", all, nil},
		{"/drain_listeners?inboundonly&graceful", []string{in}, nil},
		{"/drain_listeners?inboundonly&graceful&skip_exit", []string{in}, nil},
		{"/drain_listeners?inboundonly&skip_exit", []string{in}, nil},
	} {
		t.Run(test.path, func(t *testing.T) {
			l := draining(t, app.Options{DrainAtOnce: true})
			conns := make(map[string]net.Conn)
			for _, d := range all {
				name := "http" + d
				if d == modify {
					name = d
				} else {
					conns["tcp"+d] = dial(t, l.addr("tcp"+d))
					echoed(t, conns["tcp"+d])
				}
				conns[d] = dial(t, l.addr(name))
				if asked(t, conns[d]) {
					t.Fatalf("%s is told to go before anything drains", d)
				}
			}
			l.post(test.path)
			l.post(test.path) // nothing more
			for _, d := range all {
				if got := asked(t, conns[d]); got != slices.Contains(test.told, d) {
					t.Errorf("%s is told to go: %v", d, got)
				}
				name := "http" + d
				if d == modify {
					name = d
				} else {
					echoed(t, conns["tcp"+d])
				}
				c, err := net.Dial("tcp", l.addr(name))
				if err == nil {
					c.Close()
				}
				if (err != nil) != slices.Contains(test.refused, d) {
					t.Errorf("%s refuses: %v", d, err)
				}
			}
		})
	}
}

// A graceful drain accepts until its time is over, but for what it spares; with skip_exit it
// never stops.
func TestGracefulDrainEnds(t *testing.T) {
	l := draining(t, app.Options{DrainTime: 20 * time.Millisecond})
	l.post("/drain_listeners?inboundonly&graceful")
	kept := dial(t, l.addr("tcpOUTBOUND"))
	refusedSoon(t, l.addr("tcpINBOUND"))
	echoed(t, kept)
	for range 50 {
		echoed(t, dial(t, l.addr("tcpOUTBOUND")))
	}
	l = draining(t, app.Options{DrainTime: time.Millisecond})
	l.post("/drain_listeners?graceful&skip_exit")
	for range 50 {
		echoed(t, dial(t, l.addr("tcpINBOUND")))
	}
}

func refusedSoon(t *testing.T, addr string) {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 30*time.Second; {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
	}
	t.Error("it goes on accepting")
}

// Health checks that fail on request are taken back.
func TestHealthcheckOK(t *testing.T) {
	l := draining(t, app.Options{})
	l.post("/healthcheck/fail")
	if s := l.State(); s != app.Draining {
		t.Error(s)
	}
	l.post("/healthcheck/ok")
	if s := l.State(); s != app.Live || asked(t, dial(t, l.addr("httpINBOUND"))) {
		t.Error(s)
	}
}

// A listener that drains on modification alone does, and what did not change notices nothing.
func TestModifiedDrains(t *testing.T) {
	two := func(stat string) string {
		return listeners(listener("modify", 0, "drain_type: MODIFY_ONLY, "+stat, chain("", answersHTTP)), listener("other", 0, "", chain("", answersHTTP)))
	}
	l := start(t, app.Options{DrainAtOnce: true}, two(""))
	c, other := dial(t, l.addr("modify")), dial(t, l.addr("other"))
	if asked(t, c) || asked(t, other) {
		t.Fatal("told to go before anything drains")
	}
	l.mustApply(two("stat_prefix: x,"))
	if !asked(t, c) || asked(t, other) {
		t.Error("it is not told to go, or the other one is")
	}
	if asked(t, dial(t, l.addr("modify"))) {
		t.Error("what came in its place drains")
	}
}
