package outlier

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// envoy is Envoy's defaults, but that all hosts may be ejected.
func envoy() plan.Outlier {
	p := plan.Outlier{
		Interval: 10 * time.Second, BaseEjection: 30 * time.Second, MaxEjection: 300 * time.Second, MaxPercent: 100,
		Consecutive5xx: 5, ConsecutiveGateway: 5, ConsecutiveLocal: 5,
		RateHosts: 5, RateRequests: 100, StdevFactor: 1900,
		FailurePercent: 85, FailureHosts: 5, FailureRequests: 50, HealthCheckReturns: true,
	}
	p.Enforce[plan.Consecutive5xx], p.Enforce[plan.SuccessRate], p.Enforce[plan.LocalSuccessRate] = 100, 100, 100
	p.Enforce[plan.ConsecutiveLocalFailure] = 100
	return p
}

// watched runs a test of a detector in virtual time.
func watched(t *testing.T, p plan.Outlier, hosts int, f func(t *testing.T, d *Detector, c teststats.Counts, changes *atomic.Int64)) {
	synctest.Test(t, func(t *testing.T) {
		c := teststats.New()
		var changes atomic.Int64
		d := New(Options{Plan: p, Stats: c, Changed: func() { changes.Add(1) }}, hosts)
		defer d.Close()
		f(t, d, c.Below("outlier_detection."), &changes)
	})
}

func fail(h *Host, status, times int) {
	for range times {
		h.Answered(status)
	}
}

// Five failures in a row eject for the base time; the next ejection lasts twice as long.
func TestConsecutive5xx(t *testing.T) {
	watched(t, envoy(), 2, func(t *testing.T, d *Detector, c teststats.Counts, changes *atomic.Int64) {
		h := d.Host(0)
		fail(h, 500, 4)
		h.Answered(200)
		fail(h, 500, 4)
		if h.Ejected() {
			t.Fatal("not five in a row")
		}
		h.Answered(500)
		if !h.Ejected() || d.Host(1).Ejected() || changes.Load() != 1 {
			t.Fatal("not ejected, or not alone")
		}
		time.Sleep(29 * time.Second)
		if !h.Ejected() {
			t.Error("back before the base time")
		}
		time.Sleep(2 * time.Second)
		if h.Ejected() || changes.Load() != 2 {
			t.Error("not back")
		}
		fail(h, 500, 5)
		time.Sleep(59 * time.Second)
		if !h.Ejected() {
			t.Error("the second ejection is no longer than the first")
		}
		time.Sleep(11 * time.Second)
		if h.Ejected() {
			t.Error("not back")
		}
		c.Want(t, map[string]int64{
			"ejections_detected_consecutive_5xx": 2, "ejections_enforced_consecutive_5xx": 2, "ejections_enforced_total": 2,
			"ejections_total": 2, "ejections_consecutive_5xx": 2,
		})
	})
}

// A healthy interval takes one off the multiplier.
func TestBackoffShrinks(t *testing.T) {
	watched(t, envoy(), 2, func(t *testing.T, d *Detector, _ teststats.Counts, _ *atomic.Int64) {
		h := d.Host(0)
		fail(h, 500, 5)
		time.Sleep(31 * time.Second)
		time.Sleep(10 * time.Second)
		fail(h, 500, 5)
		time.Sleep(41 * time.Second)
		if h.Ejected() {
			t.Error("a healthy interval was forgotten")
		}
	})
}

// Gateway failures are found but not enforced by default.
func TestGatewayFailure(t *testing.T) {
	p := envoy()
	p.Consecutive5xx = 100
	watched(t, p, 2, func(t *testing.T, d *Detector, c teststats.Counts, _ *atomic.Int64) {
		fail(d.Host(0), 503, 4)
		fail(d.Host(0), 500, 1) // no gateway's
		fail(d.Host(0), 502, 5)
		if d.Host(0).Ejected() {
			t.Error("ejected")
		}
		c.Want(t, map[string]int64{"ejections_detected_consecutive_gateway_failure": 1})
	})
}

// Ten percent of two hosts is none (Envoy), unless one is always allowed.
func TestMaxPercent(t *testing.T) {
	for _, one := range []bool{false, true} {
		p := envoy()
		p.MaxPercent, p.AlwaysOne = 10, one
		watched(t, p, 2, func(t *testing.T, d *Detector, c teststats.Counts, _ *atomic.Int64) {
			fail(d.Host(0), 500, 5)
			fail(d.Host(1), 500, 5)
			if d.Host(0).Ejected() != one || d.Host(1).Ejected() {
				t.Errorf("always one %v: ejected %v, %v", one, d.Host(0).Ejected(), d.Host(1).Ejected())
			}
			if n := c.Value("ejections_overflow"); one && n != 1 || !one && n != 2 {
				t.Errorf("ejections_overflow %d", n)
			}
		})
	}
}

