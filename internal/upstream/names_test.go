package upstream

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/internal/dns/testdns"
	"github.com/ginnel/ginnel/internal/plan"
)

func named(p plan.DNS, names ...string) *plan.Cluster {
	c := cluster("c")
	for _, n := range names {
		c.Assignment.Localities[0].Endpoints = append(c.Assignment.Localities[0].Endpoints, plan.Endpoint{Name: n, Port: 80, Weight: 1, Hostname: n})
	}
	if p.Refresh == 0 {
		p.Refresh = 5 * time.Second
	}
	c.DNS = &p
	return c
}

func hostsOf(c *Cluster) (out string) {
	for _, h := range c.roster.Load().hosts {
		out += fmt.Sprint(h.Hostname, "=", h.Addr, h.Additional, " ")
	}
	return out
}

// Start waits for the first answers; hosts stay while nobody answers; of one address under
// two names there is one host.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{Slow: time.Second, Addrs: map[string][]string{"a": {"10.0.0.1", "10.0.0.2"}, "b": {"10.0.0.2", "::3"}}}
		s, counts := run(t, Options{Lookup: d.Lookup}, named(plan.DNS{}, "a", "b"))
		c := s.get(t, "c").(*Cluster)
		begun := time.Now()
		s.Start(t.Context())
		if time.Since(begun) != time.Second {
			t.Error("ready before there was an answer")
		}
		d.Set(func() { d.Slow = 0 })
		if got := hostsOf(c); got != "a=10.0.0.1:80 [] a=10.0.0.2:80 [] b=[::3]:80 [] " {
			t.Error(got)
		}
		first := c.roster.Load().hosts[1]
		d.Set(func() { d.Addrs["a"] = nil })
		time.Sleep(5500 * time.Millisecond)
		if got := hostsOf(c); got != "b=10.0.0.2:80 [] b=[::3]:80 [] " || c.roster.Load().hosts[0] == first {
			t.Error(got)
		}
		d.Set(func() { d.Down = true })
		time.Sleep(5 * time.Second)
		if len(c.roster.Load().hosts) != 2 {
			t.Error("hosts went for want of an answer")
		}
		if got := counts.of("c"); got["update_attempt"] != 6 || got["update_success"] != 4 || got["update_failure"] != 2 {
			t.Error(got)
		}
		s.Close()
	})
}

func TestLogicalName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &testdns.Directory{Addrs: map[string][]string{"a": {"10.0.0.1", "::2"}}}
		s, _ := run(t, Options{Lookup: d.Lookup}, named(plan.DNS{Logical: true}, "a"))
		c := s.get(t, "c").(*Cluster)
		s.Start(t.Context())
		if got := hostsOf(c); got != "a=10.0.0.1:80 [[::2]:80] " {
			t.Error(got)
		}
		d.Set(func() { d.Addrs["a"] = nil })
		time.Sleep(6 * time.Second)
		if got := hostsOf(c); got != "a=10.0.0.1:80 [[::2]:80] " {
			t.Error("no address is no answer: ", got)
		}
		s.Close()
	})
}

func TestRefresh(t *testing.T) {
	for name, x := range map[string]struct {
		plan     plan.DNS
		ttl      time.Duration
		down     bool
		min, max int // times in a minute
	}{
		"the rate":            {plan.DNS{Refresh: 10 * time.Second}, 3 * time.Second, false, 6, 6},
		"the TTL":             {plan.DNS{Refresh: 10 * time.Second, RespectTTL: true}, 3 * time.Second, false, 20, 20},
		"at least":            {plan.DNS{RespectTTL: true, LeastRefresh: 15 * time.Second}, 3 * time.Second, false, 4, 4},
		"no TTL":              {plan.DNS{Refresh: 10 * time.Second, RespectTTL: true}, 0, false, 6, 6},
		"jitter":              {plan.DNS{Refresh: 10 * time.Second, Jitter: 10 * time.Second}, 0, false, 3, 6},
		"failing":             {plan.DNS{Refresh: 10 * time.Second}, 0, true, 6, 6},
		"failing with a rate": {plan.DNS{Refresh: time.Hour, FailBase: time.Second, FailMax: 4 * time.Second}, 0, true, 15, 120},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &testdns.Directory{TTL: x.ttl, Down: x.down, Addrs: map[string][]string{"a": {"10.0.0.1"}}}
				s, _ := run(t, Options{Lookup: d.Lookup}, named(x.plan, "a"))
				s.Start(t.Context())
				d.Since()
				time.Sleep(time.Minute + time.Millisecond)
				if n := d.Since(); n < x.min || n > x.max {
					t.Errorf("asked %d times in a minute", n)
				}
				s.Close()
			})
		})
	}
}
