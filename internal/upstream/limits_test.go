package upstream

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
)

func TestNoHost(t *testing.T) {
	off := cluster("off", ip("127.0.0.1:1"))
	off.LB.PanicPercent = 0
	off.Assignment.Localities[0].Endpoints[0].Health = 2 // UNHEALTHY
	s, c := run(t, Options{}, cluster("none"), off)
	for name, want := range map[string]map[string]int64{
		"none": {"upstream_cx_none_healthy": 1, "lb_healthy_panic": 1},
		"off":  {"upstream_cx_none_healthy": 1},
	} {
		h := newHop(t)
		if err := s.get(t, name).Connect(h.request()); !errors.Is(err, filter.ErrNoHost) {
			t.Error(err)
		}
		if up := h.info.Up; h.info.UpAttempts != 0 || up.Host != nil || up.ClusterInfo == nil {
			t.Errorf("%+v", up)
		}
		wantCounts(t, name, c.of(name), want)
	}
}

func TestConnectionLimit(t *testing.T) {
	p := cluster("c", echo(t, ip("127.0.0.1:0")))
	p.Breakers[0].MaxConnections, p.Breakers[0].TrackRemaining = 1, true
	s, c := run(t, Options{}, p)
	x := s.get(t, "c")
	const open, left = "circuit_breakers.default.cx_open", "circuit_breakers.default.remaining_cx"
	if got := c.of("c"); got[left] != 1 || got["circuit_breakers.default.remaining_cx_pools"] != -1 {
		t.Error(got) // -1: the largest uint64
	}
	first, second := newHop(t), newHop(t)
	if err := x.Connect(first.request()); err != nil {
		t.Fatal(err)
	}
	if got := c.of("c"); got[open] != 1 || got[left] != 0 || got["circuit_breakers.default.remaining_rq"] != 1023 {
		t.Error(got)
	}
	if err := x.Connect(second.request()); !errors.Is(err, filter.ErrOverflow) {
		t.Errorf("%v", err)
	}
	if up := second.info.Up; second.info.UpAttempts != 0 || up.Host != nil {
		t.Errorf("%+v", up)
	}
	first.conn.Stream().Close()
	first.conn.Closed(true)
	if got := c.of("c"); got[open] != 0 || got[left] != 1 || got["upstream_cx_overflow"] != 1 {
		t.Error(got)
	}
	if err := x.Connect(second.request()); err != nil {
		t.Fatal(err)
	}
	second.conn.Stream().Close()
	second.conn.Closed(true)
}

func TestPendingLimit(t *testing.T) {
	p := cluster("c", ip("127.0.0.1:1"))
	p.Breakers[0].MaxPending = 0
	s, c := run(t, Options{}, p)
	h := newHop(t)
	if err := s.get(t, "c").Connect(h.request()); !errors.Is(err, filter.ErrPendingOverflow) {
		t.Error(err)
	}
	if up := h.info.Up; h.info.UpAttempts != 1 || up.Host != nil || len(h.info.Rest().UpTried) != 1 {
		t.Errorf("%+v, tried %v", up, h.info.Rest().UpTried)
	}
	wantCounts(t, "no room", c.of("c"), map[string]int64{"upstream_rq_pending_overflow": 1})
}

// max_requests does not limit TCP connections, but it shows.
func TestRequestLimitOnlyShows(t *testing.T) {
	p := cluster("c", echo(t, ip("127.0.0.1:0")))
	p.Breakers[0].MaxRequests = 0
	s, c := run(t, Options{}, p)
	h := newHop(t)
	if err := s.get(t, "c").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	h.conn.Stream().Close()
	h.conn.Closed(true)
	if got := c.of("c")["circuit_breakers.default.rq_open"]; got != 1 {
		t.Errorf("rq_open %d", got)
	}
}

// Who finds its host at the limit waits in line.
func TestPerHostLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := cluster("c", internal("in", ""))
		p.Breakers[0].PerHostMaxConnections = 1
		network := fakeNetwork(func(*inproc.Dial) (filter.Stream, error) { return &stream{local: filter.InternalClient}, nil })
		s, c := run(t, Options{Network: network}, p)
		x := s.get(t, "c")
		hops := []*hop{newHop(t), newHop(t), newHop(t), newHop(t), newHop(t)}
		errs := make([]error, len(hops))
		connect := func(i int, d time.Duration) {
			r := hops[i].request()
			if d > 0 {
				hops[i].deadline = time.Now().Add(d)
			}
			errs[i] = x.Connect(r)
		}
		connect(0, 0)
		for i, d := range []time.Duration{0, 0, time.Second, 0} {
			go connect(i+1, d)
			synctest.Wait()
		}
		if got := c.of("c"); got["upstream_cx_overflow"] != 4 || got["upstream_rq_pending_active"] != 4 || got["upstream_cx_active"] != 1 {
			t.Error(got)
		}
		if n := s.Status()[0].Hosts[0].RequestsPending; n != 4 {
			t.Errorf("rq_pending_active %d", n)
		}
		time.Sleep(2 * time.Second) // of the bubble
		close(hops[4].cancel)
		synctest.Wait()
		if !errors.Is(errs[3], filter.ErrConnectTimeout) || !errors.Is(errs[4], filter.ErrCanceled) {
			t.Error(errs)
		}
		for i := range 2 {
			if hops[i].conn == nil || hops[i+1].conn != nil {
				t.Fatalf("after %d: not one after the other", i)
			}
			hops[i].conn.Closed(true)
			synctest.Wait()
		}
		hops[2].conn.Closed(true)
		if got := c.of("c"); got["upstream_rq_pending_active"] != 0 || got["upstream_cx_active"] != 0 || got["upstream_rq_cancelled"] != 2 {
			t.Error(got)
		}
		if waits := hops[0].waits + hops[1].waits; waits != 1 {
			t.Errorf("%d waits", waits)
		}
	})
}
