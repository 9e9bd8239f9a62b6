package upstream

import (
	"math"
	"sync"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A breaker holds the resources of one routing priority to their limits. Its counts
// go on when the limits change. (Envoy's are checked by each worker against shared
// counts and may be exceeded a little; these are exact.)
type breaker struct {
	scope filter.Scope

	mu                       sync.Mutex
	connections, pending     usage
	requests, retries, pools usage
	budget                   *plan.RetryBudget // nil: retries have a fixed limit
}

// usage is how much of one resource is in use; guarded by its breaker.
type usage struct {
	n, max    uint64
	isOpen    bool
	shownOpen bool // the gauge was written, so that it counts as used (Envoy)
	open      filter.Gauge
	remaining filter.Gauge // nil: not tracked
	shown     int64        // of remaining
}

func newBreaker(s filter.Scope) *breaker {
	b := &breaker{scope: s}
	b.connections.open, b.pending.open = s.Gauge("cx_open"), s.Gauge("rq_pending_open")
	b.requests.open, b.retries.open = s.Gauge("rq_open"), s.Gauge("rq_retry_open")
	b.pools.open = s.Gauge("cx_pool_open")
	return b
}

// limit sets the limits.
func (b *breaker) limit(p plan.Breaker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.budget = p.RetryBudget
	pools := uint64(p.MaxConnectionPools)
	if pools == 0 || pools == math.MaxUint32 {
		pools = math.MaxUint64 // unlimited; Envoy prints it like this
	}
	for name, r := range map[string]struct {
		u   *usage
		max uint64
	}{
		"remaining_cx": {&b.connections, uint64(p.MaxConnections)}, "remaining_pending": {&b.pending, uint64(p.MaxPending)},
		"remaining_rq": {&b.requests, uint64(p.MaxRequests)}, "remaining_retries": {&b.retries, uint64(p.MaxRetries)},
		"remaining_cx_pools": {&b.pools, pools},
	} {
		r.u.max = r.max
		if p.TrackRemaining && r.u.remaining == nil {
			r.u.remaining = b.scope.Gauge(name)
		}
		if r.u.n > 0 || r.u.isOpen {
			r.u.showOpen()
		}
		r.u.showRemaining()
	}
}

// full reports whether there is no room for another connection.
func (b *breaker) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connections.full()
}

// queue takes a pending request, if there is room.
func (b *breaker) queue() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending.full() {
		return filter.ErrPendingOverflow
	}
	b.pending.add(1)
	return nil
}

// begin takes a connection, if there is room.
func (b *breaker) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.connections.full() {
		return filter.ErrOverflow
	}
	b.connections.add(1)
	return nil
}

// acquire takes one of a resource, if there is room.
func (b *breaker) acquire(u *usage) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if u.full() {
		return false
	}
	u.add(1)
	return true
}

// force takes one of a resource, be there room or not.
func (b *breaker) force(u *usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u.add(1)
}

// release gives one of a resource back.
func (b *breaker) release(u *usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u.add(-1)
}

// retry takes a retry, if the limit or the budget has room for it.
func (b *breaker) retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.budget != nil {
		under := float64(b.requests.n + b.pending.n)
		b.retries.max = max(uint64(under*b.budget.Percent/100), uint64(b.budget.MinConcurrency))
	}
	if b.retries.full() {
		return false
	}
	b.retries.add(1)
	return true
}

// connected turns a pending request into an active one. These are not limited here
// (Envoy: max_requests is for HTTP), but they count.
func (b *breaker) connected() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending.add(-1)
	b.requests.add(1)
}

// unqueue gives back a pending request, and with connection the connection that was
// to serve it.
func (b *breaker) unqueue(connection bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending.add(-1)
	if connection {
		b.connections.add(-1)
	}
}

// closed gives back what a connection had.
func (b *breaker) closed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests.add(-1)
	b.connections.add(-1)
}

func (u *usage) full() bool { return u.n >= u.max }

func (u *usage) add(d int64) {
	u.n += uint64(d)
	u.showOpen()
	u.showRemaining()
}

// showOpen writes the gauge where it changes, and the first time.
func (u *usage) showOpen() {
	full := u.full()
	if full == u.isOpen && u.shownOpen {
		return
	}
	d := int64(0)
	if full != u.isOpen {
		u.isOpen = full
		d = -1
		if full {
			d = 1
		}
	}
	u.shownOpen = true
	u.open.Add(d)
}

func (u *usage) showRemaining() {
	if u.remaining == nil {
		return
	}
	left := int64(0)
	if u.max > u.n {
		left = int64(u.max - u.n)
	}
	u.remaining.Add(left - u.shown)
	u.shown = left
}
