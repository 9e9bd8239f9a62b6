package hcm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// stuck answers when the connection manager, or the client, ends the request.
func stuck(s *filter.HTTPStream) (*httpmsg.Response, error) {
	end := make(chan *httpmsg.ResetError, 1)
	s.OnReset(func(why *httpmsg.ResetError) { end <- why })
	why := <-end
	s.OnReset(nil)
	return nil, why
}

// reading reads the request to its end.
func reading(s *filter.HTTPStream) (*httpmsg.Response, error) {
	if s.Request.Body != nil {
		if _, err := s.Request.Body.Next(); err != nil {
			return nil, err
		}
	}
	return hello(s)
}

func nothing(w *responder) httpmsg.Body { return waiting{w} }

// Each limit answers with its status and text, notes its flag and details, and strikes
// neither early nor late.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name    string
		limits  limits
		handler filter.HTTPHandlerFunc
		body    func(*responder) httpmsg.Body
		after   time.Duration
		status  int
		text    string
		flags   string
		details string
		counter string
		closes  bool
	}{
		{"idle while the upstream is awaited", limits{streamIdle: time.Minute}, stuck, nil,
			time.Minute, 504, "stream timeout", "SI", "stream_idle_timeout", "downstream_rq_idle_timeout", false},
		{"idle while the client is awaited", limits{streamIdle: time.Minute}, reading, nothing,
			time.Minute, 408, "stream timeout", "SI", "stream_idle_timeout", "downstream_rq_idle_timeout", true},
		{"request", limits{streamIdle: time.Hour, request: 2 * time.Second}, reading, nothing,
			2 * time.Second, 408, "request timeout", "-", "request_overall_timeout", "downstream_rq_timeout", true},
		{"duration", limits{stream: 3 * time.Second, request: time.Second}, stuck, nil,
			3 * time.Second, 504, "downstream duration timeout", "-", "max_duration_timeout", "downstream_rq_max_duration_reached", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &Config{Limits: c.limits}, c.handler)
				begun := time.Now()
				w := r.begin(get("/"), c.body)
				<-w.answered
				if took := time.Since(begun); took != c.after {
					t.Errorf("struck after %v, want %v", took, c.after)
				}
				if resp := w.last(t); resp.Status != c.status || string(w.body) != c.text || !w.ended {
					t.Errorf("%d %q ended %v", resp.Status, w.body, w.ended)
				}
				if e := r.log.last(t); e.flags != c.flags || e.details != c.details || e.code != c.status {
					t.Errorf("log %+v", e)
				}
				if r.stats.value(c.counter) != 1 {
					t.Errorf("%s = %d", c.counter, r.stats.value(c.counter))
				}
				if closes := len(r.codec.drains()) > 0; closes != c.closes {
					t.Errorf("the connection ends: %v, want %v", closes, c.closes)
				}
			})
		})
	}
}

// Bytes in either direction put the idle limit off; a response that stops is reset.
func TestIdleResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := make(pieces)
		r := start(t, &Config{Limits: limits{streamIdle: time.Minute}}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			s.OnReset(func(*httpmsg.ResetError) { close(body) }) // as the router ends its exchange
			return &httpmsg.Response{Status: 200, Body: body}, nil
		})
		begun := time.Now()
		w := r.begin(get("/"), nil)
		for range 3 {
			time.Sleep(50 * time.Second)
			body <- []byte("x")
		}
		<-w.reset
		if took := time.Since(begun); took != 210*time.Second {
			t.Errorf("reset after %v, want 210 s", took)
		}
		<-w.answered
		if w.why.Code != internalError || string(w.body) != "xxx" {
			t.Errorf("reset with code %d after %q", w.why.Code, w.body)
		}
		if e := r.log.last(t); e.flags != "SI" || e.details != "stream_idle_timeout" || e.code != 200 {
			t.Errorf("log %+v", e)
		}
	})
}

// A route has its own idle limit, or none.
func TestRouteIdle(t *testing.T) {
	const routes = `{"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
		{"match": {"path": "/short"}, "route": {"cluster": "c", "idle_timeout": "5s"}},
		{"match": {"path": "/none"}, "route": {"cluster": "c", "idle_timeout": "0s", "max_stream_duration": {"max_stream_duration": "7200s"}}}]}]}`
	for path, want := range map[string]time.Duration{"/short": 5 * time.Second, "/none": 2 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &Config{Limits: limits{streamIdle: time.Minute}, Routes: table(t, routes)}, stuck)
			begun := time.Now()
			<-r.begin(get(path), nil).answered
			if took := time.Since(begun); took != want {
				t.Errorf("%s: struck after %v, want %v", path, took, want)
			}
		})
	}
}

