package router

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

const plain = `{"match": {"prefix": "/"}, "route": {"cluster": "c"}}`

// What goes wrong, and what the client and the log get of it: Envoy's table.
func TestFailures(t *testing.T) {
	refused := &filter.ConnectError{Reason: "delayed connect error: Connection refused"}
	const prefix = "upstream connect error or disconnect/reset before headers. reset reason: "
	for _, x := range []struct {
		name    string
		script  script
		status  int
		body    string
		flags   string
		details string
	}{
		{"no host", script{err: filter.ErrNoHost}, 503, "no healthy upstream", "UH", "no_healthy_upstream"},
		{"pending overflow", script{err: filter.ErrPendingOverflow}, 503, prefix + "overflow", "UO", "upstream_reset_before_response_started{overflow}"},
		{"refused", script{err: refused}, 503, prefix + "remote connection failure", "UF",
			"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"},
		{"connect timeout", script{err: filter.ErrConnectTimeout}, 503, prefix + "connection timeout", "UF", "upstream_reset_before_response_started{connection_timeout}"},
		{"closed", script{events: []event{reset(httpmsg.ConnectionTermination)}}, 503, prefix + "connection termination", "UC", "upstream_reset_before_response_started{connection_termination}"},
		{"closed after 100", script{events: []event{{head: head(100)}, reset(httpmsg.ConnectionTermination)}}, 503, prefix + "connection termination", "UC", "upstream_reset_after_response_started{connection_termination}"},
		{"reset", script{events: []event{reset(httpmsg.RemoteReset)}}, 503, prefix + "remote reset", "UR", "upstream_reset_before_response_started{remote_reset}"},
		{"refused stream", script{events: []event{reset(httpmsg.RemoteRefused)}}, 503, prefix + "remote refused stream reset", "UR", "upstream_reset_before_response_started{remote_refused_stream_reset}"},
		{"protocol error", script{events: []event{reset(httpmsg.ProtocolError)}}, 502, prefix + "protocol error", "UPE", "upstream_reset_before_response_started{protocol_error}"},
		{"route timeout", script{}, 504, "upstream request timeout", "UT", "response_timeout"},
		{"route timeout while connecting", script{after: time.Hour}, 504, "upstream request timeout", "UT", "response_timeout"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, plain)
				w.c.scripts = []script{x.script}
				r := w.get("/")
				if r.status != x.status || r.body != x.body || r.flags != x.flags || r.details != x.details {
					t.Errorf("got %d %q %s %s", r.status, r.body, r.flags, r.details)
				}
				w.c.released()
			})
		})
	}
}

// A response passes with its body, its trailers and what the router adds.
func TestResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, plain)
		w.c.then(later(20*time.Millisecond, opens(200, "a", "b")), data("one "), later(time.Second, data("two")),
			event{end: true, trailer: httpmsg.Header{{Name: "t", Value: "v"}}})
		r := w.get("/p?q")
		if r.status != 200 || r.body != "one two" || r.err != nil || r.flags != "-" || r.details != "via_upstream" {
			t.Fatalf("%+v", r)
		}
		if r.trailer.Get("t") != "v" || r.header.Get("a") != "b" || r.header.Get("x-envoy-upstream-service-time") != "20" {
			t.Errorf("headers %v, trailers %v", r.header, r.trailer)
		}
		sent := w.c.opened[0].request
		if sent.Path != "/p?q" || sent.Header.Get("x-envoy-expected-rq-timeout-ms") != "15000" {
			t.Errorf("sent %+v", sent)
		}
		w.c.released()
		for name, n := range map[string]int64{
			"cluster.c.upstream_rq_200": 1, "cluster.c.upstream_rq_2xx": 1, "cluster.c.upstream_rq_completed": 1,
			"cluster.c.external.upstream_rq_200": 1, "cluster.c.upstream_rq_time": 1, "http.p.rq_total": 1,
			"cluster.c.internal.upstream_rq_200": 0,
		} {
			if got := w.counts.value(name); got != n {
				t.Errorf("%s: %d, want %d", name, got, n)
			}
		}
	})
}

// A response that breaks off resets the client's stream, and the log tells why.
func TestCutResponses(t *testing.T) {
	for _, x := range []struct {
		name, flags, details string
		end                  []event
	}{
		{"reset", "UR", "upstream_reset_after_response_started{remote_reset}", []event{reset(httpmsg.RemoteReset)}},
		{"cut", "UPE", "upstream_reset_after_response_started{protocol_error}", []event{reset(httpmsg.ProtocolError)}},
		{"timeout", "UT", "response_timeout", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, plain)
				w.c.then(append([]event{opens(200), data("some")}, x.end...)...)
				r := w.get("/")
				if r.status != 200 || r.body != "some" || r.err == nil || r.flags != x.flags || r.details != x.details {
					t.Errorf("got %+v", r)
				}
				w.c.released()
			})
		})
	}
}

// A client that goes away ends what waits, wherever that is.
func TestClientGone(t *testing.T) {
	for name, s := range map[string]script{
		"connecting":       {after: time.Hour},
		"waiting":          {},
		"reading the body": {events: []event{opens(200), data("x")}},
		"sending the body": {stuck: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, plain)
				w.c.scripts = []script{s}
				req := get("/")
				if s.stuck {
					req = post("/", newBody(false, "some"))
				}
				c := w.client(req)
				go func() {
					time.Sleep(time.Second)
					c.leave()
				}()
				if r := c.do(); r.err == nil || r.took != time.Second {
					t.Errorf("got %+v", r)
				}
				w.c.released()
			})
		})
	}
}

func unpackAny(a *anypb.Any) (proto.Message, error) { return a.UnmarshalNew() }
