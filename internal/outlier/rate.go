package outlier

import (
	"math"
	"time"

	"github.com/ginnel/ginnel/internal/plan"
)

// A candidate is a host with enough requests in the last interval.
type candidate struct {
	host *Host
	rate float64 // of success, in percent
}

// judge ejects the hosts whose rates of the last interval make them outliers. d.mu is held.
func (d *Detector) judge(local bool, now time.Time) (changed bool) {
	l := &d.limits
	var rates, failures []candidate
	for _, h := range d.hosts {
		rate, volume := h.tally(local).take()
		if volume == 0 || h.ejected.Load() {
			continue
		}
		if volume >= min(l.rateRequests, l.failureRequests) {
			h.tally(local).rate.Store(int64(rate*10) + 1)
		}
		if volume >= l.rateRequests {
			rates = append(rates, candidate{h, rate})
		}
		if volume >= l.failureRequests {
			failures = append(failures, candidate{h, rate})
		}
	}
	if uint64(len(rates)) >= l.rateHosts && len(rates) > 0 {
		f := finding{kind: pick(local, plan.LocalSuccessRate, plan.SuccessRate)}
		f.average, f.bar = threshold(rates, l.stdevFactor)
		changed = d.below(rates, func(rate float64) bool { return rate < f.bar }, f, now)
	}
	if uint64(len(failures)) >= l.failureHosts && len(failures) > 0 {
		bad := func(rate float64) bool { return 100-rate >= float64(l.failurePercent) }
		f := finding{kind: pick(local, plan.LocalFailurePercentage, plan.FailurePercentage)}
		changed = d.below(failures, bad, f, now) || changed
	}
	return changed
}

func (h *Host) tally(local bool) *tally {
	if local {
		return &h.connects
	}
	return &h.answers
}

// take returns the rate of success in percent, and of how many requests, and begins anew.
func (t *tally) take() (rate float64, volume uint64) {
	t.rate.Store(0)
	volume = t.all.Swap(0)
	good := min(t.good.Swap(0), volume)
	if volume == 0 {
		return 0, 0
	}
	return 100 * float64(good) / float64(volume), volume
}

func pick(local bool, a, b plan.OutlierKind) plan.OutlierKind {
	if local {
		return a
	}
	return b
}

// threshold returns the mean, and the mean less some standard deviations; factor is in
// thousandths.
func threshold(in []candidate, factor uint64) (mean, bar float64) {
	variance := 0.0
	for _, c := range in {
		mean += c.rate / float64(len(in))
	}
	for _, c := range in {
		variance += (c.rate - mean) * (c.rate - mean) / float64(len(in))
	}
	return mean, mean - float64(factor)/1000*math.Sqrt(variance)
}

func (d *Detector) below(in []candidate, bad func(rate float64) bool, f finding, now time.Time) (changed bool) {
	for _, c := range in {
		if bad(c.rate) && !c.host.ejected.Load() {
			f.rate = c.rate
			changed = d.found(c.host, f, now) || changed
		}
	}
	return changed
}
