package outlier

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// kinds are the names that Envoy's statistics and runtime keys have.
var kinds = [plan.OutlierKinds]string{
	plan.Consecutive5xx:            "consecutive_5xx",
	plan.ConsecutiveGatewayFailure: "consecutive_gateway_failure",
	plan.ConsecutiveLocalFailure:   "consecutive_local_origin_failure",
	plan.SuccessRate:               "success_rate",
	plan.LocalSuccessRate:          "local_origin_success_rate",
	plan.FailurePercentage:         "failure_percentage",
	plan.LocalFailurePercentage:    "failure_percentage_local_origin",
}

type stats struct {
	detected, enforced        [plan.OutlierKinds]filter.Counter
	enforcedTotal, overflow   filter.Counter
	oldTotal, old5xx, oldRate filter.Counter // deprecated, but there
	active                    filter.Gauge
}

func newStats(s filter.Scope) *stats {
	out := &stats{
		enforcedTotal: s.Counter("ejections_enforced_total"), overflow: s.Counter("ejections_overflow"),
		oldTotal: s.Counter("ejections_total"), old5xx: s.Counter("ejections_consecutive_5xx"),
		oldRate: s.Counter("ejections_success_rate"), active: s.Gauge("ejections_active"),
	}
	for k, name := range kinds {
		out.detected[k] = s.Counter("ejections_detected_" + name)
		out.enforced[k] = s.Counter("ejections_enforced_" + name)
	}
	return out
}
