package outlier

import (
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/internal/plan"
)

// A Host is told what becomes of the requests to one host.
type Host struct {
	detector *Detector
	addr     string // for events

	fives, gateways, locals atomic.Uint32 // failures in a row
	answers, connects       tally

	ejected atomic.Bool

	// Guarded by the detector's lock.
	since     time.Time // of the last ejection; zero: there was none
	returned  time.Time // from it; zero: it never did
	ejections uint32    // all there were
	gone      bool      // it is watched no more
	shown     bool      // the gauge counts it as ejected
	backoff   int       // how many times the base time an ejection takes
	jitter    time.Duration
}

// A tally counts what succeeded of what was tried since it was last read.
type tally struct {
	all, good atomic.Uint64
	rate      atomic.Int64 // per mille of the last interval, plus 1; 0: there is none
}

func (t *tally) count(good bool) {
	t.all.Add(1)
	if good {
		t.good.Add(1)
	}
}

// Continue lets the host go on as a host of another detector: ejected for as long as it would
// have been there, and as near to an ejection. It reports whether it is ejected. shares tells
// that the statistics of both are the same, which then count it for this one alone.
func (h *Host) Continue(was *Host, shares bool) bool {
	was.detector.mu.Lock()
	ejected, since, backoff, jitter := was.ejected.Load(), was.since, was.backoff, was.jitter
	returned, ejections := was.returned, was.ejections
	shown := shares && was.shown
	if shown {
		was.shown = false
	}
	was.detector.mu.Unlock()
	d := h.detector
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || h.gone || h.ejected.Load() {
		if shown {
			d.stats.active.Add(-1)
		}
		return false
	}
	h.since, h.backoff, h.jitter = since, backoff, jitter
	h.returned, h.ejections = returned, ejections
	h.fives.Store(was.fives.Load())
	h.gateways.Store(was.gateways.Load())
	h.locals.Store(was.locals.Load())
	if ejected {
		h.ejected.Store(true)
		d.ejected++
		if h.shown = true; !shown {
			d.stats.active.Add(1)
		}
	}
	return ejected
}

// Ejected reports whether the host is not to be used.
func (h *Host) Ejected() bool { return h.ejected.Load() }

// Rates returns the success rates of the last interval in percent, of what hosts answered
// and of what this side did; -1: there were too few requests.
func (h *Host) Rates() (answers, local float64) { return h.answers.shown(), h.connects.shown() }

func (t *tally) shown() float64 {
	if v := t.rate.Load(); v > 0 {
		return float64(v-1) / 10
	}
	return -1
}

// Answered is told the status of a response.
func (h *Host) Answered(status int) {
	h.answers.count(status < 500)
	if status < 500 {
		clear(&h.fives)
		clear(&h.gateways)
		return
	}
	limits := h.detector.rows.Load()
	if gateway := status >= 502 && status <= 504; !gateway {
		clear(&h.gateways)
	} else if h.gateways.Add(1) == limits.gateways {
		h.outlier(plan.ConsecutiveGatewayFailure, &h.gateways)
	}
	if h.fives.Add(1) == limits.fives {
		h.outlier(plan.Consecutive5xx, &h.fives)
	}
}

// clear is a store only where it changes something: most hosts are well.
func clear(n *atomic.Uint32) {
	if n.Load() != 0 {
		n.Store(0)
	}
}

// What stands for failures of this side where they are not told apart.
const (
	unavailable = 503
	timedOut    = 504
)

// Failed is told of a request without a response: the connection was not made, or broke.
func (h *Host) Failed() { h.local(unavailable) }

// TimedOut is told of a request that took too long.
func (h *Host) TimedOut() { h.local(timedOut) }

func (h *Host) local(status int) {
	if !h.detector.opts.Plan.SplitLocal {
		h.Answered(status)
		return
	}
	h.connects.count(false)
	if h.locals.Add(1) == h.detector.rows.Load().locals {
		h.outlier(plan.ConsecutiveLocalFailure, &h.locals)
	}
}

// Connected is told of a connection, for a request that will have an answer or (final)
// for bytes that have none.
func (h *Host) Connected(final bool) {
	switch {
	case h.detector.opts.Plan.SplitLocal:
		h.connects.count(true)
		clear(&h.locals)
	case final:
		h.Answered(200)
	}
}

// Checked is told that the host has passed an active health check.
func (h *Host) Checked() {
	d := h.detector
	if !d.opts.Plan.HealthCheckReturns || !h.ejected.Load() {
		return
	}
	d.mu.Lock()
	back := h.ejected.Load() && !d.closed
	if back {
		d.back(h, time.Now())
	}
	d.mu.Unlock()
	if back {
		d.opts.Changed()
	}
}

// outlier ejects the host for failures in a row, which are counted anew.
func (h *Host) outlier(kind plan.OutlierKind, n *atomic.Uint32) {
	d := h.detector
	d.mu.Lock()
	changed := false
	if !d.closed && !h.gone && !h.ejected.Load() {
		changed = d.found(h, finding{kind: kind}, time.Now())
		n.Store(0)
	}
	d.mu.Unlock()
	if changed {
		d.opts.Changed()
	}
}
