package outlier

import (
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// limits are what the plan says, with runtime values over it; read anew each interval.
type limits struct {
	thresholds
	base, most                    time.Duration
	percent                       uint64
	rateHosts, rateRequests       uint64
	stdevFactor, failurePercent   uint64
	failureHosts, failureRequests uint64
}

// thresholds are the failures in a row that make an outlier.
type thresholds struct{ fives, gateways, locals uint32 }

func newLimits(p *plan.Outlier, r filter.Runtime) limits {
	value := func(key string, def uint64) uint64 {
		if r == nil {
			return def
		}
		return r.Uint("outlier_detection."+key, def)
	}
	millis := func(key string, def time.Duration) time.Duration {
		return time.Duration(value(key, uint64(def.Milliseconds()))) * time.Millisecond
	}
	return limits{
		thresholds: thresholds{
			fives:    uint32(value("consecutive_5xx", uint64(p.Consecutive5xx))),
			gateways: uint32(value("consecutive_gateway_failure", uint64(p.ConsecutiveGateway))),
			locals:   uint32(value("consecutive_local_origin_failure", uint64(p.ConsecutiveLocal))),
		},
		base: millis("base_ejection_time_ms", p.BaseEjection), most: millis("max_ejection_time_ms", p.MaxEjection),
		percent:   min(value("max_ejection_percent", uint64(p.MaxPercent)), 100),
		rateHosts: value("success_rate_minimum_hosts", uint64(p.RateHosts)), rateRequests: value("success_rate_request_volume", uint64(p.RateRequests)),
		stdevFactor: value("success_rate_stdev_factor", uint64(p.StdevFactor)), failurePercent: value("failure_percentage_threshold", uint64(p.FailurePercent)),
		failureHosts: value("failure_percentage_minimum_hosts", uint64(p.FailureHosts)), failureRequests: value("failure_percentage_request_volume", uint64(p.FailureRequests)),
	}
}

// limit sets the limits. Requests read the thresholds without the detector's lock.
func (d *Detector) limit() {
	d.limits = newLimits(&d.opts.Plan, d.opts.Runtime)
	t := d.limits.thresholds
	d.rows.Store(&t)
}
