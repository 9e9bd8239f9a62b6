package router

import (
	"sync"
	"time"
	"weak"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// A call is a request on its way to a cluster: one try, or several after or beside each
// other. It is used again when it is over.
//
// It belongs to the goroutine of its stream, which serve and end run in. What comes from
// others (the client's reset, the timer, a goroutine that sends) goes through mu.
type call struct {
	router   *Router
	stream   *filter.HTTPStream
	route    *route.Route
	action   *route.Action
	cluster  filter.HTTPCluster
	stats    *clusterStats
	policies route.Policies // the cluster's over the route's
	virtual  *responses     // of the virtual cluster; nil: none
	own      *responses     // of the route's stat_prefix; nil: none
	alt      *responses     // of x-envoy-upstream-alt-stat-name; nil: none

	limits   limits
	retry    *retries // nil: there is one try only
	replay   *replay  // of the request's body; nil: it is sent once
	tee      *tee     // nil: nobody else gets the body
	mirrors  []*reflection
	grpc     bool
	envoy    bool // the request has x-envoy headers
	hedged   bool // a try that is slow gets company
	internal bool // the request comes from inside
	ends     bool // it is a CONNECT that ends here
	hash     *uint64
	hashed   uint64
	cookies  []string       // set-cookie lines that the response gets
	tries    int            // begun so far
	answer   answer         // what the client gets
	slow     chan struct{}  // the latest try of a race ran into its per-try timeout; nil: no race
	senders  sync.WaitGroup // all goroutines of the call
	first    try            // the others, if there are any, are made

	// Functions that are passed on, made once.
	onReset func(*httpmsg.ResetError)
	onEnd   func()

	mu     sync.Mutex
	start  time.Time // that of the stream; zero: the call is not in use
	why    failureKind
	gone   *httpmsg.ResetError // with clientGone
	live   []*try              // those that may be reset
	asked  time.Duration       // when the request was complete, since start, and 1 ns: 0 is not yet
	cancel chan struct{}       // closed with why, which ends waits between tries; nil: nothing waits
	timer  *time.Timer         // nil: none was needed so far
	wakes  time.Time           // when timer fires; zero: it does not
	due    [clocks]time.Duration
}

// What the timer is for: times since start, 0 for none.
const (
	routeClock  = iota // the route's timeout
	tryClock           // of the one try: the per-try timeout
	idleClock          // of the one try: the per-try idle timeout
	streamClock        // of the one try: the cluster's max_stream_duration
	lingerClock        // for the end of a request whose response is complete
	clocks
)

// unasked is in try.moved while nobody waits for the host.
const unasked time.Duration = -1

func newCall(r *Router) *call {
	x := &call{router: r}
	x.onReset, x.onEnd = x.reset, x.end
	x.first.init(x)
	return x
}

// begin makes x the call of a stream.
func (x *call) begin(s *filter.HTTPStream, rt *route.Route, c filter.HTTPCluster) {
	x.stream, x.route, x.action, x.cluster = s, rt, rt.Action, c
	x.stats = x.router.statsOf(c)
	x.policies = policiesOf(c).Over(rt.Action.Policies)
	x.mu.Lock()
	x.start = s.Info.Start
	x.mu.Unlock()
}

// free gives x back: nobody has it any more.
func (x *call) free() {
	x.first.clear()
	x.mu.Lock()
	clear(x.live)
	cancel := x.cancel
	if x.why != noFailure { // it was closed
		cancel = nil
	}
	x.why, x.gone, x.asked, x.live, x.cancel = noFailure, nil, 0, x.live[:0], cancel
	x.start, x.due = time.Time{}, [clocks]time.Duration{}
	x.mu.Unlock()
	x.stream, x.route, x.action, x.cluster, x.stats = nil, nil, nil, nil, nil
	x.policies = route.Policies{}
	x.virtual, x.own, x.alt = nil, nil, nil
	x.limits, x.grpc, x.internal, x.ends, x.tries, x.answer = limits{}, false, false, false, 0, answer{}
	x.envoy, x.hedged, x.retry, x.replay, x.tee, x.slow = false, false, nil, nil, nil, nil
	x.hash, x.cookies, x.mirrors = nil, nil, nil
	x.router.calls.Put(x)
}

// now is the time since the stream began.
func (x *call) now() time.Duration { return time.Since(x.start) }

// reset is told that the client has gone away, or that a limit of the connection manager
// has struck.
func (x *call) reset(why *httpmsg.ResetError) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.why == noFailure {
		x.gone = why
	}
	x.strike(clientGone)
}

