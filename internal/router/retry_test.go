package router

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// retrying is a route that tries again; more are fields of its policy, as JSON.
func retrying(on, more string) string {
	return `{"match": {"prefix": "/"}, "route": {"cluster": "c", "retryPolicy": {"retryOn": "` + on + `"` + more + `}}}`
}

// Which failures each token of retry_on covers.
func TestRetryOn(t *testing.T) {
	refused := script{err: &filter.ConnectError{Reason: "refused"}}
	closed := script{events: []event{reset(httpmsg.ConnectionTermination)}}
	rejected := script{events: []event{reset(httpmsg.RemoteRefused)}}
	answers := func(code int, header ...string) script { return script{events: []event{status(code, header...)}} }
	for _, x := range []struct {
		on, more string
		script   script
		tries    int
	}{
		{"5xx", "", answers(500), 2},
		{"5xx", "", answers(404), 1},
		{"5xx", "", closed, 2},
		{"5xx", "", refused, 2},
		{"5xx", "", script{err: filter.ErrPendingOverflow}, 1},
		{"5xx", "", script{err: filter.ErrNoHost}, 1},
		{"gateway-error", "", answers(500), 1},
		{"gateway-error", "", answers(504), 2},
		{"reset", "", answers(503), 1},
		{"reset", "", closed, 2},
		{"reset", "", refused, 2},
		{"connect-failure", "", refused, 2},
		{"connect-failure", "", script{err: filter.ErrConnectTimeout}, 2},
		{"connect-failure", "", closed, 1},
		{"reset-before-request", "", closed, 1},
		{"reset-before-request", "", refused, 2},
		{"refused-stream", "", rejected, 2},
		{"refused-stream", "", closed, 1},
		{"retriable-4xx", "", answers(409), 2},
		{"retriable-4xx", "", answers(404), 1},
		{"retriable-status-codes", `, "retriableStatusCodes": [418]`, answers(418), 2},
		{"retriable-headers", `, "retriableHeaders": [{"name": "again"}]`, answers(200, "again", "1"), 2},
		{"unavailable", "", answers(200, "grpc-status", "14"), 2},
		{"cancelled", "", answers(200, "grpc-status", "14"), 1},
		{"5xx", "", answers(503, "x-envoy-ratelimited", "true"), 1},
		{"envoy-ratelimited", "", answers(503, "x-envoy-ratelimited", "true"), 2},
		{"", "", answers(503), 1},
		{"nonsense,5xx", "", answers(503), 2},
	} {
		t.Run(x.on, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, retrying(x.on, x.more))
				w.c.scripts = []script{x.script}
				w.c.then(status(200))
				w.get("/")
				if got := len(w.c.asked); got != x.tries {
					t.Errorf("%s: %d tries, want %d", x.on, got, x.tries)
				}
				w.c.released()
			})
		})
	}
}

