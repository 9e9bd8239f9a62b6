package pump

import (
	"math"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// limits are the smallest of all hops, in the group's time. Where two hops are level
// the outer one counts: its time began earlier.
type limits struct {
	idle     limit // since the last byte
	unused   limit // since nothing: when the idle limit strikes if no byte ever passes
	deadline limit
	full     [2]limit // how long reading may stay paused, by filter.Direction
	maxBytes int      // held for one direction
}

// A limit strikes for the hop-th hop outwards from the innermost, which is 1; 0: none.
type limit struct {
	after time.Duration
	hop   uint32
}

func (l *limit) lower(after time.Duration, hop uint32) {
	if l.hop == 0 || after <= l.after {
		l.after, l.hop = after, hop
	}
}

// shorten is lower for a time that begins at the inner hop first.
func (l *limit) shorten(after time.Duration, hop uint32) {
	if l.hop == 0 || after < l.after {
		l.after, l.hop = after, hop
	}
}

// maxIdle keeps sums with an idle time in range; it is 73 years.
const maxIdle = math.MaxInt64 / 4

// read takes the limits of hop and those outside of it at the moment now of a group
// whose time began at epoch.
func (l *limits) read(hop filter.Outer, epoch time.Time, now time.Duration) {
	l.maxBytes = math.MaxInt
	n := uint32(0)
	for h := hop; h != nil; h = h.Outer() {
		n++
		hl := h.Limits()
		if hl.BufferBytes > 0 {
			l.maxBytes = min(l.maxBytes, hl.BufferBytes)
		}
		if hl.Idle > 0 {
			idle := min(hl.Idle, maxIdle)
			since := now
			if !hl.IdleSince.IsZero() {
				since = hl.IdleSince.Sub(epoch)
			}
			l.idle.lower(idle, n)
			l.unused.lower(since+idle, n)
		}
		// Of a chain of connections the one next to who takes nothing is full first.
		if t := hl.DownstreamHighWatermark; t > 0 {
			l.full[filter.FromUpstream].lower(min(t, maxIdle), n)
		}
		if t := hl.UpstreamHighWatermark; t > 0 {
			l.full[filter.FromDownstream].shorten(min(t, maxIdle), n)
		}
		if !hl.Deadline.IsZero() {
			l.deadline.lower(hl.Deadline.Sub(epoch), n)
		}
	}
}

// never is the expiry of a pump without limits.
const never = time.Duration(math.MaxInt64)

// expiry returns when the pump ends if no byte passes and nothing that is full takes
// any, and which limit it is.
func (l *link) expiry() (at time.Duration, by limit, cause filter.Cause) {
	at = never
	if l.limits.idle.hop != 0 {
		at, by, cause = l.limits.unused.after, l.limits.unused, filter.IdleTimeout
		if last := l.active.Load(); last > 0 {
			at, by = time.Duration(last)+l.limits.idle.after, l.limits.idle
		}
	}
	if d := l.limits.deadline; d.hop != 0 && d.after <= at {
		at, by, cause = d.after, d, filter.DurationReached
	}
	for d, full := range l.limits.full {
		if since := l.paused[d].Load(); since > 0 && full.hop != 0 && time.Duration(since)+full.after < at {
			at, by, cause = time.Duration(since)+full.after, full, fullCauses[d]
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
func (l *link) struck(by limit, cause filter.Cause) verdict {
	h := l.hop
	for n := uint32(1); n < by.hop; n++ {
		h = h.Outer()
	}
	return verdict{filter.Ending{Cause: cause}, h}
}