// strike ends all that waits, for good; the first reason counts. x.mu is held.
func (x *call) strike(why failureKind) {
	if x.why != noFailure {
		return
	}
	x.why = why
	for _, t := range x.live {
		t.strike(why)
	}
	if x.cancel != nil {
		close(x.cancel)
	}
}

// struck returns why the call was ended from outside.
func (x *call) struck() failureKind {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.why
}

// waits returns a channel that is closed when the call is ended from outside.
func (x *call) waits() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cancel == nil {
		x.cancel = make(chan struct{})
		if x.why != noFailure {
			close(x.cancel)
		}
	}
	return x.cancel
}

// complete notes that the client has sent all of its request: the time for the response
// begins.
func (x *call) complete() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.asked != 0 {
		return
	}
	now := x.now()
	x.asked = now + 1
	if d := x.limits.route; d > 0 && !x.answer.tunnel {
		x.arm(routeClock, now, now+d)
	}
	for _, t := range x.live {
		t.timed(now)
	}
}

// arm sets one of the clocks. x.mu is held. The timer itself is touched only where it
// would be late: when it fires it looks what is due.
func (x *call) arm(clock int, now, at time.Duration) {
	x.due[clock] = at
	when := x.start.Add(at)
	if !x.wakes.IsZero() && !when.Before(x.wakes) {
		return
	}
	x.wakes = when
	if x.timer == nil {
		x.timer = x.alarm(at - now)
		return
	}
	x.timer.Reset(at - now)
}

// alarm is a timer that calls fire. It is left running when the call is over, be it for
// hours, and must not keep what nobody uses any more, and with it a whole version of a
// configuration.
func (x *call) alarm(d time.Duration) *time.Timer {
	call := weak.Make(x)
	return time.AfterFunc(d, func() {
		if x := call.Value(); x != nil {
			x.fire()
		}
	})
}

// fire is what the timer calls. It may be left over from a request that is over.
func (x *call) fire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wakes = time.Time{}
	if x.start.IsZero() {
		return
	}
	now, next, first := x.now(), 0, time.Duration(0)
	for c, at := range x.due {
		switch {
		case at == 0:
		case at <= now:
			x.due[c] = 0
			x.expired(c)
		case first == 0 || at < first:
			next, first = c, at
		}
	}
	if first != 0 {
		x.arm(next, now, first)
	}
}

// expired acts on a clock that has run out. x.mu is held.
func (x *call) expired(clock int) {
	switch clock {
	case routeClock:
		x.strike(routeTimeout)
	case streamClock:
		x.strikeTries(streamTimeout)
	case tryClock:
		if !x.hedged {
			x.strikeTries(tryTimeout)
			return
		}
		select {
		case x.slow <- struct{}{}:
		default:
		}
	case idleClock:
		x.idle()
	case lingerClock:
		x.strikeTries(superseded)
	}
}

func (x *call) strikeTries(why failureKind) {
	for _, t := range x.live {
		t.strike(why)
	}
}

// idle ends the try on which nothing has moved for the per-try idle timeout, or looks
// again when that would be due. x.mu is held.
func (x *call) idle() {
	for _, t := range x.live {
		now := x.now()
		since := time.Duration(t.moved.Load())
		if since == unasked {
			since = now
		}
		if due := since + x.limits.tryIdle; due > now {
			x.arm(idleClock, now, due)
			continue
		}
		t.strike(tryIdleTimeout)
	}
}
