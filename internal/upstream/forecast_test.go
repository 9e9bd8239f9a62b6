package upstream

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

func foreseeing(ratio float64, hosts ...string) *plan.Cluster {
	p := httpCluster()
	p.PredictivePreconnect = ratio
	p.Assignment.Localities[0].Endpoints = nil
	for _, h := range hosts {
		p.Assignment.Localities[0].Endpoints = append(p.Assignment.Localities[0].Endpoints, plan.Endpoint{Addr: internal(h, ""), Weight: 1})
	}
	return p
}

// dialled are the hosts that connections were made to, in the order of their names.
func (l *land) dialled() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.dials {
		out = append(out, d.Addr.Listener)
	}
	slices.Sort(out)
	return out
}

// How many connections the first request has made; seen on Envoy 1.40.
func TestPredictivePreconnect(t *testing.T) {
	change := func(p *plan.Cluster, f func(p *plan.Cluster)) *plan.Cluster {
		f(p)
		return p
	}
	for name, x := range map[string]struct {
		p    *plan.Cluster
		want int
	}{
		"of two":        {foreseeing(2, "a", "b"), 2},
		"of three":      {foreseeing(3, "a", "b", "c"), 3},
		"a part":        {foreseeing(1.5, "a", "b", "c"), 3},
		"one host":      {foreseeing(3, "a"), 1},
		"none":          {foreseeing(1, "a", "b"), 1},
		"HTTP/2":        {change(foreseeing(2, "a", "b", "c"), func(p *plan.Cluster) { p.HTTP.Version = plan.HTTP2Only }), 2},
		"random":        {change(foreseeing(3, "a"), func(p *plan.Cluster) { p.LB.Policy = plan.Random }), 1},
		"least request": {change(foreseeing(3, "a", "b", "c"), func(p *plan.Cluster) { p.LB.Policy = plan.LeastRequest }), 1},
		"ring hash":     {change(foreseeing(3, "a", "b", "c"), func(p *plan.Cluster) { p.LB.Policy = plan.RingHash }), 1},
		"subsets":       {change(foreseeing(3, "a", "b", "c"), func(p *plan.Cluster) { p.LB.Subset = &plan.Subset{Fallback: plan.AnyEndpoint} }), 1},
		"unhealthy hosts": {change(foreseeing(3, "a", "b", "c"), func(p *plan.Cluster) {
			p.LB.PanicPercent = 0
			for i := range 2 {
				p.Assignment.Localities[0].Endpoints[i].Health = corev3.HealthStatus_UNHEALTHY
			}
		}), 1},
	} {
		pooled(t, func(t *testing.T, l *land) {
			s, c := l.serve(x.p)
			a := newRequester().ask(s)
			a.on(t)
			synctest.Wait()
			if n := l.count(); n != x.want || c.of("c")["upstream_cx_total"] != int64(x.want) {
				t.Errorf("%s: %d connections, want %d", name, n, x.want)
			}
			a.s.Release()
		})
	}
}

// Hosts that are not meant to have connections in advance get none, which is counted.
func TestPreconnectHosts(t *testing.T) {
	only := func(m *corev3.Metadata) bool { return m != nil }
	for name, x := range map[string]struct {
		perHost, ratio float64
		metadata       *corev3.Metadata
		want, skipped  int64
	}{
		"each":         {2, 1, &corev3.Metadata{}, 2, 0},
		"none":         {2, 1, nil, 1, 1},
		"ahead":        {1, 2, &corev3.Metadata{}, 2, 0},
		"none, ahead":  {1, 2, nil, 1, 1},
		"on demand":    {1, 1, nil, 1, 0},
		"none of both": {2, 2, nil, 1, 2},
	} {
		pooled(t, func(t *testing.T, l *land) {
			p := foreseeing(x.ratio, "a", "b")
			p.HTTP.PerHostPreconnect, p.PreconnectHost = x.perHost, only
			for i := range p.Assignment.Localities[0].Endpoints {
				p.Assignment.Localities[0].Endpoints[i].Metadata = x.metadata
			}
			s, c := l.serve(p)
			a := newRequester().ask(s)
			a.on(t)
			synctest.Wait()
			if got := c.of("c"); got["upstream_cx_total"] != x.want || got["upstream_cx_preconnect_skipped"] != x.skipped {
				t.Errorf("%s: %d connections, %d skipped; want %d, %d", name, got["upstream_cx_total"], got["upstream_cx_preconnect_skipped"], x.want, x.skipped)
			}
			a.s.Release()
		})
	}
}

