package health

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/core/v3"
)

// A Host is the health of one host.
type Host struct {
	checker *Checker
	target  Target
	ctx     context.Context // ends with the checks of this host
	end     context.CancelFunc

	failed, degraded atomic.Bool
	pending          atomic.Bool // not checked yet, and not to count before
	excluded         atomic.Bool // it said itself, in an answer, that it wants no requests

	mu        sync.Mutex
	fresh     bool   // there was no result yet
	good, bad uint32 // results in a row against what it counts as
	closed    bool
}

// Failed reports whether the host counts as unhealthy.
func (h *Host) Failed() bool { return h.failed.Load() }

// Degraded reports whether the host wants requests only where others are short.
func (h *Host) Degraded() bool { return h.degraded.Load() }

// Excluded reports whether the host counts neither for nor against its priority.
func (h *Host) Excluded() bool { return h.pending.Load() || h.excluded.Load() }

// Pending reports whether the host was not checked yet and does not count before.
func (h *Host) Pending() bool { return h.pending.Load() }

// Unwilling reports whether the host said itself that it wants no requests.
func (h *Host) Unwilling() bool { return h.excluded.Load() }

// A verdict is the result of one check.
type verdict struct {
	passed    bool
	degraded  bool // with passed
	network   bool // else: the host could not be asked
	late      bool // with network: in the time there is
	retriable bool // else: it counts only with others
	excluded  bool // the host wants no requests at all
	status    int  // of a response over HTTP; 0: there was none
}

// An asker asks one host, one check after the other.
type asker interface {
	// ask returns what the host answers before ctx ends.
	ask(ctx context.Context) verdict
	// close gives back what is kept between checks.
	close()
}

// Continue lets the host begin with what was found of it as a host of another checker, before
// its own checks begin. What it needs to change from now on is its own checker's to say.
func (h *Host) Continue(was *Host) {
	was.mu.Lock()
	fresh, closed, good, bad, state := was.fresh, was.closed, was.good, was.bad, was.state()
	was.mu.Unlock()
	if fresh || closed {
		return
	}
	h.mu.Lock()
	h.fresh, h.good, h.bad = false, good, bad
	h.failed.Store(state[0])
	h.degraded.Store(state[1])
	h.pending.Store(false)
	h.excluded.Store(state[3])
	h.mu.Unlock()
	if !state[0] {
		h.checker.stats.healthy.Add(1)
	}
	if state[1] {
		h.checker.stats.degraded.Add(1)
	}
	h.checker.continues(h)
}

// known reports whether there was a result.
func (h *Host) known() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.fresh
}

// Close ends the checks of the host, without waiting for one that is under way: its result
// counts no more.
func (h *Host) Close() {
	h.end()
	if h.checker.forget(h) {
		h.leave() // nobody else does
	}
}

// run checks the host until it or the checker is closed; first may be called more than once.
func (h *Host) run(first func()) {
	c := h.checker
	defer first()
	defer h.leave()
	a := h.asker()
	defer a.close()
	if j := c.opts.Plan.InitialJitter; j > 0 && !h.sleep(rand.N(j)) {
		return
	}
	for {
		c.stats.attempt.Add(1)
		ctx, cancel := context.WithTimeout(h.ctx, c.opts.Plan.Timeout)
		v := a.ask(ctx)
		v.late = expired(ctx)
		cancel()
		if h.ctx.Err() != nil {
			return
		}
		wait := h.settle(v)
		first()
		if !h.sleep(wait) {
			return
		}
	}
}

// expired reports whether the time of a check is over: dials notice that before ctx does.
func expired(ctx context.Context) bool {
	at, _ := ctx.Deadline()
	return !time.Now().Before(at)
}

func (h *Host) asker() asker {
	switch p := h.checker.opts.Plan; {
	case p.TCP != nil:
		return &tcpAsker{host: h, plan: p.TCP}
	case p.GRPC != nil:
		return &httpAsker{host: h, exam: newGRPCExam(h, p.GRPC)}
	default:
		return &httpAsker{host: h, exam: newHTTPExam(h, p.HTTP)}
	}
}

// settle counts a verdict, and returns how long to wait until the next check.
func (h *Host) settle(v verdict) time.Duration {
	c := h.checker
	h.mu.Lock()
	was := h.state()
	waits := false // for more results like this one
	if v.passed {
		waits = h.passed(v)
	} else {
		waits = h.refused(v)
	}
	h.fresh = false
	h.pending.Store(false)
	changed := h.state() != was
	h.mu.Unlock()
	if changed {
		c.opts.Changed()
	}
	if v.passed && h.target.Passed != nil {
		h.target.Passed()
	}
	return wait(c.opts.Plan, v.passed, waits, c.opts.Used())
}

// state is all that others may see.
func (h *Host) state() [4]bool {
	return [4]bool{h.failed.Load(), h.degraded.Load(), h.pending.Load(), h.excluded.Load()}
}

// passed counts a check that the host passed: the first one of all is enough.
func (h *Host) passed(v verdict) (waits bool) {
	stats, p := h.checker.stats, h.checker.opts.Plan
	stats.success.Add(1)
	h.bad = 0
	h.excluded.Store(false)
	healed := false
	if h.failed.Load() {
		h.good++
		healed = h.fresh || h.good >= p.Healthy
		waits = !healed
	}
	if healed {
		h.failed.Store(false)
		stats.healthy.Add(1)
		h.tellHealthy()
	} else {
		h.tellPassed()
	}
	if h.degraded.Swap(v.degraded) != v.degraded {
		stats.degraded.Add(map[bool]int64{true: 1, false: -1}[v.degraded])
		h.tellDegraded(v.degraded)
	}
	return waits
}

// refused counts a check that the host did not pass. What is not retriable needs no
// second one.
func (h *Host) refused(v verdict) (waits bool) {
	stats, p := h.checker.stats, h.checker.opts.Plan
	stats.failure.Add(1)
	if v.network {
		stats.network.Add(1)
	}
	h.good = 0
	if v.excluded {
		h.excluded.Store(true)
	}
	if !h.failed.Load() {
		h.bad++
		if waits = (v.network || v.retriable) && h.bad < p.Unhealthy; !waits {
			h.fail()
			h.tellUnhealthy(v.failure(), v.status)
		}
	}
	h.tellRefused(v.failure(), v.status)
	return waits
}

func (h *Host) fail() {
	h.bad = 0
	h.failed.Store(true)
	h.checker.stats.healthy.Add(-1)
}

// Immediate is told that the host has said in an answer that it wants no requests.
func (h *Host) Immediate() {
	h.mu.Lock()
	was := h.state()
	h.excluded.Store(true)
	if !h.closed && !h.failed.Load() {
		h.fail()
		h.checker.stats.failure.Add(1)
		h.checker.stats.passive.Add(1)
		h.tellUnhealthy(datav3.HealthCheckFailureType_PASSIVE, 0)
		h.tellRefused(datav3.HealthCheckFailureType_PASSIVE, 0)
	}
	changed := h.state() != was
	h.mu.Unlock()
	if changed {
		h.checker.opts.Changed()
	}
}

// leave takes the host out of the gauges.
func (h *Host) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if !h.failed.Swap(true) {
		h.checker.stats.healthy.Add(-1)
	}
	if h.degraded.Swap(false) {
		h.checker.stats.degraded.Add(-1)
	}
}
