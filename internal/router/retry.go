package router

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// retries are what is left of a call's retry policy, with what the request's headers say
// over it.
type retries struct {
	policy  *route.RetryPolicy
	on      route.RetryOn // 0: nothing is tried again
	left    uint32
	codes   []int    // retriable beside the policy's
	headers []string // of responses, retriable by being there
	next    time.Duration
	limited time.Duration // what the last response asked for; 0: nothing
	done    func()        // gives back the retry that is under way; nil: none is
	tried   []*filter.Host
	off     bool // no more: what is kept of the request is not all of it. Guarded by call.mu
}

// noPolicy is what holds where only headers ask for retries.
var noPolicy = &route.RetryPolicy{
	Retries: 1, HostAttempts: 1, BackoffBase: 25 * time.Millisecond, BackoffMax: 250 * time.Millisecond,
}

// baseKey is the runtime's word on the back-off, and useKey that on retries at all.
const (
	baseKey = "upstream.base_retry_backoff_ms"
	useKey  = "upstream.use_retry"
)

// policy finds out what is tried again; nil: nothing. It takes the headers that say so
// from the request.
func (x *call) policy() *retries {
	h, p := &x.stream.Request.Header, x.policies.Retry
	if p == nil && !x.envoy && !x.hedged {
		return nil
	}
	r := &retries{policy: p}
	if p == nil {
		r.policy = noPolicy
	}
	r.on, r.left, r.next = r.policy.On, r.policy.Retries, r.policy.BackoffBase
	if x.envoy {
		r.read(*h)
	}
	if len(r.policy.RequestHeaders) > 0 && !x.fits(r.policy) {
		r.on = 0
	}
	if r.on != 0 && x.envoy {
		if n, err := strconv.ParseUint(h.Get("x-envoy-max-retries"), 10, 32); err == nil {
			r.left = uint32(n)
		}
	}
	if x.envoy {
		for _, name := range retryHeaders {
			h.Del(name)
		}
	}
	if r.on == 0 && !x.hedged {
		return nil
	}
	return r
}

// retryHeaders are for the router alone.
var retryHeaders = [...]string{
	"x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-max-retries", "x-envoy-hedge-on-per-try-timeout",
	"x-envoy-retriable-header-names", "x-envoy-retriable-status-codes",
}

// fits reports whether the policy wants this request tried again: one of its matchers is
// enough.
func (x *call) fits(p *route.RetryPolicy) bool {
	for i := range p.RequestHeaders {
		if p.RequestHeaders[i].Request(x.stream.Request) {
			return true
		}
	}
	return false
}

// read takes what the request asks for beside the policy.
func (r *retries) read(h httpmsg.Header) {
	on, _ := route.ParseRetryOn(h.Get("x-envoy-retry-on"))
	grpc, _ := route.ParseRetryGRPCOn(h.Get("x-envoy-retry-grpc-on"))
	r.on |= on | grpc
	for code := range strings.SplitSeq(h.Get("x-envoy-retriable-status-codes"), ",") {
		if n, err := strconv.Atoi(strings.TrimSpace(code)); err == nil {
			r.codes = append(r.codes, n)
		}
	}
	for name := range strings.SplitSeq(h.Get("x-envoy-retriable-header-names"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			r.headers = append(r.headers, strings.ToLower(name))
		}
	}
}

// wantsFailure reports whether a failure is one that is tried again; wrote tells that the
// head of the request had been written.
func (r *retries) wantsFailure(f failure, wrote bool) bool {
	reason := f.reason
	switch f.kind {
	case tryTimeout, tryIdleTimeout, streamTimeout:
		reason = httpmsg.LocalReset
	case wasReset:
	default:
		return false
	}
	switch reason {
	case httpmsg.Overflow:
		return false
	case httpmsg.LocalConnectionFailure, httpmsg.RemoteConnectionFailure, httpmsg.ConnectionTimeout:
		if r.on&route.OnConnectFailure != 0 {
			return true
		}
	case httpmsg.RemoteRefused:
		if r.on&route.OnRefusedStream != 0 {
			return true
		}
	}
	return r.on&(route.On5xx|route.OnGatewayError|route.OnReset) != 0 || r.on&route.OnResetBeforeRequest != 0 && !wrote
}

// wantsResponse reports whether a response is one that is tried again.
func (r *retries) wantsResponse(p *httpmsg.Response) bool {
	if p.Header.Has("x-envoy-ratelimited") { // another proxy's limit
		return r.on&route.OnEnvoyRateLimited != 0
	}
	s := p.Status
	return r.on&route.On5xx != 0 && s >= 500 && s < 600 ||
		r.on&route.OnGatewayError != 0 && s >= 502 && s <= 504 ||
		r.on&route.OnRetriable4xx != 0 && s == 409 ||
		r.on&route.OnRetriableStatusCodes != 0 && (slices.Contains(r.policy.StatusCodes, s) || slices.Contains(r.codes, s)) ||
		r.on&route.OnRetriableHeaders != 0 && r.wantsHeaders(p) ||
		r.on&grpcCodes(p.Header) != 0
}

func (r *retries) wantsHeaders(p *httpmsg.Response) bool {
	for i := range r.policy.Headers {
		if r.policy.Headers[i].Response(p) {
			return true
		}
	}
	return slices.ContainsFunc(r.headers, p.Header.Has)
}