// Retries are counted, shown in headers, and end in what the last one brought.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost(t, &Config{}, `"includeRequestAttemptCount": true, "includeAttemptCountInResponse": true,
			"routes": [`+retrying("5xx", `, "numRetries": 2, "perTryTimeout": "3s"`)+`]`)
		w.c.then(status(500))
		w.c.then(status(501))
		w.c.then(status(502))
		r := w.get("/")
		if r.status != 502 || r.flags != "URX" || r.details != "via_upstream" || r.header.Get("x-envoy-attempt-count") != "3" {
			t.Errorf("got %+v", r)
		}
		for i, u := range w.c.opened {
			if got := u.request.Header.Get("x-envoy-attempt-count"); got != []string{"1", "2", "3"}[i] {
				t.Errorf("try %d says %s", i+1, got)
			}
			if got := u.request.Header.Get("x-envoy-expected-rq-timeout-ms"); got != "3000" {
				t.Errorf("try %d is told %s ms", i+1, got)
			}
		}
		for name, n := range map[string]int64{
			"retry": 2, "retry_limit_exceeded": 1, "retry_success": 0, "retry_backoff_exponential": 2, "retry_overflow": 0,
			"500": 0, "502": 1, "completed": 1, "time": 1,
		} {
			if got := w.counts.value("cluster.c.upstream_rq_" + name); got != n {
				t.Errorf("%s: %d, want %d", name, got, n)
			}
		}
		for name, n := range map[string]int64{"external.upstream_rq_completed": 1, "retry.upstream_rq_completed": 2, "retry.upstream_rq_500": 1} {
			if got := w.counts.value("cluster.c." + name); got != n {
				t.Errorf("%s: %d, want %d", name, got, n)
			}
		}
		w.c.released()
	})
}

// A retry that the cluster has no room for is not made.
func TestRetryOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, retrying("5xx", ""))
		w.c.full = true
		w.c.then(status(503))
		if r := w.get("/"); r.status != 503 || r.flags != "UO" || w.counts.value("cluster.c.upstream_rq_retry_overflow") != 1 {
			t.Errorf("got %+v", r)
		}
	})
}

// Waits grow by doubling up to ten times the base, and are random.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, retrying("5xx", `, "numRetries": 6`))
		var limits []int64
		w.handler.(*Router).random = func(n int64) int64 {
			limits = append(limits, n/int64(time.Millisecond))
			return n - 1
		}
		for range 7 {
			w.c.then(status(500))
		}
		w.get("/")
		want := []int64{25, 50, 100, 200, 250, 250}
		if len(limits) != len(want) {
			t.Fatalf("waits %v", limits)
		}
		for i := range want {
			if limits[i] != want[i] {
				t.Errorf("waits below %v ms, want %v", limits, want)
				break
			}
		}
	})
}

// A response may say when to try again.
func TestRateLimitedBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, retrying("5xx", `, "rateLimitedRetryBackOff": {"resetHeaders": [{"name": "Retry-After"}], "maxInterval": "10s"}`))
		w.handler.(*Router).random = func(int64) int64 { return 0 }
		w.c.then(status(503, "retry-after", "5"))
		w.c.then(status(200))
		if r := w.get("/"); r.status != 200 || r.took != 5*time.Second {
			t.Errorf("got %+v", r)
		}
		if w.counts.value("cluster.c.upstream_rq_retry_backoff_ratelimited") != 1 {
			t.Error("not counted")
		}
	})
}

// The time of a try is its own; that of the route covers them all, and is not retried.
func TestTryTimeouts(t *testing.T) {
	for _, x := range []struct {
		name, more, details string
		tries               int
		took                time.Duration
		counter             string
	}{
		{"try", `, "perTryTimeout": "2s"`, "upstream_per_try_timeout", 2, 4 * time.Second, "per_try_timeout"},
		{"idle", `, "perTryIdleTimeout": "2s"`, "upstream_per_try_idle_timeout", 2, 4 * time.Second, "per_try_idle_timeout"},
		{"route", `, "perTryTimeout": "20s"`, "response_timeout", 1, 15 * time.Second, "timeout"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, retrying("5xx", x.more))
				w.handler.(*Router).random = func(int64) int64 { return 0 }
				w.c.scripts = make([]script, 3)
				r := w.get("/")
				if r.status != 504 || r.body != "upstream request timeout" || r.details != x.details || r.took != x.took || len(w.c.asked) != x.tries {
					t.Errorf("got %+v after %d tries", r, len(w.c.asked))
				}
				if got := w.counts.value("cluster.c.upstream_rq_" + x.counter); got != int64(x.tries) {
					t.Errorf("counted %d", got)
				}
				w.c.released()
			})
		})
	}
}

// The per-try idle timeout goes on while the response comes: from its last piece.
func TestIdleResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, retrying("5xx", `, "perTryIdleTimeout": "2s"`))
		w.c.then(opens(200), later(1500*time.Millisecond, data("some")), later(1500*time.Millisecond, data("more")))
		r := w.get("/")
		if r.body != "somemore" || r.err == nil || r.flags != "UT" || r.details != "upstream_per_try_idle_timeout" || r.took != 5*time.Second {
			t.Errorf("got %+v", r)
		}
		w.c.released()
	})
}

// A client that goes away during the back-off ends it.
func TestGoneInBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, retrying("5xx", `, "retryBackOff": {"baseInterval": "10s"}`))
		w.handler.(*Router).random = func(n int64) int64 { return n - 1 }
		w.c.then(status(500))
		c := w.client(get("/"))
		go func() {
			time.Sleep(time.Second)
			c.leave()
		}()
		if r := c.do(); r.err == nil || r.took != time.Second {
			t.Errorf("got %+v", r)
		}
		w.c.released()
	})
}

// Each try gets the whole body, also the part that came only while it was under way.
func TestBodyIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, retrying("5xx", ""))
		w.c.then(later(time.Second, status(503)))
		w.c.then(event{head: head(200), end: true, request: true})
		b := newBody(false, "one ")
		b.trailer = httpmsg.Header{{Name: "t", Value: "v"}}
		go func() {
			time.Sleep(2 * time.Second)
			b.pieces <- "two"
			close(b.pieces)
		}()
		if r := w.client(post("/", b)).do(); r.status != 200 {
			t.Errorf("got %+v", r)
		}
		if u := w.c.opened[1]; string(u.body) != "one two" || u.trailer.Get("t") != "v" {
			t.Errorf("the second try got %q and %v", u.body, u.trailer)
		}
		w.c.released()
	})
}

// What is larger than the buffer is sent once.
func TestBodyTooLargeToBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHost(t, &Config{}, `"perRequestBufferLimitBytes": 10, "routes": [`+retrying("5xx", "")+`]`)
		w.c.then(event{head: head(503), end: true, request: true})
		long := strings.Repeat("x", 11)
		if r := w.client(post("/", newBody(true, "a", long))).do(); r.status != 503 || len(w.c.asked) != 1 {
			t.Errorf("got %+v after %d tries", r, len(w.c.asked))
		}
		if got := string(w.c.opened[0].body); got != "a"+long {
			t.Errorf("the host got %q", got)
		}
		if w.counts.value("cluster.c.retry_or_shadow_abandoned") != 1 {
			t.Error("not counted")
		}
		w.c.released()
	})
}

// A retry avoids hosts that have failed.
func TestPreviousHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, retrying("5xx", `, "hostSelectionRetryMaxAttempts": "3",
			"retryHostPredicate": [{"name": "p", "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}]`))
		w.c.then(status(500))
		w.c.then(status(200))
		w.get("/")
		first, second := w.c.asked[0], w.c.asked[1]
		if first.Avoid != nil || second.AvoidTries != 3 || !second.Avoid(w.c.opened[0].host) || second.Avoid(&filter.Host{}) {
			t.Errorf("asked %+v, %+v", first, second)
		}
	})
}

