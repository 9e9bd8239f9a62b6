package health

import (
	"math/rand/v2"
	"time"

	"github.com/ginnel/ginnel/internal/plan"
)

// wait is the time until the next check of a host, by what the last one said: whether it
// passed, and whether more results like it must come to change the host's health. used
// tells that the cluster has had connections.
func wait(p *plan.HealthCheck, passed, more, used bool) time.Duration {
	var d time.Duration
	switch {
	case !used && passed:
		d = p.NoTrafficHealthy
	case !used:
		d = p.NoTraffic
	case passed && more:
		d = p.HealthyEdge
	case passed:
		d = p.Interval
	case more:
		d = p.UnhealthyEdge
	default:
		d = p.UnhealthyAfter
	}
	if part := d * time.Duration(p.JitterPercent) / 100; part > 0 {
		d += rand.N(part)
	}
	if p.IntervalJitter > 0 {
		d += rand.N(p.IntervalJitter)
	}
	return d
}
