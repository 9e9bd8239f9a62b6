package router

import (
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A try is one attempt to have a request answered by a host.
type try struct {
	call     *call
	info     *filter.Info // what is known of it; the call's, but where several run at once
	up       filter.UpstreamStream
	body     httpmsg.Body // what is sent; nil: nothing
	wrote    bool         // the head was written
	settled  bool         // outlier detection knows what became of it
	finished bool         // its answer is not wanted any more
	noted    bool         // its host is among those that were tried
	request  filter.StreamRequest
	cluster  filter.HTTPCluster
	head     *httpmsg.Request // the request as it is sent
	source   source
	cursor   *cursor      // of the call's replay; nil: there is none
	moved    atomic.Int64 // when bytes last moved, since the call's start, or unasked

	// Functions that are passed on, made once.
	waiting func() <-chan struct{}
	waited  func()
	send    func()

	// Guarded by call.mu.
	why     failureKind   // ended from here; noFailure: it was not
	cancel  chan struct{} // closed with why; nil: nothing waits
	holders int           // goroutines that use up: the last one releases it
	sending bool
}

func (t *try) init(x *call) {
	t.call = x
	t.waiting, t.waited, t.send = t.parks, t.resumes, t.sends
}

// clear makes a try that is over as new.
func (t *try) clear() {
	cancel := t.cancel
	if t.why != noFailure { // it was closed
		cancel = nil
	}
	t.info, t.up, t.body, t.request, t.source, t.cursor, t.cluster, t.head = nil, nil, nil, filter.StreamRequest{}, source{}, nil, nil, nil
	t.noted, t.wrote, t.settled, t.finished, t.sending, t.why, t.holders = false, false, false, false, false, noFailure, 0
	t.cancel = cancel
}

// strike ends the try, whatever it waits for; the first reason counts. call.mu is held.
func (t *try) strike(why failureKind) {
	if t.why != noFailure {
		return
	}
	t.why = why
	if t.cancel != nil {
		close(t.cancel)
	}
	if t.up != nil {
		t.up.Reset(resetFor(why, t.call.gone))
	}
}

// resetFor is what the host is told. It sees a client that reset its stream as just that.
func resetFor(why failureKind, client *httpmsg.ResetError) *httpmsg.ResetError {
	if why == clientGone && client != nil {
		return &httpmsg.ResetError{Reason: httpmsg.LocalReset, Err: client}
	}
	return &httpmsg.ResetError{Reason: httpmsg.LocalReset}
}

// parks implements filter.StreamRequest.Waiting.
func (t *try) parks() <-chan struct{} {
	if !t.call.hedged { // others have goroutines of their own
		t.call.stream.Wait()
	}
	return t.waits()
}

// resumes implements filter.StreamRequest.Waited.
func (t *try) resumes() {
	if !t.call.hedged {
		t.call.stream.Resume()
	}
}

// waits returns a channel that is closed when the try is ended from here.
func (t *try) waits() <-chan struct{} {
	t.call.mu.Lock()
	defer t.call.mu.Unlock()
	if t.cancel == nil {
		t.cancel = make(chan struct{})
		if t.why != noFailure {
			close(t.cancel)
		}
	}
	return t.cancel
}

// begun makes t the next try.
func (x *call) begun(t *try) {
	x.tries++
	t.info, t.head = x.stream.Info, x.stream.Request
	t.ask()
	x.mu.Lock()
	x.live = append(x.live, t)
	if x.why != noFailure {
		t.strike(x.why)
	}
	x.mu.Unlock()
}

// over takes t from those that can be reset.
func (x *call) over(t *try) {
	x.mu.Lock()
	for i, l := range x.live {
		if l == t {
			x.live = append(x.live[:i], x.live[i+1:]...)
			break
		}
	}
	x.mu.Unlock()
}

// ask makes the request for a stream.
func (t *try) ask() {
	x, s := t.call, t.call.stream
	t.request = filter.StreamRequest{
		Info: t.info, Protocol: s.Info.HTTP().Protocol, High: x.action.High, Try: x.tries - 1,
		Hash: x.hash, Route: x.route.Metadata(), Waiting: t.waiting, Waited: t.waited,
		Match: criteria(x.action.Subset, s.Info.Metadata["envoy.lb"]),
	}
	if avoid := x.avoids(); avoid != nil {
		t.request.Avoid, t.request.AvoidTries = avoid, x.retry.policy.HostAttempts
	}
	if x.retry != nil && x.tries > 1 {
		t.request.Tried, t.request.TriedEvery = x.retry.tried, x.retry.policy.TriedEvery
	}
	t.cluster = x.cluster
}

// open gets a stream to a host.
func (t *try) open() failure {
	x := t.call
	open := t.cluster.Open
	if x.ends {
		open = t.dial
	}
	up, err := open(&t.request)
	if err != nil {
		return t.judge(err, connectFailure)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	t.up, t.holders = up, 1
	if t.why != noFailure {
		up.Reset(resetFor(t.why, x.gone))
		return failure{kind: t.why}
	}
	if d := x.limits.stream; d > 0 {
		now := x.now()
		x.arm(streamClock, now, now+d)
	}
	if x.asked != 0 || x.answer.tunnel {
		t.timed(x.now())
	}
	return failure{}
}

// timed starts the clocks of a try whose request is complete. call.mu is held.
func (t *try) timed(now time.Duration) {
	x := t.call
	if t.up == nil || x.answer.begun {
		return
	}
	if d := x.limits.try; d > 0 {
		x.arm(tryClock, now, now+d)
	}
	if d := x.limits.tryIdle; d > 0 {
		t.moved.Store(int64(now))
		x.arm(idleClock, now, now+d)
	}
}

// judge tells what an error means, which may just be what was asked for from here.
func (t *try) judge(err error, by func(error) failure) failure {
	t.call.mu.Lock()
	why := t.why
	t.call.mu.Unlock()
	if why != noFailure {
		return failure{kind: why}
	}
	return by(err)
}

// write sends the head of the request, and begins to send its body.
func (t *try) write() failure {
	x := t.call
	if x.action.AutoHost {
		x.nameHost(t.head, t.up.Host())
	}
	http := t.info.HTTP()
	if http.SchemeOfHost {
		t.head.Scheme = "http"
		if t.info.Rest().UpTLS != nil {
			t.head.Scheme = "https"
		}
	}
	if err := t.up.WriteRequest(t.head, t.body == nil); err != nil {
		return t.judge(err, resetFailure)
	}
	t.wrote = true
	if t.info.Shown { // it costs more than all the rest of this
		http.UpstreamFirstSent = x.now()
	}
	if t.body == nil {
		http.UpstreamLastSent = http.UpstreamFirstSent
	}
	// What follows may take any time: the host begins without it.
	if t.body == nil || x.answer.tunnel || !t.body.Ready() {
		if err := t.up.Flush(); err != nil {
			return t.judge(err, resetFailure)
		}
	}
	if t.body != nil && !x.answer.tunnel {
		t.pass()
	}
	return failure{}
}

// pass has the body sent by another goroutine.
func (t *try) pass() {
	x := t.call
	x.mu.Lock()
	t.holders++
	t.sending = true
	x.mu.Unlock()
	x.senders.Add(1)
	go t.send()
}

// sends is the goroutine that sends the body.
func (t *try) sends() {
	x := t.call
	_, read, err := httpmsg.Copy(t.up, t.body)
	x.mu.Lock()
	t.sending = false
	switch {
	case read:
		t.strike(clientGone) // what was read of the request will never be whole
	case err == nil && x.answer.whole && x.due[lingerClock] != 0:
		x.due[lingerClock] = 0
	}
	if err == nil {
		t.source.sent = x.now()
	}
	x.mu.Unlock()
	t.drop()
	x.senders.Done()
}

// read waits for the response.
func (t *try) read() (*httpmsg.Response, failure) {
	x := t.call
	for {
		r, err := t.await()
		if err != nil {
			return nil, t.judge(err, resetFailure)
		}
		if x.limits.tryIdle > 0 {
			t.moved.Store(int64(x.now()))
		}
		if !r.Informational() {
			return r, failure{}
		}
		if err := x.inform(t, r); err != nil {
			return nil, failure{kind: clientGone}
		}
	}
}

// await waits for a head. Tries of a race have goroutines of their own, which do not speak
// for the stream's.
func (t *try) await() (*httpmsg.Response, error) {
	if s := t.call.stream; !t.call.hedged {
		s.Wait()
		defer s.Resume()
	}
	return t.up.ReadResponse()
}

// drop gives up the use of t.up; the last one releases it.
func (t *try) drop() {
	x := t.call
	x.mu.Lock()
	t.holders--
	up := t.up
	if t.holders > 0 || up == nil {
		x.mu.Unlock()
		return
	}
	t.up = nil // nobody resets it from now on
	x.mu.Unlock()
	up.Release()
}

// outcome tells outlier detection what became of the try, once.
func (t *try) outcome(status int, why *httpmsg.ResetError) {
	t.call.mu.Lock()
	defer t.call.mu.Unlock()
	if t.up != nil && !t.settled {
		t.settled = true
		t.up.Outcome(status, why)
	}
}
