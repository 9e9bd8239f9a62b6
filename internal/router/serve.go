package router

import (
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// serve answers the request of the call, which it then owns.
func (x *call) serve() (*httpmsg.Response, error) {
	if reply, refused := x.prepare(); refused {
		resp := x.stream.Reply(reply)
		x.free()
		return resp, nil
	}
	s := x.stream
	s.OnEnd(x.onEnd)
	s.OnReset(x.onReset)
	if s.Request.Body == nil {
		x.complete()
	}
	if x.hedged {
		return x.race()
	}
	return x.exchange()
}

// prepare makes the request what the cluster gets, and finds out what is configured for
// it. It may refuse it.
func (x *call) prepare() (filter.LocalReply, bool) {
	s, c := x.stream, x.router.config
	x.grpc = httptext.GRPC(s.Request.Header.Get("content-type"))
	if x.envoy = hasEnvoy(s.Request.Header); x.envoy {
		x.internal = s.Request.Header.Get("x-envoy-internal") == "true"
	}
	x.hedged = x.hedges()
	x.countBy()
	if reply, bad := c.check(s.Request); bad {
		return reply, true
	}
	if why := x.cluster.Refuses(); why != filter.NotRefused {
		return x.refuse(why), true
	}
	x.ends = x.terminates()
	x.answer.tunnel = x.ends || s.Request.Tunnel()
	if x.ends && c.NoEarlyData && s.Request.Body != nil && s.Request.Body.Ready() {
		return filter.LocalReply{Status: 400, Details: "early_connect_data"}, true
	}
	x.limit()
	x.expect(0)
	x.aim()
	x.retry = x.policy()
	if x.hedged = x.hedged && x.limits.try > 0 && !x.answer.tunnel; x.hedged {
		x.slow = make(chan struct{}, 1)
	}
	if x.route.Host.AttemptCount {
		s.Request.Header.Set("x-envoy-attempt-count", "1")
	}
	x.route.Forward(s.Request, s.Info, !c.Quiet)
	x.mirror()
	x.keep()
	return filter.LocalReply{}, false
}

// hasEnvoy reports whether there are x-envoy headers, which most requests lack.
func hasEnvoy(h httpmsg.Header) bool {
	for i := range h {
		if strings.HasPrefix(h[i].Name, "x-envoy-") {
			return true
		}
	}
	return false
}

// exchange tries until there is a response, or no more is tried.
func (x *call) exchange() (*httpmsg.Response, error) {
	t := &x.first
	for {
		x.begun(t)
		resp, f := x.run(t)
		switch {
		case f.kind == noFailure && !x.againAfter(resp):
			if again := x.redirects(t, resp); again != nil {
				return nil, again
			}
			return x.deliver(t, resp)
		case f.kind != noFailure && !x.again(t, f):
			x.discard(t, nil, f)
			return x.fail(f)
		}
		x.discard(t, resp, f)
		if t, f = x.anew(f); f.kind != noFailure {
			return x.fail(f)
		}
	}
}

// discard ends a try whose result the client does not get.
func (x *call) discard(t *try, resp *httpmsg.Response, f failure) {
	x.log(t, f, resp, filter.UpstreamEnd)
	switch {
	case resp != nil:
		t.outcome(x.verdict(resp), nil)
		x.countTry(resp.Status)
	case f.kind != clientGone:
		t.outcome(0, f.reset())
		x.chargeTry(f)
	}
	if t.up != nil {
		x.measure(t, t.info.HTTP())
	}
	x.tried(t)
	t.finish()
}

// tried notes the host of a try for those that follow.
func (x *call) tried(t *try) {
	if x.retry != nil && !t.noted && t.info.Up.Host != nil {
		t.noted = true
		x.retry.tried = append(x.retry.tried, t.info.Up.Host)
	}
}

// run makes a try.
func (x *call) run(t *try) (*httpmsg.Response, failure) {
	if f := t.open(); f.kind != noFailure {
		return nil, f
	}
	if x.stream.Request.Body != nil {
		t.source = source{try: t, in: x.stream.Request.Body}
		if x.replay != nil {
			t.cursor = &cursor{replay: x.replay}
			t.source.in = t.cursor
		}
		t.body = &t.source
	}
	if x.router.config.LogOnPool {
		x.log(t, failure{}, nil, filter.UpstreamPoolReady)
	}
	if f := t.write(); f.kind != noFailure {
		// The host may have answered and left.
		if resp, g := t.read(); g.kind == noFailure {
			return resp, g
		}
		return nil, f
	}
	return t.read()
}

// inform passes an informational response on. From then on the client has a part of the
// answer, and there are no more tries.
func (x *call) inform(t *try, r *httpmsg.Response) error {
	if x.hedged { // another try may answer
		return nil
	}
	x.begins(t)
	x.count(r.Status, t.up.Host())
	return x.stream.Inform(r)
}

// begins notes that the client gets the answer of t, and returns when the request was
// complete, as in x.asked.
func (x *call) begins(t *try) (asked time.Duration) {
	x.mu.Lock()
	asked = x.asked
	x.answer.begun = true
	x.due[tryClock] = 0
	if x.answer.tunnel {
		x.due[idleClock] = 0
	}
	x.mu.Unlock()
	if x.replay != nil {
		x.replay.last()
	}
	return asked
}

// deliver hands the response of t on.
func (x *call) deliver(t *try, resp *httpmsg.Response) (*httpmsg.Response, error) {
	s, a := x.stream, &x.answer
	http := s.Info.HTTP()
	http.UpstreamFirstByte = x.now()
	asked := x.begins(t)
	t.outcome(x.verdict(resp), nil)
	out := s.NewResponse()
	out.Status, out.Phrase, out.Header = resp.Status, resp.Phrase, append(out.Header, resp.Header...)
	a.call, a.try, a.canary, a.head = x, t, canaryHeader(out.Header), out
	if a.tunnel {
		if reply, refused := x.accept(t, out); refused {
			return reply, nil
		}
	}
	s.Info.UpAttempts = uint32(x.tries)
	x.describe(out, asked)
	x.count(out.Status, t.up.Host())
	s.Info.More().Details = "via_upstream"
	if resp.Body == nil {
		a.ended(nil)
		return out, nil
	}
	a.body, out.Body = resp.Body, a
	return out, nil
}

// verdict is the status of a response as outlier detection takes it: gRPC says with 200
// what went wrong.
func (x *call) verdict(r *httpmsg.Response) int {
	if !x.grpc {
		return r.Status
	}
	n, err := strconv.Atoi(r.Header.Get("grpc-status"))
	if err != nil || n < 0 || n >= len(grpcStatus) {
		return r.Status
	}
	return grpcStatus[n]
}

// grpcStatus is what each status of gRPC is in HTTP.
var grpcStatus = [...]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}

