package compile

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

var outlierFields = extension.Fields{
	Message: &clusterv3.OutlierDetection{},
	Obeyed: []string{
		"consecutive_5xx", "interval", "base_ejection_time", "max_ejection_percent", "enforcing_consecutive_5xx",
		"enforcing_success_rate", "success_rate_minimum_hosts", "success_rate_request_volume", "success_rate_stdev_factor",
		"consecutive_gateway_failure", "enforcing_consecutive_gateway_failure", "split_external_local_origin_errors",
		"consecutive_local_origin_failure", "enforcing_consecutive_local_origin_failure", "enforcing_local_origin_success_rate",
		"failure_percentage_threshold", "enforcing_failure_percentage", "enforcing_failure_percentage_local_origin",
		"failure_percentage_minimum_hosts", "failure_percentage_request_volume", "max_ejection_time", "max_ejection_time_jitter",
		"successful_active_health_check_uneject_host", "always_eject_one_host",
	},
}

// outlier returns nil where no host is ejected.
func outlier(s *extension.Scope, m *clusterv3.OutlierDetection) *plan.Outlier {
	if m == nil {
		return nil
	}
	outlierFields.Check(s, m)
	p := &plan.Outlier{
		Interval:     durationOr(m.GetInterval(), 10*time.Second),
		BaseEjection: durationOr(m.GetBaseEjectionTime(), 30*time.Second),
		MaxPercent:   valueOr(m.GetMaxEjectionPercent(), 10),
		AlwaysOne:    m.GetAlwaysEjectOneHost().GetValue(), SplitLocal: m.GetSplitExternalLocalOriginErrors(),
		MaxEjectionJitter:  durationOr(m.GetMaxEjectionTimeJitter(), 0),
		Consecutive5xx:     valueOr(m.GetConsecutive_5Xx(), 5),
		ConsecutiveGateway: valueOr(m.GetConsecutiveGatewayFailure(), 5),
		ConsecutiveLocal:   valueOr(m.GetConsecutiveLocalOriginFailure(), 5),
		RateHosts:          valueOr(m.GetSuccessRateMinimumHosts(), 5), RateRequests: valueOr(m.GetSuccessRateRequestVolume(), 100),
		StdevFactor:    valueOr(m.GetSuccessRateStdevFactor(), 1900),
		FailurePercent: valueOr(m.GetFailurePercentageThreshold(), 85),
		FailureHosts:   valueOr(m.GetFailurePercentageMinimumHosts(), 5), FailureRequests: valueOr(m.GetFailurePercentageRequestVolume(), 50),
		HealthCheckReturns: true,
		Enforce: [plan.OutlierKinds]uint32{
			plan.Consecutive5xx:            valueOr(m.GetEnforcingConsecutive_5Xx(), 100),
			plan.ConsecutiveGatewayFailure: valueOr(m.GetEnforcingConsecutiveGatewayFailure(), 0),
			plan.ConsecutiveLocalFailure:   valueOr(m.GetEnforcingConsecutiveLocalOriginFailure(), 100),
			plan.SuccessRate:               valueOr(m.GetEnforcingSuccessRate(), 100),
			plan.LocalSuccessRate:          valueOr(m.GetEnforcingLocalOriginSuccessRate(), 100),
			plan.FailurePercentage:         valueOr(m.GetEnforcingFailurePercentage(), 0),
			plan.LocalFailurePercentage:    valueOr(m.GetEnforcingFailurePercentageLocalOrigin(), 0),
		},
	}
	p.MaxEjection = durationOr(m.GetMaxEjectionTime(), max(300*time.Second, p.BaseEjection))
	if p.MaxEjection < p.BaseEjection {
		s.Field("max_ejection_time").Errorf("outlier detector's max_ejection_time cannot be smaller than base_ejection_time")
	}
	if v := m.GetSuccessfulActiveHealthCheckUnejectHost(); v != nil {
		p.HealthCheckReturns = v.GetValue()
	}
	return p
}

func durationOr(d *durationpb.Duration, def time.Duration) time.Duration {
	if d == nil {
		return def
	}
	return d.AsDuration()
}
