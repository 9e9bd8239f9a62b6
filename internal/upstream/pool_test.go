package upstream

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

// pooled runs a test of pools in virtual time.
func pooled(t *testing.T, f func(t *testing.T, l *land)) {
	synctest.Test(t, func(t *testing.T) { f(t, &land{t: t}) })
}

// HTTP/1 has one request at a time on a connection, and takes the one used last.
func TestHTTP1LastUsedFirst(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		s, c := l.serve(httpCluster())
		a, b := newRequester().ask(s), newRequester().ask(s)
		first, second := a.on(t), b.on(t)
		if first == second {
			t.Fatal("two requests at once on one connection")
		}
		a.s.Release()
		b.s.Release()
		again := newRequester().ask(s)
		if again.on(t) != second {
			t.Error("not the connection used last")
		}
		again.s.Release()
		synctest.Wait()
		wantCounts(t, "idle", c.of("c"), map[string]int64{
			"upstream_cx_total": 2, "upstream_cx_http1_total": 2, "upstream_cx_active": 2, "upstream_cx_connect_ms": 2,
			"upstream_rq_total": 3, "upstream_rq_pending_total": 2,
		})
		if up := a.info.Up; up.Host == nil || up.Remote == nil || up.ID == 0 || a.info.UpAttempts != 1 || up.ClusterInfo == nil {
			t.Errorf("%+v", up)
		}
		if again.waits != 0 || a.waits != 1 {
			t.Errorf("waited %d and %d times", again.waits, a.waits)
		}
		h := s.Status()[0].Hosts[0]
		if h.RequestsTotal != 3 || h.RequestsActive != 0 || h.RequestsPending != 0 || h.Host.Active.Load() != 2 {
			t.Errorf("%+v", h)
		}
	})
}

// Twenty requests at once on a cold HTTP/2 pool are one connection (Envoy).
func TestHTTP2Multiplexes(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.streams, l.takes = 100, time.Millisecond
		s, c := l.serve(http2Cluster())
		var all []*client
		for range 20 {
			all = append(all, newRequester().ask(s))
		}
		for _, x := range all {
			x.on(t)
		}
		if l.count() != 1 {
			t.Errorf("%d connections", l.count())
		}
		if got := c.of("c"); got["upstream_rq_active"] != 20 || got["upstream_cx_http2_total"] != 1 || got["upstream_rq_pending_total"] != 20 {
			t.Error(got)
		}
		for _, x := range all {
			x.s.Release()
		}
		if got := c.of("c"); got["upstream_rq_active"] != 0 || got["upstream_rq_pending_active"] != 0 {
			t.Error(got)
		}
	})
}

// A full connection makes the next one; one that has room again is used again.
func TestHTTP2NextWhenFull(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.streams = 2
		p := http2Cluster()
		p.HTTP.HTTP2.MaxStreams = 2
		s, _ := l.serve(p)
		var all []*client
		for i := range 6 {
			all = append(all, newRequester().ask(s))
			all[i].on(t)
		}
		if l.count() != 3 {
			t.Errorf("%d connections", l.count())
		}
		w := all[0].on(t)
		all[0].s.Release()
		if x := newRequester().ask(s); x.on(t) != w {
			t.Error("room was not used")
		} else {
			x.s.Release()
		}
		w.allow(5)
		for range 3 {
			if x := newRequester().ask(s); x.on(t) != w {
				t.Error("what the server allows later was not used")
			} else {
				defer x.s.Release()
			}
		}
		for _, x := range all[1:] {
			x.s.Release()
		}
	})
}

