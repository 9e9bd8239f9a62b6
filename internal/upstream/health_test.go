package upstream

import (
	"bufio"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/lb"
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

// A ward is a network whose internal listeners answer health checks of HTTP/1 by name.
type ward struct {
	mu    sync.Mutex
	down  map[string]bool
	serve sync.WaitGroup
}

func (w *ward) Connect(d *inproc.Dial) (filter.Stream, error) {
	near, far := pipe.New(pipe.Options{})
	w.serve.Go(func() {
		defer far.Close()
		in := bufio.NewReader(far)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			w.mu.Lock()
			status := "200 OK"
			if w.down[d.Addr.Listener] {
				status = "503 Service Unavailable"
			}
			w.mu.Unlock()
			if d.From != nil || d.By != "a health check" || r.Host != "c" {
				status = "500 Not Health Check"
			}
			io.WriteString(far, "HTTP/1.1 "+status+"\r\ncontent-length: 0\r\n\r\n")
		}
	})
	return near, nil
}

// Hosts that fail active health checks get no requests, internal ones, too (in Envoy these
// always fail).
func TestActiveChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{down: map[string]bool{"b": true}}
		p := cluster("c", internal("a", ""), internal("b", ""))
		p.LB.PanicPercent = 0
		p.Check = &plan.HealthCheck{
			HTTP:    &plan.HTTPCheck{Protocol: httpmsg.HTTP11, Method: "GET", Path: "/", Expected: []plan.StatusRange{{Start: 200, End: 201}}},
			Timeout: time.Second, Healthy: 1, Unhealthy: 1,
			Interval: time.Second, HealthyEdge: time.Second, UnhealthyEdge: time.Second, UnhealthyAfter: time.Second, NoTraffic: time.Second, NoTrafficHealthy: time.Second,
		}
		s, c := run(t, Options{Network: w}, p)
		x := s.get(t, "c").(*Cluster)
		if x.pick(nil, lb.Request{}) != nil {
			t.Error("chosen before it was checked")
		}
		s.Start(t.Context())
		chosen := func() (names string) {
			seen := make(map[string]bool)
			for range 4 {
				if h := x.pick(nil, lb.Request{}); h != nil {
					seen[h.Addr.(filter.InternalAddr).Listener] = true
				}
			}
			return strings.Join(slices.Sorted(maps.Keys(seen)), " ")
		}
		if got := chosen(); got != "a" {
			t.Errorf("chosen: %s", got)
		}
		w.mu.Lock()
		w.down = map[string]bool{"a": true}
		w.mu.Unlock()
		time.Sleep(1500 * time.Millisecond)
		if got := chosen(); got != "b" {
			t.Errorf("after a change: %s", got)
		}
		for i, h := range s.Status()[0].Hosts {
			if h.CheckFailed != (i == 0) || h.Host.Total.Load() != 0 {
				t.Errorf("%+v", h)
			}
		}
		next := *p
		next.Hash++
		if err := s.Apply([]*plan.Cluster{&next}); err != nil { // checked at once, for checks have begun
			t.Fatal(err)
		}
		synctest.Wait()
		x = s.get(t, "c").(*Cluster)
		if got := chosen(); got != "b" {
			t.Errorf("in a new version: %s", got)
		}
		s.Close()
		w.serve.Wait()
		if got := c.of("c"); got["health_check.attempt"] != 6 || got["health_check.healthy"] != 0 || got["upstream_cx_total"] != 0 {
			t.Error(got)
		}
	})
}