// A circuit breaker is for connections in advance, too: none is closed for them.
func TestPreconnectWithinTheBreaker(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.takes = 1 // or the request may close one that is there before it
		p := foreseeing(3, "a", "b", "c")
		p.Breakers[0].MaxConnections = 1
		s, c := l.serve(p)
		a := newRequester().ask(s)
		a.on(t)
		synctest.Wait()
		if got := c.of("c"); got["upstream_cx_active"] > 2 || got["upstream_cx_destroy"] != 0 {
			t.Error(got)
		}
		a.s.Release()
	})
}

// Requests get the hosts that were expected, where a connection waits for them; then none is
// made any more.
func TestForeseenHosts(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		s, _ := l.serve(foreseeing(2, "a", "b"))
		a := newRequester().ask(s)
		a.on(t)
		synctest.Wait()
		if got := l.dialled(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("connections to %v", got)
		}
		a.s.Release()
		b := newRequester().ask(s)
		b.on(t)
		if b.waits != 0 || b.s.Host() == a.s.Host() {
			t.Error("had to wait, or went to the same host")
		}
		b.s.Release()
		synctest.Wait()
		if l.count() != 2 {
			t.Errorf("%d connections", l.count())
		}
	})
}

// What was expected of hosts that are gone is forgotten.
func TestForeseenHostsThatGo(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		p := foreseeing(3, "a", "b", "c")
		s, _ := l.serve(p)
		a := newRequester().ask(s)
		a.on(t)
		synctest.Wait()
		next := p.Assignment
		next.Localities = []plan.Locality{{Endpoints: []plan.Endpoint{{Addr: internal("d", ""), Weight: 1}}}}
		s.Update("c", next)
		for range 3 {
			b := newRequester().ask(s)
			b.on(t)
			if got := b.s.Host().Addr; got != (filter.InternalAddr{Listener: "d"}) {
				t.Errorf("went to %v", got)
			}
			b.s.Release()
		}
		a.s.Release()
		synctest.Wait()
	})
}

// A connection in advance that cannot be made is nobody's failure, and leaves nothing behind.
func TestForeseenInVain(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		l.fails = errors.New("down")
		s, c := l.serve(foreseeing(2, "a", "b"))
		x := newRequester().ask(s)
		if <-x.done; x.err == nil {
			t.Error("it did not fail")
		}
		synctest.Wait()
		got := c.of("c")
		if got["upstream_cx_connect_fail"] != got["upstream_cx_total"] || got["upstream_cx_active"] != 0 || got["upstream_rq_pending_failure_eject"] != 1 {
			t.Error(got)
		}
		f := s.get(t, "c").(*Cluster).forecast
		if f.streams.Load() != 0 || f.provided.Load() != 0 {
			t.Errorf("%d requests, %d provided for", f.streams.Load(), f.provided.Load())
		}
		for _, h := range s.get(t, "c").(*Cluster).all() {
			if n := len(h.pools.byKey); n != 0 {
				t.Errorf("%v: %d pools", h.Addr, n)
			}
		}
	})
}

// However many requests come and go at the same time, nothing of them is counted at the end.
func TestForecastComesTo0(t *testing.T) {
	for _, v := range []plan.HTTPVersion{plan.HTTP1Only, plan.HTTP2Only} {
		pooled(t, func(t *testing.T, l *land) {
			l.streams, l.takes = 3, time.Millisecond
			p := foreseeing(2.5, "a", "b", "c")
			p.HTTP.Version = v
			s, _ := l.serve(p)
			var all []*client
			for range 50 {
				all = append(all, newRequester().ask(s))
			}
			for _, x := range all {
				x.on(t)
			}
			f := s.get(t, "c").(*Cluster).forecast
			if n := f.streams.Load(); n != 50 {
				t.Errorf("%d requests", n)
			}
			for _, x := range all {
				x.s.Release()
			}
			synctest.Wait()
			if n := f.streams.Load(); n != 0 || f.provided.Load() < 50 {
				t.Errorf("%d requests, %d provided for", n, f.provided.Load())
			}
			s.Close()
			if f.streams.Load() != 0 || f.provided.Load() != 0 {
				t.Errorf("at the end %d requests, %d provided for", f.streams.Load(), f.provided.Load())
			}
		})
	}
}