// GOAWAY lets the streams finish; the next request opens a new connection.
func TestGoAwayDrains(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.streams = 10
		s, c := l.serve(http2Cluster())
		a := newRequester().ask(s)
		old := a.on(t)
		old.goAway()
		b := newRequester().ask(s)
		if b.on(t) == old {
			t.Error("a request went to a connection that drains")
		}
		if old.isClosed() {
			t.Error("closed with a stream on it")
		}
		a.s.Release()
		synctest.Wait()
		if !old.isClosed() {
			t.Error("still there without a stream")
		}
		b.s.Release()
		if got := c.of("c"); got["upstream_cx_close_notify"] != 1 || got["upstream_cx_destroy"] != 1 || got["upstream_cx_destroy_with_active_rq"] != 0 {
			t.Error(got)
		}
	})
}

// What an exchange left in doubt serves no other one.
func TestDoubt(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		s, c := l.serve(httpCluster())
		a := newRequester().ask(s)
		old := a.on(t)
		old.doubt = true
		a.s.Release()
		if b := newRequester().ask(s); b.on(t) == old {
			t.Error("used again")
		} else {
			b.s.Release()
		}
		if got := c.of("c"); got["upstream_cx_close_notify"] != 0 {
			t.Error("a close that was ours counts as the server's")
		}
	})
}

// A connection that the server closed between requests is not used.
func TestClosedWhileIdle(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		s, c := l.serve(httpCluster())
		a := newRequester().ask(s)
		w := a.on(t)
		a.s.Release()
		w.end(nil)
		synctest.Wait()
		b := newRequester().ask(s)
		if b.on(t) == w {
			t.Error("used again")
		}
		b.on(t).end(&httpmsg.ResetError{Reason: httpmsg.ConnectionTermination})
		synctest.Wait()
		b.s.Release()
		wantCounts(t, "both closed", c.of("c"), map[string]int64{
			"upstream_cx_total": 2, "upstream_cx_http1_total": 2, "upstream_cx_connect_ms": 2, "upstream_cx_length_ms": 2,
			"upstream_cx_destroy": 2, "upstream_cx_destroy_remote": 2, "upstream_rq_per_cx": 2,
			"upstream_cx_destroy_with_active_rq": 1, "upstream_cx_destroy_remote_with_active_rq": 1,
			"upstream_rq_total": 2, "upstream_rq_pending_total": 2,
			"upstream_cx_rx_bytes_total": 2000, "upstream_cx_tx_bytes_total": 20,
		})
	})
}

func TestIdleTimeout(t *testing.T) {
	for name, p := range map[string]*plan.Cluster{"HTTP/1": httpCluster(), "HTTP/2": http2Cluster()} {
		t.Run(name, func(t *testing.T) {
			pooled(t, func(t *testing.T, l *land) {
				l.streams = 1
				p.HTTP.IdleTimeout = 10 * time.Second
				s, c := l.serve(p)
				a, b := newRequester().ask(s), newRequester().ask(s)
				wa, wb := a.on(t), b.on(t)
				a.s.Release()
				time.Sleep(3 * time.Second)
				b.s.Release()
				time.Sleep(8 * time.Second)
				if !wa.isClosed() || wb.isClosed() {
					t.Errorf("after 11 s and 8 s without requests: closed %v, %v", wa.isClosed(), wb.isClosed())
				}
				x := newRequester().ask(s)
				if x.on(t) != wb {
					t.Error("another connection")
				}
				time.Sleep(time.Minute)
				if wb.isClosed() {
					t.Error("closed with a request")
				}
				x.s.Release()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if got := c.of("c"); !wb.isClosed() || got["upstream_cx_idle_timeout"] != 2 || got["upstream_cx_destroy_local"] != 2 || got["upstream_cx_active"] != 0 {
					t.Error(got)
				}
			})
		})
	}
}

func TestMaxConnectionDuration(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.HTTP.MaxDuration = 10 * time.Second
		s, c := l.serve(p)
		busy, idle := newRequester().ask(s), newRequester().ask(s)
		wb, wi := busy.on(t), idle.on(t)
		idle.s.Release()
		time.Sleep(11 * time.Second)
		if !wi.isClosed() || wb.isClosed() {
			t.Errorf("idle closed %v, busy closed %v", wi.isClosed(), wb.isClosed())
		}
		busy.s.Release()
		synctest.Wait()
		if got := c.of("c"); !wb.isClosed() || got["upstream_cx_max_duration_reached"] != 2 {
			t.Error(got)
		}
	})
}

