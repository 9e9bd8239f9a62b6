package router

import (
	"testing"
	"testing/synctest"
	"time"
)

// The cluster's max_stream_duration ends a try, before and in its response.
func TestMaxStreamDuration(t *testing.T) {
	for _, x := range []struct {
		events []event
		status int
		body   string
	}{{nil, 504, "upstream max stream duration reached"}, {[]event{opens(200), data("x")}, 200, "x"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &Config{}, plain)
			w.c.info.MaxStreamDuration = 3 * time.Second
			w.c.then(x.events...)
			r := w.get("/")
			if r.status != x.status || r.body != x.body || r.flags != "UMSDR" || r.details != "upstream_max_stream_duration_reached" || r.took != 3*time.Second {
				t.Errorf("got %+v", r)
			}
			if w.counts.value("cluster.c.upstream_rq_max_duration_reached") != 1 {
				t.Error("not counted")
			}
			w.c.released()
		})
	}
}

// The time for a response begins when the request is complete.
func TestTimeoutBeginsWithTheEndOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, plain)
		w.c.then()
		b := newBody(false, "a")
		go func() {
			time.Sleep(time.Minute)
			close(b.pieces)
		}()
		if r := w.client(post("/", b)).do(); r.status != 504 || r.took != 75*time.Second {
			t.Errorf("got %+v", r)
		}
		w.c.released()
	})
}

// grpc-timeout bounds gRPC requests where the route says so.
func TestGRPCTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "maxGrpcTimeout": "10s", "grpcTimeoutOffset": "1s"}}`)
		w.c.scripts = make([]script, 2)
		if r := w.get("/", "content-type", "application/grpc", "grpc-timeout", "5S"); r.took != 4*time.Second {
			t.Errorf("got %+v", r)
		}
		if got := w.c.opened[0].request.Header.Get("grpc-timeout"); got != "4000m" {
			t.Errorf("the host is told %s", got)
		}
		if r := w.get("/", "content-type", "application/grpc", "grpc-timeout", "5H"); r.took != 10*time.Second {
			t.Errorf("got %+v", r)
		}
	})
}
