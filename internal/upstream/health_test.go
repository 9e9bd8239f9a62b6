package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

// ejecting returns the plan of a cluster of two hosts, which five failures eject.
func ejecting() *plan.Cluster {
	p := cluster("c", internal("a", ""), internal("b", ""))
	p.HTTP.IdleTimeout = time.Hour
	p.LB.PanicPercent = 0
	p.Outlier = &plan.Outlier{
		Interval: 10 * time.Second, BaseEjection: 30 * time.Second, MaxEjection: 300 * time.Second, MaxPercent: 100,
		Consecutive5xx: 5, ConsecutiveGateway: 5, ConsecutiveLocal: 5, RateHosts: 100, FailureHosts: 100,
	}
	p.Outlier.Enforce[plan.Consecutive5xx] = 100
	return p
}

// A host that fails too often gets no requests for a while, and its connections end.
func TestEjection(t *testing.T) {
	pooled(t, func(t *testing.T, l *land) {
		s, c := l.serve(ejecting())
		x, _ := s.Cluster("c")
		ask := func() filter.UpstreamStream {
			s, err := x.(filter.HTTPCluster).Open(&newRequester().r)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		first := ask()
		bad := first.Host()
		first.Outcome(500, nil)
		first.Release()
		for range 8 {
			r := ask()
			if r.Host() == bad {
				r.Outcome(0, &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}) // counts as 503
			} else {
				r.Outcome(200, nil)
			}
			r.Release()
		}
		synctest.Wait()
		for range 4 {
			if r := ask(); r.Host() == bad {
				t.Fatal("an ejected host was chosen")
			} else {
				r.Release()
			}
		}
		if bad.Active.Load() != 0 {
			t.Errorf("%d connections are left to the ejected host", bad.Active.Load())
		}
		c.all.Lock()
		if n := c.all.values["cluster.c.membership_healthy"]; n != 1 {
			t.Errorf("membership_healthy %d", n)
		}
		c.all.Unlock()
		ejected := 0
		for _, h := range s.Status()[0].Hosts {
			if h.Ejected {
				ejected++
				if h.Host != bad || h.RequestsFailed != 5 || h.RequestsSucceeded != 0 {
					t.Errorf("%+v", h)
				}
			}
		}
		if ejected != 1 {
			t.Errorf("%d hosts are shown as ejected", ejected)
		}
		time.Sleep(31 * time.Second)
		back := false
		for range 2 {
			r := ask()
			back = back || r.Host() == bad
			r.Release()
		}
		if !back {
			t.Error("not chosen again")
		}
	})
}

// Connections that cannot be made count, of TCP, too.
func TestEjectionByConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := run(t, Options{}, ejecting()) // no network: all is refused
		defer s.Close()
		for range 10 {
			h := newHop(t)
			if s.get(t, "c").Connect(h.request()) == nil {
				t.Fatal("connected")
			}
		}
		if err := s.get(t, "c").Connect(newHop(t).request()); err != filter.ErrNoHost {
			t.Errorf("with all hosts ejected: %v", err)
		}
	})
}
