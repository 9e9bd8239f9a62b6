package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/internal/dns/testdns"
	"github.com/ginnel/ginnel/internal/plan"
)

// What a source delivers waits by itself until it is ready, what the configuration has holds
// up the change.
func TestWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{Slow: time.Second, Addrs: map[string][]string{"a": {"10.0.0.1"}, "b": {"10.0.0.2"}}}
		version := func(name, host string, hash uint64, delivered bool) *plan.Cluster {
			p := hashed(named(plan.DNS{}, host), hash)
			p.Name, p.Dynamic = name, delivered
			return p
		}
		s, counts := run(t, Options{Lookup: d.Lookup}, version("d", "a", 1, true))
		s.Start(t.Context())
		old := s.get(t, "d").(*Cluster)
		begun := time.Now()
		warm := func(clusters ...*plan.Cluster) {
			change, err := s.Prepare(clusters)
			if err != nil {
				t.Fatal(err)
			}
			if err := change.Warm(t.Context(), func(string) bool { return true }); err != nil {
				t.Fatal(err)
			}
			change.Apply()
			change.Finish()
		}
		next, static := version("d", "b", 2, true), version("s", "b", 1, false)
		warm(next)
		if time.Since(begun) != 0 || s.get(t, "d") != old {
			t.Error("a delivered cluster is not waited for, and takes no place before it is ready")
		}
		fresh := version("f", "b", 1, true)
		warm(next, fresh)
		warm(next, version("f", "a", 2, true)) // in the place of one that has none
		warm(next)
		got := counts.manager()
		if got["cluster_manager.cluster_added"] != 2 || got["cluster_manager.cluster_modified"] != 2 || got["cluster_manager.cluster_removed"] != 1 {
			t.Errorf("counted %v", got)
		}
		if w := s.Warming(); len(w) != 1 || w[0].Plan != next {
			t.Errorf("it does not show that it waits: %+v", w)
		}
		warm(next, static)
		if got := hostsOf(s.get(t, "s").(*Cluster)); time.Since(begun) != time.Second || got != "b=10.0.0.2:80 [] " {
			t.Errorf("%q after %v", got, time.Since(begun))
		}
		synctest.Wait()
		if got := hostsOf(s.get(t, "d").(*Cluster)); got != "b=10.0.0.2:80 [] " || len(s.Warming()) != 0 {
			t.Errorf("%q, %d wait", got, len(s.Warming()))
		}
		s.Close()
	})
}

// What is configured is known, whether it is in place or not, and what a change brings as long
// as it may come.
func TestKnown(t *testing.T) {
	s, _ := run(t, Options{}, hashed(cluster("a"), 1))
	knows := func(when, want string) {
		t.Helper()
		got := ""
		for _, name := range []string{"a", "b"} {
			if s.Known(name) {
				got += name
			}
		}
		if got != want {
			t.Errorf("%s: %q is known, want %q", when, got, want)
		}
	}
	prepare := func(clusters ...*plan.Cluster) *Change {
		t.Helper()
		change, err := s.Prepare(clusters)
		if err != nil {
			t.Fatal(err)
		}
		return change
	}
	knows("at first", "a")
	change := prepare(hashed(cluster("b"), 2))
	knows("while it is prepared", "ab")
	change.Drop()
	knows("after it was dropped", "a")
	change = prepare(hashed(cluster("b"), 2))
	change.Apply()
	knows("before the one that goes has gone", "ab")
	change.Finish()
	knows("at the end", "b")
}

// One that waits ends with the set, and one that is taken back with that.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{Slow: time.Hour}
		s, c := run(t, Options{Lookup: d.Lookup})
		s.Start(t.Context())
		p := hashed(named(plan.DNS{}, "a"), 1)
		p.Dynamic = true
		for _, x := range []struct {
			clusters []*plan.Cluster
			warming  int64
		}{{[]*plan.Cluster{p}, 1}, {nil, 0}, {[]*plan.Cluster{p}, 1}} {
			change, err := s.Prepare(x.clusters)
			if err != nil {
				t.Fatal(err)
			}
			if err := change.Warm(t.Context(), func(string) bool { return true }); err != nil {
				t.Fatal(err)
			}
			change.Apply()
			change.Finish()
			if n := c.value("cluster_manager.warming_clusters"); n != x.warming {
				t.Errorf("%d wait, want %d", n, x.warming)
			}
		}
		s.Close()
	})
}
