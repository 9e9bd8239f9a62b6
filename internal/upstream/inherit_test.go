package upstream

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

// asking returns the plan of a cluster of internal hosts that are asked each second. Three
// results change the health of a host that is known.
func asking(hash uint64, hosts ...string) *plan.Cluster {
	p := hashed(cluster("c"), hash)
	for _, h := range hosts {
		l := &p.Assignment.Localities[0]
		l.Endpoints = append(l.Endpoints, plan.Endpoint{Addr: internal(h, ""), Weight: 1})
	}
	p.LB.PanicPercent = 0
	p.Proto = &clusterv3.Cluster{HealthChecks: []*corev3.HealthCheck{{Interval: durationpb.New(time.Second)}}}
	p.Check = &plan.HealthCheck{
		HTTP:    &plan.HTTPCheck{Protocol: httpmsg.HTTP11, Method: "GET", Path: "/", Expected: []plan.StatusRange{{Start: 200, End: 201}}, Retriable: []plan.StatusRange{{Start: 500, End: 600}}},
		Timeout: time.Second, Healthy: 3, Unhealthy: 3,
		Interval: time.Second, HealthyEdge: time.Second, UnhealthyEdge: time.Second, UnhealthyAfter: time.Second, NoTraffic: time.Second, NoTrafficHealthy: time.Second,
	}
	return p
}

func (w *ward) fail(hosts ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = make(map[string]bool)
	for _, h := range hosts {
		w.down[h] = true
	}
}

// chosen are the names of the hosts that a cluster chooses.
func chosen(c *Cluster) string {
	seen := make(map[string]bool)
	for range 12 {
		if h := c.pick(nil, lb.Request{}); h != nil {
			seen[h.Addr.(filter.InternalAddr).Listener] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), " ")
}

func (c counts) value(name string) int64 {
	c.all.Lock()
	defer c.all.Unlock()
	return c.all.values[name]
}

// A host that another version of its cluster has as well is as well there as it was, and a
// single result does not change that; a new one is to pass its first check.
func TestHealthOverAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &ward{}
		w.fail("b")
		s, c := run(t, Options{Network: w}, asking(1, "a", "b"))
		s.Start(t.Context())
		if got := chosen(s.get(t, "c").(*Cluster)); got != "a" {
			t.Fatalf("chosen: %q", got)
		}
		for i, drops := range []bool{true, false} {
			w.fail("a") // b passes, but not often enough
			change, err := s.Prepare([]*plan.Cluster{asking(uint64(2+i), "a", "b", "new")})
			if err != nil {
				t.Fatal(err)
			}
			next := change.next["c"]
			if got := chosen(next); got != "a" {
				t.Errorf("before it is warm: %q", got)
			}
			if drops {
				w.fail("b")
				change.Drop()
				if n := c.value("cluster.c.health_check.healthy"); n != 1 {
					t.Errorf("%d healthy after a change that was not", n)
				}
				continue
			}
			if err := change.Warm(t.Context(), func(string) bool { return true }); err != nil {
				t.Fatal(err)
			}
			change.Apply()
			change.Finish()
			if got := chosen(s.get(t, "c").(*Cluster)); got != "a new" {
				t.Errorf("after the change: %q", got)
			}
		}
		time.Sleep(2500 * time.Millisecond)
		if got, n := chosen(s.get(t, "c").(*Cluster)), c.value("cluster.c.health_check.healthy"); got != "b new" || n != 2 {
			t.Errorf("after three results: %q, %d healthy", got, n)
		}
		other := asking(9, "a", "b")
		other.Proto = &clusterv3.Cluster{HealthChecks: []*corev3.HealthCheck{{Interval: durationpb.New(time.Minute)}}}
		change, err := s.Prepare([]*plan.Cluster{other})
		if err != nil {
			t.Fatal(err)
		}
		if got := chosen(change.next["c"]); got != "" {
			t.Errorf("asked in another way: %q", got)
		}
		change.Drop()
		s.Close()
		w.serve.Wait()
		if n := c.value("cluster.c.health_check.healthy"); n != 0 {
			t.Errorf("%d healthy at the end", n)
		}
	})
}

// While hosts are checked for the first time the version before serves, and no other is
// seen; if that is given up, it stays.
func TestChecksBeforeTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, gate := &ward{}, make(chan struct{})
		s, _ := run(t, Options{Network: fakeNetwork(func(d *inproc.Dial) (filter.Stream, error) {
			if d.Addr.Listener == "slow" {
				<-gate
			}
			return w.Connect(d)
		})}, asking(1, "a"))
		s.Start(t.Context())
		old := s.get(t, "c")
		change, err := s.Prepare([]*plan.Cluster{asking(2, "slow")})
		if err != nil {
			t.Fatal(err)
		}
		warm := make(chan error)
		go func() { warm <- change.Warm(t.Context(), func(string) bool { return true }) }()
		time.Sleep(100 * time.Millisecond)
		if s.get(t, "c") != old || chosen(old.(*Cluster)) != "a" {
			t.Error("the new version is in place before its hosts are known")
		}
		if w := s.Warming(); len(w) != 1 || w[0].Plan.Hash != 2 {
			t.Errorf("it does not show that it waits: %+v", w)
		}
		close(gate)
		if err := <-warm; err != nil {
			t.Fatal(err)
		}
		if w := s.Warming(); len(w) != 0 {
			t.Errorf("it waits for ever: %+v", w)
		}
		change.Apply()
		change.Finish()
		if got := chosen(s.get(t, "c").(*Cluster)); got != "slow" {
			t.Errorf("chosen: %q", got)
		}
		s.Close()
		w.serve.Wait()
	})
}

// A host that was ejected stays so in another version of its cluster, for as long as it
// would have been.
func TestEjectionOverAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := run(t, Options{}, hashed(ejecting(), 1))
		bad := s.get(t, "c").(*Cluster).roster.Load().hosts[0]
		for range 5 {
			bad.outlier.Answered(500)
		}
		near := s.get(t, "c").(*Cluster).roster.Load().hosts[1]
		for range 4 {
			near.outlier.Answered(500)
		}
		time.Sleep(15 * time.Second)
		if err := s.Apply([]*plan.Cluster{hashed(ejecting(), 2)}); err != nil {
			t.Fatal(err)
		}
		x := s.get(t, "c").(*Cluster)
		if got, n := chosen(x), c.value("cluster.c.outlier_detection.ejections_active"); got != "b" || n != 1 {
			t.Errorf("chosen: %q, %d ejected", got, n)
		}
		x.roster.Load().hosts[1].outlier.Answered(500)
		if got := chosen(x); got != "" {
			t.Errorf("after the fifth failure: %q", got)
		}
		time.Sleep(21 * time.Second)
		if got := chosen(x); got != "a" {
			t.Errorf("when its time is over: %q", got)
		}
		s.Close()
		if n := c.value("cluster.c.outlier_detection.ejections_active"); n != 0 {
			t.Errorf("%d ejected at the end", n)
		}
	})
}
