package upstream

import (
	"maps"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/transport"
)

var always = fakeNetwork(func(*inproc.Dial) (filter.Stream, error) {
	return &stream{local: filter.InternalClient}, nil
})

func hashed(p *plan.Cluster, hash uint64) *plan.Cluster {
	p.Hash = hash
	return p
}

// manager is what is counted of all clusters together.
func (c counts) manager() map[string]int64 {
	c.all.Lock()
	defer c.all.Unlock()
	out := maps.Clone(c.all.values)
	maps.DeleteFunc(out, func(name string, v int64) bool { return v == 0 || name[:min(len(name), 16)] != "cluster_manager." })
	return out
}

func TestApply(t *testing.T) {
	a, b, c := hashed(cluster("a", internal("1", "")), 1), hashed(cluster("b", internal("1", "")), 1), hashed(cluster("c"), 1)
	s, stats := run(t, Options{Network: always}, a, b)
	manager := stats.manager
	if want := map[string]int64{"cluster_manager.cluster_added": 2, "cluster_manager.active_clusters": 2}; !maps.Equal(manager(), want) {
		t.Error(manager())
	}
	oldA, oldB := s.get(t, "a"), s.get(t, "b")
	h := newHop(t)
	if err := oldB.Connect(h.request()); err != nil {
		t.Fatal(err)
	}

	changed := hashed(cluster("b", internal("2", ""), internal("3", "")), 2)
	if err := s.Apply([]*plan.Cluster{c, hashed(cluster("a"), 1), changed}); err != nil {
		t.Fatal(err)
	}
	if s.get(t, "a") != oldA {
		t.Error("an unchanged cluster was made anew")
	}
	if s.get(t, "b") == oldB {
		t.Error("a changed cluster stayed")
	}
	if got := stats.of("b"); got["upstream_cx_total"] != 1 || got["upstream_cx_active"] != 1 {
		t.Errorf("statistics did not go on: %v", got)
	}
	if n := stats.all.values["cluster.b.membership_total"]; n != 2 {
		t.Errorf("membership_total %d", n)
	}
	var order []string
	for _, st := range s.Status() {
		order = append(order, st.Plan.Name)
	}
	if !slices.Equal(order, []string{"c", "a", "b"}) {
		t.Errorf("order %v", order)
	}

	// A connection outlives the change, and the removal after it.
	if err := s.Apply(nil); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Cluster("b"); ok {
		t.Error("a removed cluster is still found")
	}
	if _, ok := stats.all.kinds["cluster.b.upstream_cx_total"]; ok {
		t.Error("statistics of a removed cluster are still listed")
	}
	h.conn.Closed(true)
	want := map[string]int64{
		"cluster_manager.cluster_added": 3, "cluster_manager.cluster_modified": 1, "cluster_manager.cluster_removed": 3,
	}
	if !maps.Equal(manager(), want) {
		t.Error(manager())
	}
}

func TestDuplicateClusterChangesNothing(t *testing.T) {
	s, _ := run(t, Options{}, cluster("a"))
	before := s.get(t, "a")
	err := s.Apply([]*plan.Cluster{hashed(cluster("a"), 5), cluster("b"), cluster("b")})
	if err == nil || err.Error() != "cluster manager: duplicate cluster 'b'" {
		t.Error(err)
	}
	if s.get(t, "a") != before {
		t.Error("a refused change took effect")
	}
}

// The limits of a cluster count the connections of all its versions.
func TestLimitOverAChange(t *testing.T) {
	limited := func(n uint32, hash uint64) *plan.Cluster {
		p := hashed(cluster("c", internal("in", "")), hash)
		p.Breakers[0].MaxConnections = n
		return p
	}
	s, c := run(t, Options{Network: always}, limited(1, 1))
	old := newHop(t)
	if err := s.get(t, "c").Connect(old.request()); err != nil {
		t.Fatal(err)
	}
	open := func() int64 { return c.of("c")["circuit_breakers.default.cx_open"] }
	if open() != 1 {
		t.Error("not open at the limit")
	}
	s.Apply([]*plan.Cluster{limited(2, 2)})
	if open() != 0 {
		t.Error("open below the new limit")
	}
	second := newHop(t)
	if err := s.get(t, "c").Connect(second.request()); err != nil {
		t.Fatal(err)
	}
	if err := s.get(t, "c").Connect(newHop(t).request()); err != filter.ErrOverflow || open() != 1 {
		t.Errorf("%v, open %d", err, open())
	}
	old.conn.Closed(true)
	second.conn.Closed(true)
	if open() != 0 || c.of("c")["upstream_cx_active"] != 0 {
		t.Error(c.of("c"))
	}
}