// A handler that hears of no reset is not waited for: the client's connection is reset
// when it takes even the last words too slowly. Here the handler answers late.
func TestLateHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &Config{Limits: limits{streamIdle: time.Second}}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			time.Sleep(1500 * time.Millisecond)
			return hello(s)
		})
		w := r.begin(get("/"), nil)
		<-w.answered
		if resp := w.last(t); resp.Status != 504 || string(w.body) != "stream timeout" {
			t.Errorf("%d %q: the limit had struck", resp.Status, w.body)
		}
	})
}

// An idle connection drains, and is closed when the time for that is over.
func TestConnectionIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &Config{Limits: limits{idle: time.Hour, drain: 5 * time.Second}}, hello)
		time.Sleep(30 * time.Minute)
		r.do(get("/"))
		begun := time.Now()
		time.Sleep(time.Hour - 1)
		if d := r.codec.drains(); len(d) > 0 {
			t.Fatalf("drained early: %v", d)
		}
		time.Sleep(time.Second)
		if d := r.codec.drains(); len(d) != 1 || d[0] != 5*time.Second {
			t.Fatalf("drained %v", d)
		}
		<-r.host.ended
		if took := time.Since(begun); took != time.Hour+5*time.Second {
			t.Errorf("closed after %v", took)
		}
		if r.codec.closed != nil {
			t.Errorf("closed in place of the codec, which ends in order: %v", r.codec.closed)
		}
		if n := r.stats.value("downstream_cx_idle_timeout"); n != 1 {
			t.Errorf("downstream_cx_idle_timeout = %d", n)
		}
	})
}

// A client that has never sent a byte gets no time to drain.
func TestSilentConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &Config{Limits: limits{idle: time.Minute, drain: 5 * time.Second}}, hello)
		begun := time.Now()
		<-r.host.ended
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("closed after %v", took)
		}
	})
}

// Requests under way keep a connection from being idle, and from being closed while it
// drains.
func TestDurationLeavesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits{idle: time.Second, duration: 10 * time.Second, drain: 5 * time.Second}
		r := start(t, &Config{Limits: l}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			time.Sleep(time.Minute)
			return hello(s)
		})
		begun := time.Now()
		w := r.begin(get("/"), nil)
		<-w.answered
		if resp := w.last(t); resp.Status != 200 {
			t.Errorf("status %d", resp.Status)
		}
		<-r.host.ended
		if took := time.Since(begun); took < time.Minute || took > time.Minute+5*time.Second {
			t.Errorf("closed after %v", took)
		}
		if d := r.codec.drains(); len(d) != 1 {
			t.Errorf("drained %v", d)
		}
		if n := r.stats.value("downstream_cx_max_duration_reached"); n != 1 {
			t.Errorf("downstream_cx_max_duration_reached = %d", n)
		}
	})
}

// A connection of HTTP/1 that ends safely waits for one more request: neither is it closed
// while it is idle, nor does a response under way end it.
func TestSafeDuration(t *testing.T) {
	for kind, want := range map[Codec]int{HTTP1: 0, HTTP2: 1} {
		synctest.Test(t, func(t *testing.T) {
			l := limits{duration: 10 * time.Second, safeDuration: true, drain: time.Hour}
			r := start(t, &Config{Codec: kind, Limits: l}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
				time.Sleep(time.Minute)
				return hello(s)
			})
			r.do(get("/"))
			time.Sleep(time.Minute)
			if d := r.codec.drains(); len(d) != want {
				t.Fatalf("%v: drained %v", kind, d)
			}
			if n := r.stats.value("downstream_cx_http1_soft_drain"); n != int64(1-want) {
				t.Errorf("%v: downstream_cx_http1_soft_drain = %d", kind, n)
			}
			r.do(get("/"))
			if d := r.codec.drains(); len(d) != 1 || kind == HTTP1 && d[0] != 0 {
				t.Errorf("%v: drained %v", kind, d)
			}
			<-r.host.ended
			if n := r.stats.value("downstream_cx_http1_soft_drain"); n != 0 {
				t.Errorf("%v: downstream_cx_http1_soft_drain = %d at the end", kind, n)
			}
		})
	}
}

// An idle timeout ends what waits for one more request, and who has never sent anything has
// nothing to wait for.
func TestSafeDurationEnds(t *testing.T) {
	for requests, want := range []time.Duration{10 * time.Second, 31 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l := limits{duration: 10 * time.Second, safeDuration: true, idle: 30 * time.Second, drain: time.Second}
			r := start(t, &Config{Codec: HTTP1, Limits: l}, hello)
			begun := time.Now()
			for range requests {
				r.do(get("/"))
			}
			<-r.host.ended
			if took := time.Since(begun); took != want {
				t.Errorf("after %d requests it was closed after %v, want %v", requests, took, want)
			}
		})
	}
}