// describe adds to a response what the router says of it.
func (x *call) describe(out *httpmsg.Response, asked time.Duration) {
	if asked != 0 && !x.router.config.Quiet {
		ms := (x.stream.Info.HTTP().UpstreamFirstByte - asked + 1).Milliseconds()
		out.Header.Set("x-envoy-upstream-service-time", strconv.FormatInt(max(ms, 0), 10))
	}
	for _, line := range x.cookies {
		out.Header.Add("set-cookie", line)
	}
	x.attempts(&out.Header)
	h := x.stream.Info.HTTP() // for values that print what comes
	h.Response, h.Code = out, out.Status
	x.route.ResponseHeaders.Apply(&out.Header, x.stream.Info)
}

// attempts adds the number of tries, where that is asked for.
func (x *call) attempts(h *httpmsg.Header) {
	if x.route.Host.AttemptCountInResponse {
		h.Set("x-envoy-attempt-count", strconv.Itoa(max(x.tries, 1)))
	}
}

// fail answers a call whose tries were in vain.
func (x *call) fail(f failure) (*httpmsg.Response, error) {
	if f.kind == clientGone {
		return nil, x.goneWhy()
	}
	x.charge(f)
	s := x.stream
	s.Info.UpAttempts = uint32(x.tries)
	started := x.answer.begun
	reply := f.reply(started, x.tries > 1, x.limits.status)
	if f.kind == wasReset && f.reason == httpmsg.Overflow {
		reply = x.overloaded(reply)
	}
	x.attempts(&reply.Header)
	if f.text != "" {
		s.Info.More().UpFailure = f.text
	}
	return s.Reply(reply), nil
}

// chargeTry counts what ended a try.
func (x *call) chargeTry(f failure) {
	switch f.kind {
	case routeTimeout:
		x.stats.timeout.Add(1)
	case tryTimeout:
		x.stats.tryTimeout.Add(1)
	case tryIdleTimeout:
		x.stats.tryIdle.Add(1)
	case streamTimeout:
		x.stats.maxDuration.Add(1)
	}
}

// charge counts a call that failed.
func (x *call) charge(f failure) {
	if x.answer.begun {
		if h := x.answer.head; x.grpc && (h == nil || !h.Header.Has("grpc-status")) { // Envoy counts no others
			x.router.stats.lateResets.Add(1)
		}
		return
	}
	x.count(f.reply(false, false, x.limits.status).Status, x.stream.Info.Up.Host)
}

// goneWhy is why the client's stream is over.
func (x *call) goneWhy() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone != nil {
		return x.gone
	}
	return &httpmsg.ResetError{Reason: httpmsg.LocalReset}
}

// finish ends a try whose response is not wanted, or did not come.
func (t *try) finish() {
	x := t.call
	if t.finished {
		return
	}
	t.finished = true
	x.mu.Lock()
	t.strike(superseded)
	x.due[tryClock], x.due[idleClock], x.due[streamClock] = 0, 0, 0
	x.mu.Unlock()
	if t.cursor != nil {
		t.cursor.end()
	}
	x.over(t)
	t.drop()
}