func TestMaxRequests(t *testing.T) {
	for name, p := range map[string]*plan.Cluster{"HTTP/1": httpCluster(), "HTTP/2": http2Cluster()} {
		t.Run(name, func(t *testing.T) {
			pooled(t, func(t *testing.T, l *land) {
				p.HTTP.MaxRequests, l.streams = 2, 1
				s, c := l.serve(p)
				var used []*wire
				for range 4 {
					x := newRequester().ask(s)
					used = append(used, x.on(t))
					x.s.Release()
					synctest.Wait()
				}
				if used[0] != used[1] || used[1] == used[2] || used[2] != used[3] || !used[0].isClosed() {
					t.Error("not two on each connection")
				}
				if got := c.of("c"); got["upstream_cx_max_requests"] != 2 || got["upstream_cx_close_notify"] != 0 {
					t.Error(got)
				}
			})
		})
	}
}

// max_connections 1 and three at once: one after the other (Envoy).
func TestOneConnection(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.Breakers[0].MaxConnections = 1
		s, c := l.serve(p)
		var all []*client
		for range 3 {
			all = append(all, newRequester().ask(s))
			synctest.Wait()
		}
		for i, x := range all {
			if !x.has() || i < 2 && all[i+1].has() {
				t.Fatalf("not in order at %d", i)
			}
			x.s.Release()
			synctest.Wait()
		}
		got := c.of("c")
		if got["upstream_cx_total"] != 1 || got["upstream_cx_overflow"] != 3 || got["circuit_breakers.default.cx_open"] != 1 {
			t.Error(got)
		}
	})
}

func TestHTTPPendingLimit(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.Breakers[0].MaxConnections, p.Breakers[0].MaxPending = 1, 1
		s, c := l.serve(p)
		a := newRequester().ask(s)
		synctest.Wait()
		b := newRequester().ask(s)
		synctest.Wait()
		if got := c.of("c"); got["circuit_breakers.default.rq_pending_open"] != 1 {
			t.Error(got)
		}
		newRequester().ask(s).fails(t, filter.ErrPendingOverflow)
		a.s.Release()
		b.on(t)
		b.s.Release()
		if got := c.of("c"); got["upstream_rq_pending_overflow"] != 1 || got["circuit_breakers.default.rq_pending_open"] != 0 {
			t.Error(got)
		}
	})
}

// max_pending_requests 0 refuses the first request of a cold pool (Envoy), and leaves no
// pool behind.
func TestNoPending(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.Breakers[0].MaxPending = 0
		s, _ := l.serve(p)
		newRequester().ask(s).fails(t, filter.ErrPendingOverflow)
		if n := len(s.live.all()); n != 0 {
			t.Errorf("%d pools", n)
		}
	})
}

func TestHTTPRequestLimit(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.streams = 10
		p := http2Cluster()
		p.Breakers[0].MaxRequests = 1
		p.Breakers[1].MaxRequests = 1
		s, c := l.serve(p)
		a := newRequester().ask(s)
		a.on(t)
		newRequester().ask(s).fails(t, filter.ErrRequestOverflow)
		high := newRequester()
		high.r.High = true
		if high.ask(s).on(t) == a.on(t) {
			t.Error("priorities share a connection")
		}
		got := c.of("c")
		if got["upstream_rq_active_overflow"] != 1 || got["upstream_rq_pending_overflow"] != 0 || got["circuit_breakers.default.rq_open"] != 1 || got["circuit_breakers.high.rq_open"] != 1 {
			t.Error(got)
		}
		a.s.Release()
		high.s.Release()
	})
}

