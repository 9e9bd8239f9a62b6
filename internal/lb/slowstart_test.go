package lb_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

// The part of its weight that a host has during its slow start, by Envoy's formula:
// max(min_weight, (time / window) ^ (1 / aggression)).
func TestSlowStart(t *testing.T) {
	for _, c := range []struct {
		name   string
		plan   plan.SlowStart
		after  time.Duration
		health lb.Health
		want   float64 // of the host's weight
	}{
		{"at once", plan.SlowStart{Aggression: 1, MinWeight: .1}, 0, lb.Healthy, .1},
		{"a tenth", plan.SlowStart{Aggression: 1, MinWeight: .05}, time.Second, lb.Healthy, .1},
		{"half", plan.SlowStart{Aggression: 1, MinWeight: .1}, 5 * time.Second, lb.Healthy, .5},
		{"fast at first", plan.SlowStart{Aggression: 2, MinWeight: .1}, 2500 * time.Millisecond, lb.Healthy, .5},
		{"slow at first", plan.SlowStart{Aggression: .5, MinWeight: .1}, 5 * time.Second, lb.Healthy, .25},
		{"the least", plan.SlowStart{Aggression: .5, MinWeight: .4}, 5 * time.Second, lb.Healthy, .4},
		{"over", plan.SlowStart{Aggression: 1, MinWeight: .1}, 10 * time.Second, lb.Healthy, 1},
		{"long over", plan.SlowStart{Aggression: 1, MinWeight: .1}, time.Hour, lb.Healthy, 1},
		{"no aggression", plan.SlowStart{Aggression: math.NaN(), MinWeight: .1}, 5 * time.Second, lb.Healthy, .5},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				clock := func() time.Duration { return time.Since(begun) }
				time.Sleep(time.Hour) // old is no longer slow
				e := ports(1, 2, 2)
				e[1].Since, e[1].Health = clock(), c.health
				c.plan.Window = 10 * time.Second
				time.Sleep(c.after)
				b := lb.New(plan.LB{SlowStart: &c.plan, PanicPercent: 50}, lb.Hosts{Localities: one(e), Clock: clock}, 0)
				parts, _ := draw(b, 11000)
				if got := parts[2] / parts[1]; math.Abs(got-c.want) > .01*c.want+.001 {
					t.Errorf("%.4f of the other host's share, want %.4f", got, c.want)
				}
			})
		})
	}
}

// The weight grows while nothing else changes, as does what the runtime says of it.
func TestSlowStartGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		clock := func() time.Duration { return time.Since(begun) }
		time.Sleep(time.Hour)
		e := ports(1, 1, 1)
		e[1].Since = clock()
		aggression := 1.
		p := plan.LB{Policy: plan.LeastRequest, ActiveBias: 1, SlowStart: &plan.SlowStart{Window: 100 * time.Second, Aggression: 9, MinWeight: .1}}
		b := lb.New(p, lb.Hosts{Localities: one(e), Clock: clock, Aggression: func() float64 { return aggression }}, 0)
		for _, step := range []struct {
			wait       time.Duration
			aggression float64
			want       float64
		}{{20 * time.Second, 1, .2}, {20 * time.Second, 1, .4}, {0, .5, .16}, {60 * time.Second, .5, 1}, {time.Hour, 1, 1}} {
			time.Sleep(step.wait)
			aggression = step.aggression
			draw(b, 100) // the turns that were set before
			parts, _ := draw(b, 10000)
			if got := parts[2] / parts[1]; math.Abs(got-step.want) > .02*step.want+.002 {
				t.Errorf("after %v: %.4f of the other host's share, want %.2f", clock()-time.Hour, got, step.want)
			}
		}
	})
}

// Hosts that are not healthy, and policies without a slow start, have their weight at once.
func TestNoSlowStart(t *testing.T) {
	e := ports(1, 1, 1)
	e[1].Since, e[1].Health = time.Hour, lb.Degraded
	slow := &plan.SlowStart{Window: time.Hour, Aggression: 1, MinWeight: .01}
	for name, x := range map[string]struct {
		policy plan.LB
		hosts  lb.Hosts
	}{
		"degraded in a panic": {plan.LB{SlowStart: slow, PanicPercent: 100}, lb.Hosts{Clock: func() time.Duration { return time.Hour }}},
		"no clock":            {plan.LB{SlowStart: slow, PanicPercent: 100}, lb.Hosts{}},
		"random":              {plan.LB{SlowStart: slow, PanicPercent: 100, Policy: plan.Random}, lb.Hosts{Clock: func() time.Duration { return time.Hour }}},
	} {
		x.hosts.Localities = one(append(e, states(3, "uuuu")...))
		parts, _ := draw(lb.New(x.policy, x.hosts, 0), 20000)
		if math.Abs(parts[2]-parts[3]) > .02 {
			t.Errorf("%s: %v", name, parts)
		}
	}
}
