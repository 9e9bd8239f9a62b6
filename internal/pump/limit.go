package pump

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// limits are the smallest of all hops, in the group's time. Where two hops are level
// the outer one counts, whose time began earlier; the inner one then ends byItself. An
// idle connection keeps them, so they are packed, and what is seldom set stands apart.
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
		l.readTimes(&hl, n, epoch, now)
		if hl.DownstreamHighWatermark > 0 || hl.UpstreamHighWatermark > 0 {
			l.readFull(&hl, n)
		}
	}
}

func (l *limits) readTimes(hl *filter.Limits, n hopNumber, epoch time.Time, now time.Duration) {
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
	return l.limits.expiry(time.Duration(l.active.Load()))
}

// expiry is that of a pump through which bytes passed last at a moment; 0: never.
func (l *limits) expiry(last time.Duration) (at time.Duration, by hopNumber, cause filter.Cause) {
	at = never
	if l.idleHop != 0 {
		at, by, cause = l.unused, l.unusedHop, filter.IdleTimeout
		if last > 0 {
			at, by = last+l.idle, l.idleHop
		}
	}
	if l.deadHop != 0 && l.deadline <= at {
		at, by, cause = l.deadline, l.deadHop, filter.DurationReached
	}
	f := l.full
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
	return verdict{filter.Ending{Cause: cause}, h, l.group.now()}
}

// together is how much earlier than its own time a hop may be ended by another one, and
// still end for its own limit; at most an eighth of that.
const together = 50 * time.Millisecond

// byItself is how a hop ends that another one of its chain ends with e at a moment: for a
// reason of its own if its time is up as well. So every hop of a chain with equal limits,
// as the default idle times are, says that it was its one: whichever clock was first, over
// pipes as by hand-over, and as in Envoy, where one round of a loop sees to all clocks.
func (l *link) byItself(h filter.Outer, e filter.Ending, when time.Duration) filter.Ending {
	var own limits
	hl := h.Limits()
	own.readTimes(&hl, 1, l.group.epoch, when)
	at, _, cause := own.expiry(time.Duration(l.active.Load()))
	early := together
	switch {
	case cause == filter.IdleTimeout:
		early = min(early, own.idle/8)
	case !hl.IdleSince.IsZero(): // else it is not known how long it was
		early = min(early, hl.Deadline.Sub(hl.IdleSince)/8)
	}
	if at-when > early {
		return e
	}
	return filter.Ending{Cause: cause}
}
