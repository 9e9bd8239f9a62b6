package upstream

import (
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

func hostNames(c *Cluster) (out []string) {
	for _, h := range c.roster.Load().hosts {
		out = append(out, h.Addr.(filter.InternalAddr).Listener)
	}
	return out
}

// members are the membership_ statistics of the cluster c.
func members(c counts) map[string]int64 {
	c.all.Lock()
	defer c.all.Unlock()
	out := make(map[string]int64)
	for name, v := range c.all.values {
		if in, ok := strings.CutPrefix(name, "cluster.c."); ok {
			out[in] = v
		}
	}
	return out
}

func assigned(to ...net.Addr) plan.Assignment { return cluster("", to...).Assignment }

// An update keeps the hosts that are as they were, with all that is known of them.
func TestUpdate(t *testing.T) {
	a, b, x := internal("a", ""), internal("b", ""), internal("x", "")
	p := cluster("c", a, b)
	p.Outlier = ejecting().Outlier
	s, counts := run(t, Options{Network: always}, p)
	defer s.Close()
	c := s.get(t, "c").(*Cluster)
	before := c.roster.Load().hosts
	hop := newHop(t)
	if err := c.Connect(hop.request()); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		before[1].outlier.Answered(500)
	}

	next := assigned(b, x, a)
	next.Localities[0].Endpoints[0].Weight = 7
	next.Localities[0].Endpoints[2].Health = corev3.HealthStatus_UNHEALTHY
	if !s.Update("c", next) || s.Update("d", next) {
		t.Error("the cluster of a name is not what is updated")
	}
	after := c.roster.Load().hosts
	if !slices.Equal(hostNames(c), []string{"b", "x", "a"}) || after[0] != before[1] || after[2] != before[0] {
		t.Errorf("%v", hostNames(c))
	}
	st := s.Status()[0].Hosts
	if st[0].Weight != 7 || !st[0].Ejected || st[1].Ejected || st[2].Health != corev3.HealthStatus_UNHEALTHY {
		t.Errorf("%+v", st)
	}
	if got := members(counts); got["membership_total"] != 3 || got["membership_healthy"] != 1 || got["membership_change"] != 2 {
		t.Error(got)
	}

	// What changed is another host, of the same health; connections go on.
	changed := assigned(b, a)
	changed.Localities[0].Endpoints[0].Hostname = "b.example"
	s.Update("c", changed)
	heir := c.roster.Load().hosts[0]
	if heir == before[1] || heir.outlier != before[1].outlier || !heir.outlier.Ejected() {
		t.Error("the health of a host went with its name")
	}
	if h := c.pick(nil, lb.Request{}); h == nil || h.Addr != a {
		t.Errorf("chosen: %v", h)
	}
	hop.conn.Closed(true)

	s.Update("c", assigned(a))
	s.Update("c", assigned(a))
	if got := counts.of("c"); got["outlier_detection.ejections_active"] != 0 || members(counts)["membership_total"] != 1 ||
		got["update_no_rebuild"] != 1 || got["upstream_cx_active"] != 0 {
		t.Error(got)
	}
}

// Requests and connections choose hosts while these change.
func TestUpdateUnderLoad(t *testing.T) {
	s, counts := run(t, Options{Network: always}, cluster("c", internal("0", "")))
	c := s.get(t, "c").(*Cluster)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			h := newHop(t)
			if err := c.Connect(h.request()); err != nil {
				t.Error(err)
				return
			}
			h.conn.Closed(true)
		}
	}()
	for i := range 200 {
		c.Update(assigned(internal("0", ""), internal(string(rune('a'+i%20)), "")))
		c.healed()
	}
	close(stop)
	<-done
	if got := counts.of("c"); got["upstream_cx_active"] != 0 || members(counts)["membership_total"] != 2 {
		t.Error(got)
	}
}

// A host that is gone stays while it passes its health checks, unless the cluster says
// otherwise; one that is new is used when it has passed one.
func TestUpdateOfCheckedHosts(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := &ward{down: map[string]bool{}}
			p := cluster("c", internal("a", ""), internal("b", ""))
			p.LB.PanicPercent, p.IgnoreHealthOnRemoval = 0, ignore
			p.Check = &plan.HealthCheck{
				HTTP:    &plan.HTTPCheck{Protocol: httpmsg.HTTP11, Method: "GET", Path: "/", Expected: []plan.StatusRange{{Start: 200, End: 201}}},
				Timeout: time.Second, Healthy: 1, Unhealthy: 1,
				Interval: time.Second, HealthyEdge: time.Second, UnhealthyEdge: time.Second, UnhealthyAfter: time.Second, NoTraffic: time.Second, NoTrafficHealthy: time.Second,
			}
			s, counts := run(t, Options{Network: w}, p)
			c := s.get(t, "c").(*Cluster)
			s.Start(t.Context())
			w.mu.Lock() // no check is answered
			c.Update(assigned(internal("b", ""), internal("n", "")))
			want := "b n a"
			if ignore {
				want = "b n"
			}
			if got := strings.Join(hostNames(c), " "); got != want {
				t.Errorf("after an update: %s, want %s", got, want)
			}
			if h := c.roster.Load().hosts[1]; !h.check.Failed() {
				t.Error("used before it was checked")
			}
			w.mu.Unlock()
			synctest.Wait()
			if got := members(counts)["membership_healthy"]; got != int64(len(hostNames(c))) {
				t.Errorf("%d are healthy", got)
			}
			w.mu.Lock()
			w.down["a"] = true
			w.mu.Unlock()
			time.Sleep(1500 * time.Millisecond)
			if got := strings.Join(hostNames(c), " "); got != "b n" {
				t.Errorf("after it failed: %s", got)
			}
			s.Close()
			w.serve.Wait()
			if got := counts.of("c")["health_check.healthy"]; got != 0 {
				t.Errorf("health_check.healthy %d", got)
			}
		})
	}
}
