package router

import (
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// hedges reports whether a try that runs into its per-try timeout is left alive while
// another one is made.
func (x *call) hedges() bool {
	on := x.action.Hedge.OnPerTryTimeout
	if x.envoy {
		switch x.stream.Request.Header.Get("x-envoy-hedge-on-per-try-timeout") {
		case "true":
			on = true
		case "false":
			on = false
		}
	}
	return on
}

// A race is several tries of a call beside each other, each in a goroutine of its own.
// What is not said to be otherwise belongs to the goroutine of the stream.
type race struct {
	call    *call
	results chan raced
	over    chan struct{} // closed: nobody takes results any more
	pause   <-chan time.Time
	last    *try // the latest one
	running int
	retried map[*try]bool // those that another one was begun for
}

// A raced try is one that has come to a result.
type raced struct {
	try  *try
	resp *httpmsg.Response
	f    failure
}

// race answers the request as exchange does, but for tries that are slow: those go on,
// with another one beside them, and the first good answer counts.
func (x *call) race() (*httpmsg.Response, error) {
	r := &race{call: x, results: make(chan raced), over: make(chan struct{}), retried: make(map[*try]bool)}
	defer close(r.over)
	r.start(&x.first)
	gone := x.waits()
	for {
		x.stream.Wait()
		select {
		case o := <-r.results:
			x.stream.Resume()
			r.running--
			if resp, err, done := r.judge(o); done {
				return resp, err
			}
		case <-x.slow:
			x.stream.Resume()
			r.hedge()
		case <-r.pause:
			x.stream.Resume()
			r.pause = nil
			t, f := x.renew(failure{kind: tryTimeout})
			if f.kind != noFailure {
				return r.lose(f)
			}
			r.start(t)
		case <-gone:
			x.stream.Resume()
			return r.lose(failure{kind: x.struck()})
		}
	}
}

// start begins a try, with a copy of all that several would write to.
func (r *race) start(t *try) {
	x := r.call
	x.mu.Lock()
	x.due[tryClock] = 0 // it was the last one's
	x.mu.Unlock()
	select {
	case <-x.slow:
	default:
	}
	x.begun(t)
	t.part()
	r.last = t
	r.running++
	x.senders.Add(1)
	go func() {
		defer x.senders.Done()
		resp, f := x.run(t)
		select {
		case r.results <- raced{t, resp, f}:
		case <-r.over:
			t.finish()
		}
	}()
}

// part gives a try its own Info and request.
func (t *try) part() {
	i, h, e := *t.info, *t.info.HTTP(), *t.info.Rest()
	e.HTTP, i.Extra = &h, &e
	t.info, t.request.Info = &i, &i
	head := *t.head
	head.Header = head.Header.Clone()
	t.head = &head
}

// judge decides what a result means for the call.
func (r *race) judge(o raced) (resp *httpmsg.Response, err error, done bool) {
	x := r.call
	bad := o.f.kind != noFailure
	if x.retry != nil && !bad {
		bad = x.retry.wantsResponse(o.resp)
	}
	switch {
	case !bad:
		resp, err = r.win(o)
		return resp, err, true
	case !r.retried[o.try] && r.again(o):
		r.retried[o.try] = true
		r.pause = time.After(x.pause())
	case r.running == 0 && r.pause == nil && o.f.kind == noFailure:
		resp, err = r.win(o)
		return resp, err, true
	case r.running == 0 && r.pause == nil:
		x.join(o.try)
		x.discard(o.try, nil, o.f)
		resp, err = r.lose(o.f)
		return resp, err, true
	}
	x.discard(o.try, o.resp, o.f)
	return nil, nil, false
}

func (r *race) again(o raced) bool {
	if o.f.kind != noFailure {
		return r.call.again(o.try, o.f)
	}
	return r.call.againAfter(o.resp)
}

// hedge begins another try beside one that is slow.
func (r *race) hedge() {
	x := r.call
	if x.retry == nil || r.retried[r.last] || x.final() {
		return
	}
	r.last.outcome(0, &httpmsg.ResetError{Reason: httpmsg.ConnectionTimeout})
	if x.may(true) {
		x.tried(r.last)
		r.retried[r.last] = true
		r.pause = time.After(x.pause())
	}
}

// win ends all tries but one, and passes its response on.
func (r *race) win(o raced) (*httpmsg.Response, error) {
	x := r.call
	r.stop(o.try)
	x.join(o.try)
	if again := x.redirects(o.try, o.resp); again != nil {
		return nil, again
	}
	return x.deliver(o.try, o.resp)
}

// lose ends all tries.
func (r *race) lose(f failure) (*httpmsg.Response, error) {
	r.stop(nil)
	for ; r.running > 0; r.running-- {
		o := <-r.results
		r.call.join(o.try)
		r.call.discard(o.try, o.resp, o.f)
	}
	return r.call.fail(f)
}

// stop ends all tries but one.
func (r *race) stop(but *try) {
	x := r.call
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.live {
		if t != but {
			t.strike(superseded)
		}
	}
}

// join makes what is known of a try known of the call.
func (x *call) join(t *try) {
	i, h := x.stream.Info, x.stream.Info.HTTP()
	own := t.info.HTTP()
	i.Up, i.UpAttempts, i.Metadata = t.info.Up, uint32(x.tries), t.info.Metadata
	if e := t.info.Rest(); e.UpState != nil || e.UpFailure != "" {
		i.More().UpState, i.More().UpFailure = e.UpState, e.UpFailure
	}
	h.UpProtocol, h.PoolReady, h.UpstreamFirstSent = own.UpProtocol, own.PoolReady, own.UpstreamFirstSent
	h.UpstreamLastSent = own.UpstreamLastSent
	if x.retry != nil && len(x.retry.tried) > 0 {
		x.tried(t)
		i.More().UpTried = x.retry.tried
	}
}