func TestMaxRequests(t *testing.T) {
	for kind, want := range map[Codec]time.Duration{HTTP1: 0, HTTP2: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &Config{Codec: kind, Limits: limits{requests: 2, drain: 5 * time.Second}}, hello)
			r.do(get("/"))
			if d := r.codec.drains(); len(d) != 0 {
				t.Fatalf("drained after one request: %v", d)
			}
			r.do(get("/"))
			if d := r.codec.drains(); len(d) != 1 || d[0] != want {
				t.Errorf("drained %v, want once with %v", d, want)
			}
		})
	}
}

// Each response asks whether the connection is to end.
func TestDrainClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &Config{Codec: HTTP2, Limits: limits{drain: 5 * time.Second}}, hello)
		r.do(get("/"))
		if d := r.codec.drains(); len(d) != 0 {
			t.Fatalf("drained by itself: %v", d)
		}
		r.host.drains = true
		r.do(get("/"))
		<-r.host.ended
		if d, n := r.codec.drains(), r.stats.value("downstream_cx_drain_close"); len(d) != 1 || n != 1 {
			t.Errorf("drained %v, downstream_cx_drain_close = %d", d, n)
		}
	})
}

// A listener that drains has each of its connections drain within a time.
func TestListenerDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &Config{Codec: HTTP2, Limits: limits{drain: 5 * time.Second}}, hello)
		r.do(get("/"))
		r.codec.h.(*conn).Drain(time.Minute)
		begun := time.Now()
		<-r.host.ended
		if took := time.Since(begun); took < 5*time.Second || took > 66*time.Second {
			t.Errorf("closed after %v", took)
		}
		if n := r.stats.value("downstream_cx_drain_close"); n != 1 {
			t.Errorf("downstream_cx_drain_close = %d", n)
		}
	})
}

// A listener that drains leaves a connection of HTTP/1 the time for a request whose response
// tells the client; the end of the proxy does so only where it is idle.
func TestListenerDrainBusy(t *testing.T) {
	for _, test := range []struct {
		within time.Duration
		codec  Codec
		busy   bool
		grace  time.Duration
	}{
		{time.Second, HTTP1, true, 5 * time.Second},
		{time.Second, HTTP1, false, 5 * time.Second},
		{0, HTTP1, true, 0},
		{0, HTTP1, false, 5 * time.Second},
		{0, HTTP2, true, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &Config{Codec: test.codec, Limits: limits{drain: 5 * time.Second}}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
				time.Sleep(time.Minute)
				return hello(s)
			})
			w := r.begin(get("/"), nil)
			if !test.busy {
				<-w.answered
			}
			r.codec.h.(*conn).Drain(test.within)
			time.Sleep(2 * time.Second)
			if d := r.codec.drains(); len(d) != 1 || d[0] != test.grace {
				t.Errorf("%+v: drained %v", test, d)
			}
			<-w.answered
			<-r.host.ended
		})
	}
}

// One timer serves all requests of a connection; those that follow each other do not
// touch it.
func TestLimitOfManyStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, &Config{Codec: HTTP2, Limits: limits{streamIdle: time.Minute}}, stuck)
		begun := time.Now()
		var all []*responder
		for range 5 {
			all = append(all, r.begin(get("/"), nil))
			time.Sleep(10 * time.Second)
		}
		for i, w := range all {
			<-w.answered
			if took := time.Since(begun); took != time.Minute+time.Duration(i)*10*time.Second {
				t.Errorf("stream %d: struck after %v", i, took)
			}
		}
	})
}

// The end of a response has a limit of its own, which neither an idle limit nor that of
// the whole stream replaces.
func TestFlushLimit(t *testing.T) {
	const routes = `{"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
		{"match": {"path": "/own"}, "route": {"cluster": "c", "flush_timeout": "7s"}},
		{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}`
	for path, want := range map[string]time.Duration{"/": 2 * time.Second, "/own": 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, &Config{Codec: HTTP2, Limits: limits{flush: 2 * time.Second}, Routes: table(t, routes)}, hello)
			begun := time.Now()
			w := newResponder()
			w.full = make(chan struct{})
			q := get(path)
			q.Protocol = httpmsg.HTTP2
			r.codec.requests <- exchange{r: q, w: w}
			<-w.answered
			if took := time.Since(begun); took != want || w.why == nil {
				t.Errorf("%s: reset after %v (%v), want %v", path, took, w.why, want)
			}
			if e := r.log.last(t); e.details != "stream_idle_timeout" {
				t.Errorf("log %+v", e)
			}
		})
	}
}
