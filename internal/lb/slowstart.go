package lb

import (
	"math"
	"time"

	"github.com/ginnel/ginnel/internal/plan"
)

// A slowStart scales the weights of hosts that have not been healthy for long.
type slowStart struct {
	plan       *plan.SlowStart
	clock      func() time.Duration
	aggression func() float64
	until      time.Duration // when the last host has its whole weight
}

// newSlowStart returns nil when no host is in a slow start.
func newSlowStart(p *plan.SlowStart, hosts *Hosts) *slowStart {
	if p == nil || hosts.Clock == nil {
		return nil
	}
	s := &slowStart{plan: p, clock: hosts.Clock, aggression: hosts.Aggression}
	if s.aggression == nil {
		s.aggression = func() float64 { return p.Aggression }
	}
	now := s.clock()
	for _, l := range hosts.Localities {
		for _, e := range l.Endpoints {
			if e.Health == Healthy && e.Since+p.Window >= now {
				s.until = max(s.until, e.Since+p.Window)
			}
		}
	}
	if s.until == 0 {
		return nil
	}
	return s
}

// scaled returns the weights as they are in slow starts. unscaled, if not nil, gives what
// they would be without.
func (s *slowStart) scaled(in []Endpoint, weights []float64, unscaled func(i int) float64) func(i int) float64 {
	if unscaled == nil {
		unscaled = func(i int) float64 { return weights[i] }
	}
	return func(i int) float64 {
		now := s.clock()
		if now > s.until || in[i].Health != Healthy {
			return unscaled(i)
		}
		return unscaled(i) * s.part(now-in[i].Since)
	}
}

// part is how much of its weight a host has after some time:
// max(min_weight, (time / window) ^ (1 / aggression)), counted in whole milliseconds
// (Envoy).
func (s *slowStart) part(after time.Duration) float64 {
	if after.Truncate(time.Millisecond) >= s.plan.Window {
		return 1
	}
	part := float64(max(after.Milliseconds(), 1)) / float64(s.plan.Window.Milliseconds())
	if a := s.aggression(); a > 0 && a != 1 { // what is none is 1, as by Envoy
		part = math.Pow(part, 1/a)
	}
	return max(part, s.plan.MinWeight)
}
