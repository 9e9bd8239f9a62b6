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
	deadline  time.Duration
	full      *fullLimits // nil: none
	maxBytes  int32       // held for one direction
	idleHop   hopNumber
	unusedHop hopNumber
	deadHop   hopNumber
}

// fullLimits are how long reading may stay paused, by filter.Direction.
type fullLimits struct {
	limits [2]limit
	since  [2]atomic.Int64 // when it was paused; 0: it is not
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
		if !hl.Deadline.IsZero() {
			lower(&l.deadline, &l.deadHop, hl.Deadline.Sub(epoch), n)
		}
		if hl.DownstreamHighWatermark > 0 || hl.UpstreamHighWatermark > 0 {
			l.readFull(&hl, n)
		}
	}
}

// readFull lets the hop win, of equal limits, that is next to who takes nothing: of a
// chain of connections its one is full first.
func (l *limits) readFull(hl *filter.Limits, n hopNumber) {
	if l.full == nil {
		l.full = new(fullLimits)
	}
	if t := hl.DownstreamHighWatermark; t > 0 {
		l.full.limits[filter.FromUpstream].lower(min(t, maxIdle), n)
	}
	if t := hl.UpstreamHighWatermark; t > 0 {
		l.full.limits[filter.FromDownstream].shorten(min(t, maxIdle), n)
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
	if l.limits.deadHop != 0 && l.limits.deadline <= at {
		at, by, cause = l.limits.deadline, l.limits.deadHop, filter.DurationReached
	}
	f := l.limits.full
	if f == nil {
		return at, by, cause
	}
	for d, full := range f.limits {
		if since := time.Duration(f.since[d].Load()); since > 0 && full.hop != 0 && since+full.after < at {
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