// grpcCodes is what the status of gRPC in the head of a response can be tried again for.
func grpcCodes(h httpmsg.Header) route.RetryOn {
	switch h.Get("grpc-status") {
	case "1":
		return route.OnGRPCCancelled
	case "4":
		return route.OnGRPCDeadlineExceeded
	case "8":
		return route.OnGRPCResourceExhausted
	case "13":
		return route.OnGRPCInternal
	case "14":
		return route.OnGRPCUnavailable
	}
	return 0
}

// wait returns how long to wait before the next try: what the response asked for and up
// to half as much again, or a random part of a time that doubles.
func (r *retries) wait(random func(n int64) int64) (d time.Duration, limited bool) {
	if d = r.limited; d > 0 {
		r.limited = 0
		return d + time.Duration(random(int64(d)/2+1)), true
	}
	most := r.next
	r.next = min(2*r.next, r.policy.BackoffMax)
	return time.Duration(random(int64(most))), false
}

// limit reads when a response that is tried again wants that; now is the time of day.
func (r *retries) limit(p *httpmsg.Response, now time.Time) {
	r.limited = 0
	for _, h := range r.policy.Reset {
		n, err := strconv.ParseInt(p.Header.Get(h.Name), 10, 64)
		if err != nil || n < 0 {
			continue
		}
		if h.Unix {
			n -= now.Unix()
		}
		if d := time.Duration(min(n, int64(24*time.Hour/time.Second))) * time.Second; d > 0 && d <= r.policy.ResetMax {
			r.limited = d
			return
		}
	}
}

// again decides whether t, which failed, is followed by another try; where that would be
// wanted but may not be, the flags say why.
func (x *call) again(t *try, f failure) bool {
	r := x.retry
	return r != nil && !x.final() && x.may(r.wantsFailure(f, t.wrote))
}

// againAfter decides the same of a response.
func (x *call) againAfter(resp *httpmsg.Response) bool {
	r := x.retry
	if r == nil || x.final() {
		return false
	}
	wanted := r.wantsResponse(resp)
	if wanted {
		r.limit(resp, time.Now())
	}
	return x.may(wanted)
}

// final reports whether it is too late for another try.
func (x *call) final() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.answer.begun || x.retry.off || x.why != noFailure
}

// may takes one of the retries that are left, and one of those that the cluster has room
// for.
func (x *call) may(wanted bool) bool {
	r, s := x.retry, x.stats
	if r.done != nil {
		if !wanted {
			s.success.Add(1)
		}
		r.done()
		r.done = nil
	}
	if !wanted {
		return false
	}
	if r.left == 0 {
		s.retryLimit.Add(1)
		x.stream.Info.Raise(filter.UpstreamRetryLimitExceeded)
		return false
	}
	r.left--
	done, ok := x.cluster.Retry(x.action.High)
	if !ok {
		s.overflow.Add(1)
		x.stream.Info.Raise(filter.UpstreamOverflow)
		return false
	}
	if rt := x.router.env.Runtime; rt != nil && !rt.Enabled(useKey, 1_000_000) {
		done()
		return false
	}
	r.done = done
	s.retry.Add(1)
	return true
}

// backOff waits before the next try; a failure ends the call.
func (x *call) backOff() failure {
	d := x.pause()
	if d <= 0 {
		return failure{kind: x.struck()}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	x.stream.Wait()
	defer x.stream.Resume()
	select {
	case <-timer.C:
		return failure{}
	case <-x.waits():
		return failure{kind: x.struck()}
	}
}

// spill is called when the request is too large to be kept: the try that is under way is
// the last. Where there is none, because the next one still waits, that was it.
func (x *call) spill() {
	x.stats.abandoned.Add(1)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.retry != nil {
		x.retry.off = true
	}
	if len(x.live) == 0 {
		x.strike(bodyTooLarge)
	}
}

// anew makes the next try, after one that brought last.
func (x *call) anew(last failure) (*try, failure) {
	if f := x.backOff(); f.kind != noFailure {
		return nil, f
	}
	return x.renew(last)
}

// pause is how long to wait before the next try.
func (x *call) pause() time.Duration {
	d, limited := x.retry.wait(x.router.random)
	if limited {
		x.stats.limited.Add(1)
	} else {
		x.stats.exponential.Add(1)
	}
	return d
}

// renew prepares the request for its next try.
func (x *call) renew(last failure) (*try, failure) {
	c, ok := x.router.cluster(x.action, x.stream.Request)
	if !ok { // it went away in the meantime
		return nil, failure{kind: noHost}
	}
	x.cluster = c
	h := &x.stream.Request.Header
	if x.route.Host.AttemptCount {
		h.Set("x-envoy-attempt-count", strconv.Itoa(x.tries+1))
	}
	if x.route.Host.TimeoutRetryHeader {
		h.Set("x-envoy-is-timeout-retry", strconv.FormatBool(last.kind == tryTimeout || last.kind == tryIdleTimeout))
	}
	x.mu.Lock()
	since := time.Duration(0)
	if x.asked != 0 {
		since = x.now() - x.asked + 1
	}
	x.mu.Unlock()
	x.expect(since)
	t := &try{}
	t.init(x)
	return t, failure{}
}

// avoids returns what is against a host for a retry; nil: nothing is.
func (x *call) avoids() func(*filter.Host) bool {
	r := x.retry
	if r == nil || x.tries < 2 || !r.policy.Selective() {
		return nil
	}
	return func(h *filter.Host) bool { return r.policy.Avoid(h, r.tried) }
}
