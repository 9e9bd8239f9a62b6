// Package outlier finds the hosts of a cluster that fail more than they should, and says
// for how long they are not to be used (outlier detection, or passive health checks).
//
// A Detector knows nothing of hosts but what is reported of them.
package outlier

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/eventlog"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Detector watches the hosts of one cluster. Reports may come from any goroutine.
type Detector struct {
	opts  Options
	stats *stats
	rows  atomic.Pointer[thresholds]
	stop  chan struct{}
	ended sync.WaitGroup

	mu      sync.Mutex
	hosts   []*Host
	closed  bool
	limits  limits
	ejected int
}

// Options of a detector.
type Options struct {
	Plan    plan.Outlier
	Stats   filter.Scope   // cluster.<name>.
	Runtime filter.Runtime // nil: no values
	Cluster string         // its name, for events
	Events  *eventlog.Log  // nil: nobody wants to know
	// Changed is called when hosts were ejected or came back; no lock is held.
	Changed func()
}

// New returns a detector for a number of hosts, which runs until Close.
func New(o Options, hosts int) *Detector {
	d := &Detector{opts: o, stats: newStats(o.Stats.Scope("outlier_detection.")), stop: make(chan struct{})}
	d.limit()
	for range hosts {
		d.Add("")
	}
	d.ended.Go(d.run)
	return d
}

// Add returns what watches one more host; addr is its address, for events.
func (d *Detector) Add(addr string) *Host {
	h := &Host{detector: d, addr: addr}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts = append(d.hosts, h)
	return h
}

// Close ends the watch over a host that is no more. What is reported of it changes nothing
// from now on.
func (h *Host) Close() {
	d := h.detector
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts = slices.DeleteFunc(d.hosts, func(o *Host) bool { return o == h })
	h.gone = true
	if h.ejected.Load() && !d.closed {
		d.unject(h)
	}
}

// Host returns what watches one host; i counts from 0.
func (d *Detector) Host(i int) *Host { return d.hosts[i] }

// Close ends the detector: nothing is ejected any more. Its gauge goes back to 0.
func (d *Detector) Close() {
	d.mu.Lock()
	was := d.closed
	d.closed = true
	for _, h := range d.hosts {
		d.hide(h)
	}
	d.ejected = 0
	d.mu.Unlock()
	if !was {
		close(d.stop)
	}
	d.ended.Wait()
}

func (d *Detector) run() {
	every := time.NewTimer(d.opts.Plan.Interval)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			if d.look(time.Now()) {
				d.opts.Changed()
			}
			every.Reset(d.opts.Plan.Interval)
		case <-d.stop:
			return
		}
	}
}

// look brings hosts back whose time is over, and ejects those whose rates are bad.
func (d *Detector) look(now time.Time) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.limit()
	for _, h := range d.hosts {
		switch {
		case h.ejected.Load():
			if now.Sub(h.since) >= min(d.limits.base*time.Duration(h.backoff), d.limits.most)+h.jitter {
				d.back(h, now)
				changed = true
			}
		case h.backoff > 0:
			h.backoff--
		}
	}
	for _, local := range []bool{false, true} {
		changed = d.judge(local, now) || changed
	}
	return changed
}

// found ejects a host that is an outlier, if it may. It reports whether it did.
// d.mu is held.
func (d *Detector) found(h *Host, f finding, now time.Time) bool {
	kind := f.kind
	d.stats.detected[kind].Add(1)
	switch kind {
	case plan.Consecutive5xx:
		d.stats.old5xx.Add(1)
	case plan.SuccessRate:
		d.stats.oldRate.Add(1)
	}
	one := d.opts.Plan.AlwaysOne && d.ejected == 0
	if !one && 100*float64(d.ejected+1)/float64(len(d.hosts)) > float64(d.limits.percent) {
		d.stats.overflow.Add(1)
		return false
	}
	if kind == plan.Consecutive5xx || kind == plan.SuccessRate { // deprecated, and kept as it was
		d.stats.oldTotal.Add(1)
	}
	if !d.enforces(kind) {
		d.tellEjected(h, f, now, false)
		return false
	}
	d.ejected++
	h.shown = true
	d.stats.active.Add(1)
	d.stats.enforced[kind].Add(1)
	d.stats.enforcedTotal.Add(1)
	h.ejected.Store(true)
	h.since = now
	if time.Duration(h.backoff)*d.limits.base < d.limits.most+d.limits.base {
		h.backoff++
	}
	if h.jitter = 0; d.opts.Plan.MaxEjectionJitter > 0 {
		h.jitter = rand.N(d.opts.Plan.MaxEjectionJitter + 1)
	}
	h.ejections++
	d.tellEjected(h, f, now, true)
	return true
}

// unject lets a host be used again. d.mu is held.
func (d *Detector) unject(h *Host) {
	d.ejected--
	d.hide(h)
	h.ejected.Store(false)
	h.fives.Store(0) // a few errors more must not eject it at once
	h.gateways.Store(0)
	h.locals.Store(0)
}

// hide takes a host out of the gauge. d.mu is held.
func (d *Detector) hide(h *Host) {
	if h.shown {
		h.shown = false
		d.stats.active.Add(-1)
	}
}

// back lets a host be used again whose time is over, or that was found well. d.mu is held.
func (d *Detector) back(h *Host, now time.Time) {
	d.unject(h)
	h.returned = now
	d.tellBack(h, now)
}

func (d *Detector) enforces(kind plan.OutlierKind) bool {
	percent := d.opts.Plan.Enforce[kind]
	if r := d.opts.Runtime; r != nil {
		return r.Enabled("outlier_detection.enforcing_"+kinds[kind], percent*10000)
	}
	return rand.Uint32N(100) < percent
}