func TestAltStatName(t *testing.T) {
	p := hashed(cluster("c", internal("in", "")), 1)
	p.StatName = "alt.c"
	s, c := run(t, Options{Network: always}, p)
	h := newHop(t)
	if err := s.get(t, "c").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	h.conn.Closed(true)
	if c.of("alt.c")["upstream_cx_total"] != 1 || len(c.of("c")) != 0 {
		t.Errorf("%v %v", c.of("alt.c"), c.of("c"))
	}
	if got := h.seen.ClusterInfo.StatName; got != "alt.c" {
		t.Error(got)
	}
	if err := s.Apply([]*plan.Cluster{hashed(cluster("c", internal("in", "")), 2)}); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.all.kinds["cluster.alt.c.upstream_cx_total"]; ok {
		t.Error("the old name is still listed")
	}
}

func TestMembershipGauges(t *testing.T) {
	p := hashed(cluster("c", internal("1", ""), internal("2", ""), internal("3", ""), internal("4", "")), 1)
	e := p.Assignment.Localities[0].Endpoints
	e[1].Health, e[2].Health, e[3].Health = corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_DEGRADED, corev3.HealthStatus_DRAINING
	s, c := run(t, Options{}, p)
	gauges := func() (out [5]int64) {
		for i, name := range []string{"total", "healthy", "degraded", "excluded", "change"} {
			out[i] = c.all.values["cluster.c.membership_"+name]
		}
		return out
	}
	if got := gauges(); got != [5]int64{4, 1, 1, 1, 1} { // as on Envoy 1.40
		t.Error(got)
	}
	s.Apply([]*plan.Cluster{hashed(cluster("c", internal("1", "")), 2)})
	if got := gauges(); got != [5]int64{1, 1, 0, 0, 2} {
		t.Error(got)
	}
}

func TestHashTableGauges(t *testing.T) {
	ring := cluster("ring", internal("1", ""), internal("2", ""), internal("3", ""))
	ring.LB.Policy = plan.RingHash
	maglev := cluster("maglev", internal("1", ""), internal("2", ""))
	maglev.LB.Policy, maglev.LB.MaglevSize = plan.Maglev, 11
	_, c := run(t, Options{}, ring, maglev)
	wantCounts(t, "ring", c.of("ring"), map[string]int64{
		"ring_hash_lb.size": 1026, "ring_hash_lb.min_hashes_per_host": 342, "ring_hash_lb.max_hashes_per_host": 342,
	})
	wantCounts(t, "maglev", c.of("maglev"), map[string]int64{
		"maglev_lb.min_entries_per_host": 5, "maglev_lb.max_entries_per_host": 6,
	})
}

// A hash sticks to its host; the key of a host is its address, or what its metadata
// says.
func TestHashing(t *testing.T) {
	hosts := func(order ...string) *plan.Cluster {
		p := cluster("c")
		p.LB.Policy = plan.RingHash
		for _, name := range order {
			p.Assignment.Localities[0].Endpoints = append(p.Assignment.Localities[0].Endpoints, plan.Endpoint{
				Addr: internal("in", name), Hostname: name, Weight: 1,
				Metadata: &corev3.Metadata{FilterMetadata: meta(t, "", "other").FilterMetadata},
			})
		}
		return p
	}
	keyed := hosts("b", "a")
	for i, key := range []string{"one", "two"} {
		keyed.Assignment.Localities[0].Endpoints[i].Metadata.FilterMetadata["envoy.lb"] = value(t, map[string]any{"hash_key": key})
	}
	byName := hosts("one", "two")
	byName.LB.HashHostname = true
	byName.Name, keyed.Name = "named", "keyed"
	s, _ := run(t, Options{Network: always}, hosts("a", "b"), byName, keyed)
	pick := func(name string, hash uint64) string {
		h := newHop(t)
		r := h.request()
		r.Hash = &hash
		if err := s.get(t, name).Connect(r); err != nil {
			t.Fatal(err)
		}
		h.conn.Closed(true)
		return h.seen.Host.Hostname
	}
	moved := 0
	for i := range uint64(100) {
		hash := i * 0x9e3779b97f4a7c15
		if first := pick("c", hash); pick("c", hash) != first {
			t.Fatal("a hash went to two hosts")
		}
		// "b" has the key "one", "a" has "two".
		if n, k := pick("named", hash), pick("keyed", hash); (n == "one") != (k == "b") {
			t.Fatal("equal keys, different places")
		}
		if (pick("c", hash) == "b") != (pick("named", hash) == "one") {
			moved++
		}
	}
	if moved == 0 {
		t.Error("the key of a host makes no difference")
	}
}