// A retry is told what was tried, where priorities are to be left out.
func TestPreviousPriorities(t *testing.T) {
	for policy, every := range map[string]int{"": 0, `, "retryPriority": {"name": "p", "typedConfig":
		{"@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", "updateFrequency": 2}}`: 2} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &Config{}, retrying("5xx", policy))
			w.c.then(status(500))
			w.c.then(status(200))
			w.get("/")
			first, second := w.c.asked[0], w.c.asked[1]
			if first.TriedEvery != 0 || second.TriedEvery != every || len(second.Tried) != 1 || second.Tried[0] != w.c.opened[0].host {
				t.Errorf("asked %+v, %+v", first, second)
			}
		})
	}
}

// Headers of trusted requests ask for retries, and do not reach the host.
func TestRetryHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, plain)
		for range 3 {
			w.c.then(status(418))
		}
		r := w.get("/", "x-envoy-retry-on", "retriable-status-codes", "x-envoy-max-retries", "2",
			"x-envoy-retriable-status-codes", "418", "x-envoy-upstream-rq-timeout-ms", "700", "x-envoy-upstream-rq-timeout-alt-response", "1")
		if r.status != 418 || len(w.c.asked) != 3 {
			t.Errorf("got %+v after %d tries", r, len(w.c.asked))
		}
		for _, f := range w.c.opened[0].request.Header {
			if f.Name != "x-envoy-expected-rq-timeout-ms" || f.Value != "700" {
				t.Errorf("the host got %v", f)
			}
		}
		w.c.scripts = append(w.c.scripts, script{})
		if r := w.get("/", "x-envoy-upstream-rq-timeout-ms", "700", "x-envoy-upstream-rq-timeout-alt-response", "1"); r.status != 204 {
			t.Errorf("got %+v", r)
		}
	})
}

// With hedging, a try that is slow gets company, and the first good answer counts.
func TestHedging(t *testing.T) {
	const policy = `{"match": {"prefix": "/"}, "route": {"cluster": "c", "hedgePolicy": {"hedgeOnPerTryTimeout": true},
		"retryPolicy": {"retryOn": "5xx", "numRetries": 2, "perTryTimeout": "1s"}}}`
	for _, x := range []struct {
		name   string
		first  event
		second event
		status int
		took   time.Duration
	}{
		{"the second wins", later(9*time.Second, status(200, "n", "1")), later(900*time.Millisecond, status(201)), 201, 1900 * time.Millisecond},
		{"the first wins", later(1500*time.Millisecond, status(200)), later(5*time.Second, status(201)), 200, 1500 * time.Millisecond},
		{"a bad answer does not count", later(3*time.Second, status(200)), later(900*time.Millisecond, status(500)), 200, 3 * time.Second},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Config{}, policy)
				w.handler.(*Router).random = func(int64) int64 { return 0 }
				w.c.then(x.first)
				w.c.then(x.second)
				w.c.scripts = append(w.c.scripts, script{})
				if r := w.client(post("/", newBody(true, "b"))).do(); r.status != x.status || r.took != x.took {
					t.Errorf("got %+v", r)
				}
				for i, u := range w.c.opened {
					if string(u.body) != "b" {
						t.Errorf("try %d got %q", i+1, u.body)
					}
				}
				w.c.released()
			})
		})
	}
}

// A race that nobody wins ends with the route's timeout.
func TestHedgingInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "timeout": "4s",
			"hedgePolicy": {"hedgeOnPerTryTimeout": true}, "retryPolicy": {"retryOn": "5xx", "perTryTimeout": "1s"}}}`)
		w.c.scripts = make([]script, 3)
		if r := w.get("/"); r.status != 504 || r.details != "response_timeout" || r.took != 4*time.Second || len(w.c.asked) != 2 {
			t.Errorf("got %+v after %d tries", r, len(w.c.asked))
		}
		if n := w.counts.value("cluster.c.upstream_rq_timeout"); n != 2 {
			t.Errorf("counted %d", n)
		}
		w.c.released()
	})
}
