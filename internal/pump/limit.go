package pump

import (
	"math"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// limits are the smallest of all hops. Where two hops are level the outer one counts:
// its time began earlier.
type limits struct {
	began    time.Time // what the other times count from
	idle     limit     // since the last byte
	unused   limit     // idle limit while there has been no byte
	deadline limit
}

// A limit without a hop is none.
type limit struct {
	after time.Duration
	hop   filter.Outer
}

func (l *limit) lower(after time.Duration, h filter.Outer) {
	if l.hop == nil || after <= l.after {
		l.after, l.hop = after, h
	}
}

// maxIdle keeps sums with an idle time in range; it is 73 years.
const maxIdle = math.MaxInt64 / 4

func (p *pair) readLimits() {
	p.maxBytes = math.MaxInt
	p.limits.began = time.Now()
	for h := p.hop; h != nil; h = h.Outer() {
		l := h.Limits()
		if l.BufferBytes > 0 {
			p.maxBytes = min(p.maxBytes, l.BufferBytes)
		}
		if l.Idle > 0 {
			idle := min(l.Idle, maxIdle)
			since := idle
			if !l.IdleSince.IsZero() {
				since += l.IdleSince.Sub(p.limits.began)
			}
			p.limits.idle.lower(idle, h)
			p.limits.unused.lower(since, h)
		}
		if !l.Deadline.IsZero() {
			p.limits.deadline.lower(l.Deadline.Sub(p.limits.began), h)
		}
	}
}

// watch starts the clock if there are limits. One timer serves them all; bytes do not
// touch it, it looks when it fires.
func (p *pair) watch() {
	after, _ := p.expiry()
	if after == math.MaxInt64 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(after, p.expire)
}

// expire ends the pair if a limit has passed, else it waits on.
func (p *pair) expire() {
	after, v := p.expiry()
	if left := after - time.Since(p.limits.began); left > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.verdict.Cause == 0 || p.cut != nil {
			p.timer.Reset(left)
		}
		return
	}
	p.end(v)
}

// expiry returns when, after p.limits.began, the pair ends if no byte passes, and how.
func (p *pair) expiry() (after time.Duration, v verdict) {
	after = math.MaxInt64
	l := &p.limits
	if last := p.lastActive(); l.idle.hop != nil {
		after, v = l.unused.after, l.unused.verdict(filter.IdleTimeout)
		if last > 0 {
			after, v = last+l.idle.after, l.idle.verdict(filter.IdleTimeout)
		}
	}
	if l.deadline.hop != nil && l.deadline.after <= after {
		after, v = l.deadline.after, l.deadline.verdict(filter.DurationReached)
	}
	return after, v
}

func (l *limit) verdict(c filter.Cause) verdict {
	return verdict{filter.Ending{Cause: c}, l.hop}
}

// lastActive returns when the last byte passed, after p.limits.began; 0: none has.
func (p *pair) lastActive() time.Duration {
	return time.Duration(max(p.flows[0].active.Load(), p.flows[1].active.Load()))
}

// touch notes that bytes pass.
func (f *flow) touch() {
	if f.p.limits.idle.hop != nil {
		f.active.Store(int64(max(1, time.Since(f.p.limits.began))))
	}
}