func TestLimitsOfTheRuntime(t *testing.T) {
	r := runtime{"circuit_breakers.c.default.max_connections": 0}
	s, _ := run(t, Options{Network: always, Runtime: r}, cluster("c", internal("in", "")), cluster("d", internal("in", "")))
	if err := s.get(t, "c").Connect(newHop(t).request()); err != filter.ErrOverflow {
		t.Error(err)
	}
	h := newHop(t)
	if err := s.get(t, "d").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	h.conn.Closed(true)
}

type runtime map[string]uint64

func (r runtime) Enabled(string, uint32) bool { return false }
func (r runtime) Uint(key string, def uint64) uint64 {
	if v, ok := r[key]; ok {
		return v
	}
	return def
}

func TestPanicThresholdOfTheRuntime(t *testing.T) {
	p := cluster("c", internal("in", ""))
	p.Assignment.Localities[0].Endpoints[0].Health = corev3.HealthStatus_UNHEALTHY
	for threshold, want := range map[uint64]error{0: filter.ErrNoHost, 100: nil} {
		s, _ := run(t, Options{Network: always, Runtime: runtime{"upstream.healthy_panic_threshold": threshold}}, p)
		h := newHop(t)
		if err := s.get(t, "c").Connect(h.request()); err != want {
			t.Errorf("%d: %v", threshold, err)
		}
		if h.conn != nil {
			h.conn.Closed(true)
		}
	}
}

func TestStatus(t *testing.T) {
	p := cluster("c", internal("in", ""))
	e := &p.Assignment.Localities[0].Endpoints[0]
	e.Weight, e.Hostname, e.Health = 3, "hn", corev3.HealthStatus_HEALTHY
	p.Assignment.Localities[0].Priority = 1
	p.Assignment.Localities = append(p.Assignment.Localities, plan.Locality{Endpoints: []plan.Endpoint{
		{Addr: internal("0", ""), Health: corev3.HealthStatus_UNHEALTHY},
	}})
	s, _ := run(t, Options{Network: always}, p)
	h := newHop(t)
	if err := s.get(t, "c").Connect(h.request()); err != nil {
		t.Fatal(err)
	}
	all := s.Status()[0]
	if all.Updated.IsZero() || len(all.Hosts) != 2 || all.Hosts[0].Health != corev3.HealthStatus_UNHEALTHY || all.Hosts[0].Weight != 1 {
		t.Errorf("%+v", all)
	}
	st := all.Hosts[1]
	if st.Weight != 3 || st.Host.Hostname != "hn" || st.RequestsPending != 0 || st.RequestsActive != 1 || st.RequestsTotal != 1 || st.Host.Active.Load() != 1 {
		t.Errorf("%+v", &st)
	}
	h.conn.Closed(true)
}

// Apply runs while connections are made and closed.
func TestApplyUnderLoad(t *testing.T) {
	version := func(hash uint64) *plan.Cluster {
		p := hashed(cluster("c", internal("in", "")), hash)
		p.Transport = passing(transport.Raw{}, sources("host:missing")...)
		return p
	}
	s, c := run(t, Options{Network: always}, version(0))
	stop, done := make(chan struct{}), make(chan int)
	for range 3 {
		go func() {
			n := 0
			for {
				select {
				case <-stop:
					done <- n
					return
				default:
				}
				h := newHop(t)
				if x, ok := s.Cluster("c"); !ok {
					t.Error("the cluster is gone for a moment")
				} else if err := x.Connect(h.request()); err != nil {
					t.Error(err)
				} else {
					h.conn.Closed(true)
				}
				n++
			}
		}()
	}
	for i := range uint64(100) {
		if err := s.Apply([]*plan.Cluster{version(i + 1)}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	sum := 0
	for range 3 {
		sum += <-done
	}
	if got := c.of("c"); got["upstream_cx_total"] != int64(sum) || got["upstream_cx_destroy"] != int64(sum) || got["upstream_cx_active"] != 0 {
		t.Errorf("%d connections: %v", sum, got)
	}
}

func TestNoTimeoutMeansNone(t *testing.T) {
	asker := &hop{}
	a := &dialling{host: &host{cluster: &Cluster{plan: &plan.Cluster{}}}, asker: asker}
	a.limit()
	if !a.deadline.IsZero() {
		t.Error(a.deadline)
	}
	asker.deadline = time.Now().Add(time.Hour)
	a.limit()
	if a.deadline != asker.deadline || !a.expires {
		t.Error("the asker's limit was lost")
	}
}
