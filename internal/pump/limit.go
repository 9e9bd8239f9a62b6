package pump

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// limits are the smallest of all hops, in the group's time. Where two hops are level
// the outer one counts: its time began earlier. An idle connection keeps them, so they
// are packed, and what is seldom set stands apart.
type limits struct {
	idle      time.Duration // since the last byte
	unused    time.Duration // when the idle limit strikes if no byte ever passes
	rare      *rareLimits   // nil: none of them
	maxBytes  int32         // held for one direction
	idleHop   hopNumber
	unusedHop hopNumber
}

type rareLimits struct {
	deadline limit
	full     [2]limit        // how long reading may stay paused, by filter.Direction
	paused   [2]atomic.Int64 // since when it is; 0: it is not
}

// A hopNumber counts outwards from the innermost hop, which is 1; 0: no hop has the
// limit.
type hopNumber uint16

type limit struct {
	after time.Duration
	hop   hopNumber
}

func lower(was *time.Duration, hop *hopNumber, after time.Duration, n hopNumber) {
	if *hop == 0 || after <= *was {
		*was, *hop = after, n
	}
}

func (l *limit) lower(after time.Duration, n hopNumber) { lower(&l.after, &l.hop, after, n) }

// shorten is lower for a time that begins at the inner hop first.
func (l *limit) shorten(after time.Duration, n hopNumber) {
	if l.hop == 0 || after < l.after {
		l.after, l.hop = after, n
	}
}

// maxIdle keeps sums with an idle time in range; it is 73 years.
const maxIdle = math.MaxInt64 / 4

// read takes the limits of hop and those outside of it at the moment now of a group
// whose time began at epoch.
func (l *limits) read(hop filter.Outer, epoch time.Time, now time.Duration) {
	l.maxBytes = math.MaxInt32
	n := hopNumber(0)
	for h := hop; h != nil && n < math.MaxUint16; h = h.Outer() {
		n++
		hl := h.Limits()
		if hl.BufferBytes > 0 {
			l.maxBytes = int32(min(int(l.maxBytes), hl.BufferBytes))
		}
		if hl.Idle > 0 {
			idle := min(hl.Idle, maxIdle)
			since := now
			if !hl.IdleSince.IsZero() {
				since = hl.IdleSince.Sub(epoch)
			}
			lower(&l.idle, &l.idleHop, idle, n)
			lower(&l.unused, &l.unusedHop, since+idle, n)
		}
		l.readRare(&hl, epoch, n)
	}
}

func (l *limits) readRare(hl *filter.Limits, epoch time.Time, n hopNumber) {
	if hl.Deadline.IsZero() && hl.DownstreamHighWatermark <= 0 && hl.UpstreamHighWatermark <= 0 {
		return
	}
	if l.rare == nil {
		l.rare = new(rareLimits)
	}
	r := l.rare
	if !hl.Deadline.IsZero() {
		r.deadline.lower(hl.Deadline.Sub(epoch), n)
	}
	// Of a chain of connections the one next to who takes nothing is full first.
	if t := hl.DownstreamHighWatermark; t > 0 {
		r.full[filter.FromUpstream].lower(min(t, maxIdle), n)
	}
	if t := hl.UpstreamHighWatermark; t > 0 {
		r.full[filter.FromDownstream].shorten(min(t, maxIdle), n)
	}
}

// never is the expiry of a pump without limits.
const never = time.Duration(math.MaxInt64)

// expiry returns when the pump ends if no byte passes and nothing that is full takes
// any, and which limit it is.
func (l *link) expiry() (at time.Duration, by hopNumber, cause filter.Cause) {
	at = never
	if l.limits.idleHop != 0 {
		at, by, cause = l.limits.unused, l.limits.unusedHop, filter.IdleTimeout
		if last := l.active.Load(); last > 0 {
			at, by = time.Duration(last)+l.limits.idle, l.limits.idleHop
		}
	}
	r := l.limits.rare
	if r == nil {
		return at, by, cause
	}
	if d := r.deadline; d.hop != 0 && d.after <= at {
		at, by, cause = d.after, d.hop, filter.DurationReached
	}
	for d, full := range r.full {
		if since := time.Duration(r.paused[d].Load()); since > 0 && full.hop != 0 && since+full.after < at {
			at, by, cause = since+full.after, full.hop, fullCauses[d]
		}
	}
	return at, by, cause
}

// fullCauses is which side was full while reading from the other one was paused.
var fullCauses = [2]filter.Cause{
	filter.FromDownstream: filter.UpstreamHighWatermarkReached,
	filter.FromUpstream:   filter.DownstreamHighWatermarkReached,
}

// struck is the verdict of a limit.
func (l *link) struck(by hopNumber, cause filter.Cause) verdict {
	h := l.hop
	for n := hopNumber(1); n < by; n++ {
		h = h.Outer()
	}
	return verdict{filter.Ending{Cause: cause}, h}
}
