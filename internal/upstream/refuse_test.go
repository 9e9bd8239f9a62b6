package upstream

import (
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

const dropLimit = "load_balancing_policy.drop_overload_limit"

func TestDrops(t *testing.T) {
	for _, x := range []struct {
		drops   uint32
		runtime runtime
		want    filter.Refusal
	}{
		{0, nil, filter.NotRefused},
		{0, runtime{dropLimit: 100}, filter.NotRefused},
		{plan.Million, nil, filter.AllDropped},
		{plan.Million, runtime{}, filter.AllDropped},
		{plan.Million, runtime{dropLimit: 1000}, filter.AllDropped},
		{plan.Million, runtime{dropLimit: 0}, filter.NotRefused},
	} {
		p := cluster("c", internal("in", ""))
		p.Assignment.DropsOfMillion = x.drops
		o := Options{Network: always}
		if x.runtime != nil {
			o.Runtime = x.runtime
		}
		s, _ := run(t, o, p)
		if got := s.get(t, "c").(filter.HTTPCluster).Refuses(); got != x.want {
			t.Errorf("%d, %v: got %v, want %v", x.drops, x.runtime, got, x.want)
		}
	}
}

// A part of the requests is refused: of so many it is as good as certain that some are and
// some are not.
func TestDropsSome(t *testing.T) {
	p := cluster("c", internal("in", ""))
	p.Assignment.DropsOfMillion = plan.Million
	s, _ := run(t, Options{Network: always, Runtime: runtime{dropLimit: 50}}, p)
	c := s.get(t, "c").(filter.HTTPCluster)
	got := map[filter.Refusal]int{}
	for range 1000 {
		got[c.Refuses()]++
	}
	if len(got) != 2 || got[filter.Dropped] < 300 || got[filter.NotRefused] < 300 {
		t.Error(got)
	}
}

// The hosts that come next bring their own.
func TestDropsAreThoseOfTheHosts(t *testing.T) {
	p := cluster("c", internal("in", ""))
	s, _ := run(t, Options{Network: always}, p)
	a := p.Assignment
	for _, x := range []struct {
		drops uint32
		want  filter.Refusal
	}{{plan.Million, filter.AllDropped}, {0, filter.NotRefused}} {
		a.DropsOfMillion = x.drops
		s.Update("c", a)
		if got := s.get(t, "c").(filter.HTTPCluster).Refuses(); got != x.want {
			t.Errorf("%d: got %v", x.drops, got)
		}
	}
}
