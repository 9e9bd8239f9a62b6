package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

func aggregateOf(name string, members ...string) *plan.Cluster {
	c := cluster(name)
	c.LB.Policy, c.Aggregate, c.Assignment = plan.Provided, members, plan.Assignment{}
	return c
}

// choice connects through a cluster and returns the cluster and the name of the host; "": none.
func choice(t *testing.T, s *Set, name string) string {
	t.Helper()
	h := newHop(t)
	r := h.request()
	switch err := s.get(t, name).Connect(r); err {
	case nil:
		h.conn.Closed(true)
	case filter.ErrNoHost:
		return ""
	default:
		t.Fatal(err)
	}
	return r.Info.Up.Host.Cluster + " " + r.Info.Up.Host.Addr.String()
}

// Members of an aggregate cluster come, change and go, and the next choice knows.
func TestAggregateMembers(t *testing.T) {
	agg := hashed(aggregateOf("agg", "one", "inner"), 1)
	inner := hashed(aggregateOf("inner", "two", "agg"), 1) // in a circle, which compile refuses
	two := hashed(cluster("two", internal("t", "")), 1)
	s, stats := run(t, Options{Network: always}, agg, inner)
	apply := func(plans ...*plan.Cluster) {
		t.Helper()
		if err := s.Apply(append(plans, agg, inner)); err != nil {
			t.Fatal(err)
		}
	}
	is := func(want string) {
		t.Helper()
		if got := choice(t, s, "agg"); got != want {
			t.Errorf("chosen: %q, want %q", got, want)
		}
	}
	is("")
	apply(two)
	is("two envoy://t/")
	apply(hashed(cluster("one", internal("o", "")), 1), two)
	is("one envoy://o/")
	ill := plan.Assignment{Localities: []plan.Locality{{Endpoints: []plan.Endpoint{
		{Addr: internal("o", ""), Weight: 1, Health: corev3.HealthStatus_UNHEALTHY},
	}}}}
	s.Update("one", ill)
	is("two envoy://t/")
	s.Update("one", plan.Assignment{Localities: []plan.Locality{{Endpoints: []plan.Endpoint{{Addr: internal("p", ""), Weight: 1}}}}})
	is("one envoy://p/")
	apply(two)
	is("two envoy://t/")
	apply()
	is("")
	if got := stats.of("two"); got["upstream_cx_total"] != 3 {
		t.Errorf("connections of the chosen cluster: %v", got)
	}
	if got := stats.of("agg"); got["upstream_cx_total"] != 0 || got["upstream_cx_none_healthy"] != 2 {
		t.Errorf("statistics of the aggregate: %v", got)
	}
}

// An aggregate uses hashes while a member does.
func TestAggregateHashes(t *testing.T) {
	ring := hashed(cluster("ring", internal("r", "")), 1)
	ring.LB.Policy, ring.LB.MinRing, ring.LB.MaxRing = plan.RingHash, 16, 16
	agg := hashed(aggregateOf("agg", "ring"), 1)
	s, _ := run(t, Options{Network: always}, agg)
	hashes := func() bool { return s.get(t, "agg").(filter.HTTPCluster).Info().Hashing }
	if hashes() {
		t.Error("without a member")
	}
	if err := s.Apply([]*plan.Cluster{agg, ring}); err != nil {
		t.Fatal(err)
	}
	if !hashes() {
		t.Error("the member's hashes are not used")
	}
}

// A host that joins gets a part of its share at first; one that stays, or whose metadata
// changes, does not begin anew.
func TestSlowStartOfHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := cluster("c", internal("old", ""))
		p.LB.SlowStart = &plan.SlowStart{Window: 100 * time.Second, Aggression: 1, MinWeight: .1}
		s, _ := run(t, Options{Network: always}, p)
		time.Sleep(time.Hour)
		hosts := func(zone string) plan.Assignment {
			return plan.Assignment{Localities: []plan.Locality{{Locality: &corev3.Locality{Zone: zone}, Endpoints: []plan.Endpoint{
				{Addr: internal("old", ""), Weight: 1}, {Addr: internal("new", ""), Weight: 1},
			}}}}
		}
		share := func() float64 {
			n := map[string]float64{}
			for range 1100 {
				n[choice(t, s, "c")]++
			}
			return n["c envoy://new/"] / n["c envoy://old/"]
		}
		for _, step := range []struct {
			zone string
			wait time.Duration
			want float64
		}{{"a", 0, .1}, {"a", 50 * time.Second, .5}, {"b", 0, .5}, {"b", time.Minute, 1}} {
			s.Update("c", hosts(step.zone))
			time.Sleep(step.wait)
			share() // turns that were given out before
			if got := share(); got < step.want-.02 || got > step.want+.02 {
				t.Errorf("%+v: %.3f of the other host's share", step, got)
			}
		}
	})
}