func TestRetryLimits(t *testing.T) {
	p := httpCluster()
	p.Breakers[0].MaxRetries = 1
	p.Breakers[1].RetryBudget = &plan.RetryBudget{Percent: 20, MinConcurrency: 2}
	s, c := run(t, Options{}, p)
	x := s.get(t, "c").(*Cluster)
	done, ok := x.Retry(false)
	if _, again := x.Retry(false); !ok || again {
		t.Error("not one retry at a time")
	}
	if got := c.of("c"); got["circuit_breakers.default.rq_retry_open"] != 1 {
		t.Error(got)
	}
	done()
	if _, ok := x.Retry(false); !ok {
		t.Error("a retry was not given back")
	}
	high := x.stats.breakers[1]
	for range 20 {
		high.force(&high.requests)
	}
	for i := range 5 {
		if _, ok := x.Retry(true); ok != (i < 4) {
			t.Errorf("retry %d of 20 requests: %v", i+1, ok)
		}
	}
	for range 20 {
		high.release(&high.requests)
	}
	if _, ok := x.Retry(true); ok {
		t.Error("beyond the least budget")
	}
}

// Who stops waiting leaves the line; the others keep their order.
func TestCancelWhileWaiting(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := httpCluster()
		p.Breakers[0].MaxConnections = 1
		s, c := l.serve(p)
		a := newRequester().ask(s)
		a.on(t)
		var line []*client
		for range 4 {
			line = append(line, newRequester())
			line[len(line)-1].ask(s)
			synctest.Wait()
		}
		late := newRequester()
		late.r.Deadline = time.Now().Add(time.Second)
		late.ask(s)
		close(line[1].cancel)
		line[1].fails(t, filter.ErrCanceled)
		late.fails(t, filter.ErrCanceled)
		for _, i := range []int{0, 2, 3} {
			a.s.Release()
			synctest.Wait()
			if a = line[i]; !a.has() {
				t.Fatalf("%d did not follow", i)
			}
		}
		a.s.Release()
		if got := c.of("c"); got["upstream_rq_cancelled"] != 2 || got["upstream_rq_pending_active"] != 0 {
			t.Error(got)
		}
	})
}

// A connection that cannot be made fails all that wait for one (Envoy), and is tried
// anew for who comes next.
func TestHTTPConnectFails(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.takes, l.fails = time.Second, errors.New("no")
		s, c := l.serve(http2Cluster())
		a, b := newRequester().ask(s), newRequester().ask(s)
		for _, x := range []*client{a, b} {
			<-x.done
			var e *filter.ConnectError
			if !errors.As(x.err, &e) || e.Reason == "" || x.info.Rest().UpFailure != e.Reason {
				t.Errorf("%v, %q", x.err, x.info.Rest().UpFailure)
			}
		}
		wantCounts(t, "failed", c.of("c"), map[string]int64{
			"upstream_cx_total": 1, "upstream_cx_http2_total": 1, "upstream_cx_connect_fail": 1, "upstream_cx_destroy": 1,
			"upstream_cx_destroy_remote": 1, "upstream_cx_length_ms": 1,
			"upstream_rq_pending_total": 2, "upstream_rq_pending_failure_eject": 2,
		})
		l.fails = nil
		x := newRequester().ask(s)
		x.on(t)
		x.s.Release()
	})
}

func TestHTTPConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &land{t: t}
		s, c := run(t, Options{dial: blackhole, client: l.client}, func() *plan.Cluster {
			p := cluster("c", ip("192.0.2.1:80"))
			p.ConnectTimeout = 5 * time.Second
			return p
		}())
		defer s.Close()
		begun := time.Now()
		x := newRequester().ask(s)
		x.fails(t, filter.ErrConnectTimeout)
		if d := time.Since(begun); d != 5*time.Second {
			t.Error(d)
		}
		if got := c.of("c"); got["upstream_cx_connect_timeout"] != 1 || got["upstream_cx_destroy_local"] != 1 {
			t.Error(got)
		}
	})
}
