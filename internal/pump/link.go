package pump

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A link is what every running pump has, whoever moves its bytes: the hops that look
// on, and what they were told.
type link struct {
	group    *Group
	hop      filter.Outer
	first    func() error // until the first downstream bytes; used by their flow alone
	limits   limits
	active   atomic.Int64 // when bytes passed last, in the group's time; 0: never
	flushing bool         // the hops were told; used by the flow from downstream, then by the end
	settled  bool         // no more of untold; guarded by report

	untold [2]atomic.Uint64 // bytes that passed since the hops were told, by filter.Direction
	report sync.Mutex       // held while they are
}

// A verdict is how a pump ends. With at it is for a reason of that hop.
type verdict struct {
	filter.Ending
	at   filter.Outer
	when time.Duration // of a limit, perhaps of a hop that another pump serves; 0: it is none
}

// errStruck is what the stream of a hop is closed for that a limit has ended.
var errStruck = errors.New("a limit was reached")

// reason is what a pipe is told of it.
func (v *verdict) reason() error {
	if v.when > 0 {
		return errStruck
	}
	return v.Why
}

func local(c filter.Cause) bool {
	return c == filter.LocalClose || c == filter.IdleTimeout || c == filter.DurationReached ||
		c == filter.DownstreamHighWatermarkReached || c == filter.UpstreamHighWatermarkReached
}

// Settle implements filter.Pump.
func (l *link) Settle() {
	l.report.Lock()
	defer l.report.Unlock()
	if !l.settled {
		l.tell()
	}
}

func (l *link) tell() {
	up, down := l.untold[filter.FromDownstream].Swap(0), l.untold[filter.FromUpstream].Swap(0)
	if up == 0 && down == 0 {
		return
	}
	for h := l.hop; h != nil; h = h.Outer() {
		h.Moved(up, down)
	}
}

// kept tells those outside of the hop that bytes reached: its filters keep them from going
// further.
func (l *link) kept(n int) {
	if l.hop == nil || n == 0 {
		return
	}
	l.report.Lock()
	defer l.report.Unlock()
	if l.settled {
		return
	}
	for h := l.hop.Outer(); h != nil; h = h.Outer() {
		h.Moved(uint64(n), 0)
	}
}

// conclude tells every hop the last bytes and then how it ended, as it looks from
// there: the hops inside of the one whose reason it was see their downstream close,
// those outside their upstream.
func (l *link) conclude(v verdict) {
	l.report.Lock()
	l.tell()
	l.settled = true
	l.report.Unlock()

	e := v.Ending
	if v.at != nil {
		e = filter.Ending{Cause: filter.DownstreamClosed}
	}
	for h := l.hop; h != nil; {
		outer := h.Outer() // h may be reused after Ended
		switch {
		case v.at != nil && h == v.at:
			h.Ended(v.Ending)
			e = filter.Ending{Cause: filter.UpstreamClosed}
		case v.when > 0:
			h.Ended(l.byItself(h, e, v.when))
		default:
			h.Ended(e)
		}
		h = outer
	}
}

// flow tells the hops that reading from one side is paused since a moment, or resumed
// with 0. It reports whether a limit begins to count.
func (l *link) flow(from filter.Direction, since time.Duration) (limited bool) {
	paused := since > 0
	if f := l.limits.full; f != nil {
		f.since[from].Store(int64(since))
		limited = paused && f.limits[from].hop != 0
	}
	for h := l.hop; h != nil; h = h.Outer() {
		h.Flow(from, paused)
	}
	return limited
}

// touch notes that bytes pass.
func (l *link) touch(now time.Duration) { l.active.Store(int64(max(1, now))) }

// A Flusher is an Outer that wants to know when all that is left of a connection are
// bytes on their way to the host, of a client that is gone (Envoy: upstream_flush_*).
// The calls come once, as a pair, before Ended.
type Flusher interface{ Flushing(begins bool) }

func (l *link) beginFlush() {
	if !l.flushing {
		l.flushing = true
		l.eachFlusher(true)
	}
}

func (l *link) endFlush() {
	if l.flushing {
		l.flushing = false
		l.eachFlusher(false)
	}
}

func (l *link) eachFlusher(begins bool) {
	for h := l.hop; h != nil; h = h.Outer() {
		if h, ok := h.(Flusher); ok {
			h.Flushing(begins)
		}
	}
}
