package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A source delivers to the one who has asked it.
type source struct {
	*filter.ResourceRequest
	ready chan struct{}
}

func (s *source) Subscribe(r *filter.ResourceRequest) filter.Subscription {
	s.ResourceRequest, s.ready = r, make(chan struct{})
	close(s.ready)
	return s
}

func (s *source) Ready() <-chan struct{} { return s.ready }
func (*source) Close()                   {}

// Hosts that a source has not confirmed in time go, whether or not what confirmed them
// before were others.
func TestHostsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &source{}
		p := cluster("c")
		p.Assignment, p.EDS = plan.Assignment{}, &plan.EDS{Service: "c"}
		s, counts := run(t, Options{Resources: from}, p)
		s.Start(t.Context())
		has := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			x, _ := s.Cluster("c")
			if n := len(x.(*Cluster).all()); n != want {
				t.Errorf("%s: %d hosts, want %d", when, n, want)
			}
		}
		one := func() *plan.Assignment {
			a := cluster("c", ip("192.0.2.1:1")).Assignment
			a.StaleAfter = time.Minute
			return &a
		}
		first := one()
		from.Deliver(first)
		time.Sleep(40 * time.Second)
		from.Deliver(first)
		time.Sleep(40 * time.Second)
		has("the same once more", 1)
		from.Deliver(one())
		time.Sleep(40 * time.Second)
		has("others", 1)
		time.Sleep(40 * time.Second)
		has("nothing more", 0)
		from.Deliver(first)
		has("the first ones again", 1)
		s.Close()
		time.Sleep(2 * time.Minute)
		has("nothing ages after the end", 1)
		if got := counts.of("c"); got["assignment_stale"] != 1 || got["assignment_timeout_received"] != 4 || got["update_no_rebuild"] != 2 {
			t.Error(got)
		}
	})
}
