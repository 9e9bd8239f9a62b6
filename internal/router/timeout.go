package router

import (
	"cmp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// limits are how long things of a call may take; 0: as long as they like.
type limits struct {
	route   time.Duration // from the end of the request to that of the response
	try     time.Duration // from the end of the request, or the connection, to the response's head
	tryIdle time.Duration // without a byte moving
	stream  time.Duration // of a try as a whole
	status  int           // answers when one is over
}

// limit finds out how long the request may take, and takes the headers that say so from
// it. Those that clients may not send were removed by the connection manager.
func (x *call) limit() {
	h, l := &x.stream.Request.Header, &x.limits
	*l = limits{route: x.action.Limit(x.stream.Request), status: 504}
	if x.action.MaxStream.Set || x.action.GRPCMax.Set { // Envoy: they take the timeout's place
		l.route = 0
	}
	for _, p := range [...]*route.RetryPolicy{x.policies.Retry, x.action.Retry} {
		if p != nil { // the route's hold, too, where the cluster says nothing (Envoy)
			l.try, l.tryIdle = cmp.Or(l.try, p.PerTryTimeout), cmp.Or(l.tryIdle, p.PerTryIdleTimeout)
		}
	}
	l.stream = x.cluster.Info().MaxStreamDuration
	if x.envoy {
		x.limitBy(h)
	}
	if l.route > 0 && l.try >= l.route {
		l.try = 0
	}
	for _, d := range [...]*time.Duration{&l.route, &l.try, &l.tryIdle, &l.stream} {
		*d = min(*d, longest)
	}
}

// longest is how long a limit can be, 146 years: sums with it are still a time.
const longest = time.Duration(1 << 62)

// limitBy does what the request itself asks for.
func (x *call) limitBy(h *httpmsg.Header) {
	l, expected := &x.limits, false
	if x.router.config.RespectExpected {
		_, expected = h.Lookup("x-envoy-expected-rq-timeout-ms")
		millis(h, "x-envoy-expected-rq-timeout-ms", &l.route)
	}
	if !expected {
		millis(h, "x-envoy-upstream-rq-timeout-ms", &l.route)
		h.Del("x-envoy-upstream-rq-timeout-ms")
	}
	millis(h, "x-envoy-upstream-rq-per-try-timeout-ms", &l.try)
	h.Del("x-envoy-upstream-rq-per-try-timeout-ms")
	if millis(h, "x-envoy-upstream-stream-duration-ms", &l.stream) {
		h.Del("x-envoy-upstream-stream-duration-ms")
	}
	if h.Del("x-envoy-upstream-rq-timeout-alt-response") {
		l.status = 204
	}
}

// millis reads a header that is a number of milliseconds; out is left as it is where
// that is not so.
func millis(h *httpmsg.Header, name string, out *time.Duration) (there bool) {
	v, there := h.Lookup(name)
	if !there {
		return false
	}
	const most = uint64((1<<63 - 1) / time.Millisecond)
	if n, err := strconv.ParseUint(v, 10, 64); err == nil {
		*out = time.Duration(min(n, most)) * time.Millisecond
	}
	return true
}

// expect tells the host how long it has: x-envoy-expected-rq-timeout-ms, and grpc-timeout
// where the route makes its own of it. since is the time since the request was complete.
func (x *call) expect(since time.Duration) {
	d := x.limits.try
	if d == 0 || x.hedged {
		d = x.limits.route
	}
	if d == 0 {
		return
	}
	if r := x.limits.route; r > 0 {
		d = max(min(d, r-since), time.Millisecond) // 0 would be no limit
	}
	h, ms := &x.stream.Request.Header, int64(d/time.Millisecond)
	if !x.router.config.Quiet {
		h.Set("x-envoy-expected-rq-timeout-ms", x.router.limits.text(ms))
	}
	if x.grpc && x.action.OldGRPCMax.Set {
		h.Set("grpc-timeout", grpcTimeout(ms))
	}
}

// grpcTimeout is a number of milliseconds in the at most eight digits that gRPC has room
// for.
func grpcTimeout(ms int64) string {
	const most = 99_999_999
	for _, u := range [...]struct {
		of   int64
		unit string
	}{{1, "m"}, {1000, "S"}, {60, "M"}, {60, "H"}} {
		if ms /= u.of; ms <= most {
			return strconv.FormatInt(ms, 10) + u.unit
		}
	}
	return strconv.Itoa(most) + "H"
}

// numbers spares the making of a text that is mostly the same.
type numbers struct{ last atomic.Pointer[numberText] }

type numberText struct {
	n    int64
	text string
}

func (c *numbers) text(n int64) string {
	if n < 100 { // strconv has it
		return strconv.FormatInt(n, 10)
	}
	if l := c.last.Load(); l != nil && l.n == n {
		return l.text
	}
	t := &numberText{n, strconv.FormatInt(n, 10)}
	c.last.Store(t)
	return t.text
}
