package plan

import "time"

// An Outlier is outlier detection: which hosts are ejected for what they answer.
type Outlier struct {
	Interval          time.Duration // between looks at rates, and at what is ejected; 10 s by default
	BaseEjection      time.Duration // of the first ejection, times their number; 30 s by default
	MaxEjection       time.Duration // 300 s by default, or BaseEjection if that is more
	MaxEjectionJitter time.Duration // added at random
	MaxPercent        uint32        // of the hosts that may be ejected; 10 by default
	AlwaysOne         bool          // one host may be ejected whatever MaxPercent
	// SplitLocal tells failures of this side, such as connections that cannot be made,
	// from those that hosts answer with; else they count as 5xx.
	SplitLocal bool

	// How many failures in a row make an outlier; 5 each by default.
	Consecutive5xx, ConsecutiveGateway, ConsecutiveLocal uint32

	// Success rates: outliers are below the mean by StdevFactor/1000 standard deviations.
	RateHosts, RateRequests, StdevFactor uint32
	// Failure percentages: outliers have at least that many.
	FailurePercent, FailureHosts, FailureRequests uint32

	// Enforce is how many in a hundred outliers of each kind are ejected.
	Enforce [OutlierKinds]uint32
	// HealthCheckReturns brings an ejected host back that passes an active health check.
	HealthCheckReturns bool
}

// An OutlierKind is what makes a host an outlier.
type OutlierKind uint8

// The kinds.
const (
	Consecutive5xx OutlierKind = iota
	ConsecutiveGatewayFailure
	ConsecutiveLocalFailure
	SuccessRate
	LocalSuccessRate
	FailurePercentage
	LocalFailurePercentage
	OutlierKinds
)