// Failures of this side count as 5xx, unless they are told apart.
func TestLocalFailures(t *testing.T) {
	for _, split := range []bool{false, true} {
		p := envoy()
		p.SplitLocal = split
		watched(t, p, 1, func(t *testing.T, d *Detector, c teststats.Counts, _ *atomic.Int64) {
			h := d.Host(0)
			for range 4 {
				h.Failed()
			}
			h.Connected(false) // resets what is in a row only where it is told apart
			h.TimedOut()
			if h.Ejected() == split {
				t.Errorf("split %v: ejected %v", split, h.Ejected())
			}
			if split {
				for range 4 {
					h.Failed()
				}
				if !h.Ejected() || c.Value("ejections_enforced_consecutive_local_origin_failure") != 1 {
					t.Error("not ejected, or not counted")
				}
			}
		})
	}
}

// Of five hosts the one whose success rate is far below the others is ejected.
func TestSuccessRate(t *testing.T) {
	p := envoy()
	p.Consecutive5xx = 1000
	watched(t, p, 5, func(t *testing.T, d *Detector, c teststats.Counts, _ *atomic.Int64) {
		for i := range 5 {
			fail(d.Host(i), 200, 100)
		}
		fail(d.Host(3), 500, 100)
		time.Sleep(11 * time.Second)
		for i := range 5 {
			if d.Host(i).Ejected() != (i == 3) {
				t.Errorf("host %d: ejected %v", i, d.Host(i).Ejected())
			}
		}
		if r, local := d.Host(3).Rates(); r != 50 || local != -1 {
			t.Errorf("rates %v, %v", r, local)
		}
		c.Want(t, map[string]int64{
			"ejections_detected_success_rate": 1, "ejections_enforced_success_rate": 1, "ejections_enforced_total": 1,
			"ejections_success_rate": 1, "ejections_active": 1, "ejections_total": 1,
		})
	})
}

func TestTooFewForRates(t *testing.T) {
	p := envoy()
	p.Consecutive5xx = 1000
	watched(t, p, 5, func(t *testing.T, d *Detector, c teststats.Counts, _ *atomic.Int64) {
		for i := range 4 { // of five
			fail(d.Host(i), 200, 100)
		}
		fail(d.Host(3), 500, 900)
		time.Sleep(11 * time.Second)
		c.Want(t, map[string]int64{})
		if r, _ := d.Host(0).Rates(); r != 100 {
			t.Errorf("rate %v", r)
		}
	})
}

func TestFailurePercentage(t *testing.T) {
	p := envoy()
	p.Consecutive5xx, p.RateHosts, p.FailureHosts = 1000, 100, 1
	p.Enforce[plan.FailurePercentage] = 100
	watched(t, p, 2, func(t *testing.T, d *Detector, _ teststats.Counts, _ *atomic.Int64) {
		for i, good := range []int{16, 15} { // of 100
			fail(d.Host(i), 200, good)
			fail(d.Host(i), 500, 100-good)
		}
		time.Sleep(11 * time.Second)
		if d.Host(0).Ejected() || !d.Host(1).Ejected() {
			t.Error("85 % is the bar")
		}
	})
}

func TestHealthCheckReturns(t *testing.T) {
	watched(t, envoy(), 2, func(t *testing.T, d *Detector, c teststats.Counts, changes *atomic.Int64) {
		h := d.Host(0)
		h.Checked()
		fail(h, 500, 5)
		h.Checked()
		if h.Ejected() || changes.Load() != 2 {
			t.Errorf("ejected %v after %d changes", h.Ejected(), changes.Load())
		}
		fail(h, 500, 5)
		d.Close()
		if c.Value("ejections_active") != 0 {
			t.Error("a closed detector still counts")
		}
	})
}

// A host that goes on in another version of its cluster is counted as ejected once where the
// versions share their statistics, whichever ends first, and never below 0.
func TestContinueIsCountedOnce(t *testing.T) {
	for _, nextEndsFirst := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := teststats.New()
			version := func() *Detector { return New(Options{Plan: envoy(), Stats: c, Changed: func() {}}, 1) }
			active := func() int64 { return c.Value("outlier_detection.ejections_active") }
			was, next := version(), version()
			fail(was.Host(0), 500, 5)
			if !next.Host(0).Continue(was.Host(0), true) || active() != 1 {
				t.Errorf("%d ejected while there are two versions", active())
			}
			first, second, left := was, next, int64(1)
			if nextEndsFirst {
				first, second, left = next, was, 0
			}
			first.Close()
			if active() != left {
				t.Errorf("%d ejected when one has ended, want %d", active(), left)
			}
			second.Close()
			if active() != 0 {
				t.Errorf("%d ejected at the end", active())
			}
		})
	}
}

// Statistics of its own, as after a change of alt_stat_name, count it for themselves.
func TestContinueElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := teststats.New(), teststats.New()
		was := New(Options{Plan: envoy(), Stats: a, Changed: func() {}}, 1)
		next := New(Options{Plan: envoy(), Stats: b, Changed: func() {}}, 1)
		fail(was.Host(0), 500, 5)
		next.Host(0).Continue(was.Host(0), false)
		if x, y := a.Value("outlier_detection.ejections_active"), b.Value("outlier_detection.ejections_active"); x != 1 || y != 1 {
			t.Errorf("%d and %d ejected", x, y)
		}
		was.Close()
		next.Close()
	})
}
