package tcpproxy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ginnel/ginnel/filter"
)

var (
	errClosing   = errors.New("the listener is closing")
	errNoCluster = errors.New("no such cluster")
)

// connect tries the cluster's hosts until one is connected, or the attempts or the
// time are used up. On nil h.up is set; if its stream is nil the connection was
// handed over.
func (h *hop) connect(t target) error {
	r := requests.Get().(*filter.ConnectRequest)
	*r = filter.ConnectRequest{
		Info: &h.conn.Info, Hop: h, Hash: h.proxy.hash(&h.conn.Info),
		Match: t.match, Route: t.route,
	}
	defer func() {
		*r = filter.ConnectRequest{}
		requests.Put(r)
	}()
	tunnels := h.proxy.tunnels(&h.conn.Info)
	if h.mayHandOver() {
		r.Stream, r.Outer = h.conn.Stream, h
	}
	for attempt := uint32(1); ; attempt++ {
		err := h.attempt(t, r, tunnels)
		if err == nil || !worthRetrying(err) {
			return err
		}
		if h.expired() {
			if tunnels { // as Envoy has it
				h.conn.Info.Raise(filter.UpstreamConnectionFailure)
			}
			return err
		}
		if hostFailed(err) {
			h.conn.Info.Raise(filter.UpstreamConnectionFailure)
		}
		if attempt >= h.proxy.config.MaxAttempts {
			t.cluster.AttemptsExceeded()
			h.conn.Info.Raise(filter.UpstreamRetryLimitExceeded)
			return err
		}
		if err := h.backOff(attempt); err != nil {
			return err
		}
		if len(h.proxy.config.Weighted) > 0 {
			if again, ok := h.proxy.route(h.conn); ok {
				t = again
				r.Match, r.Route = t.match, t.route
			}
		}
	}
}

func (h *hop) attempt(t target, r *filter.ConnectRequest, tunnels bool) error {
	if tunnels {
		return h.openTunnel(t)
	}
	return t.cluster.Connect(r)
}

// requests saves each hop of a handed-over chain the making of one: a cluster keeps
// none beyond Connect.
var requests = sync.Pool{New: func() any { return new(filter.ConnectRequest) }}

// mayHandOver reports whether the stream can be passed on as it is: what still has
// to look at the first bytes runs in this hop's own pump.
func (h *hop) mayHandOver() bool { return !h.conn.AwaitsData() }

// The reasons are compared, not looked for: a refusal wraps what hops further in were
// refused for.
func worthRetrying(err error) bool {
	return err != filter.ErrNoHost && err != filter.ErrOverflow && err != filter.ErrCanceled
}

// hostFailed reports whether it was the host that a connection could not be made to,
// rather than something on this side.
func hostFailed(err error) bool {
	var c *filter.ConnectError
	return err != filter.ErrPendingOverflow && !(errors.As(err, &c) && c.Local)
}

// backOff waits before the next attempt; without a configured back-off there is no
// wait.
func (h *hop) backOff(attempt uint32) error {
	base, limit := h.proxy.config.BackoffBase, h.proxy.config.BackoffMax
	if base == 0 {
		return nil
	}
	if n := min(attempt-1, 30); base<<n>>n == base && base<<n < limit {
		limit = base << n
	}
	wait := time.NewTimer(time.Duration(rand.Int64N(int64(limit)) + 1))
	defer wait.Stop()
	var late <-chan time.Time
	if d := h.Deadline(); !d.IsZero() {
		t := time.NewTimer(time.Until(d))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-wait.C:
		return nil
	case <-late:
		return filter.ErrConnectTimeout
	case <-h.Waiting():
		return filter.ErrCanceled
	}
}

// Waiting implements filter.Hop: nobody pumps yet, so it is the attempt that the
// hops of the chain can end.
func (h *hop) Waiting() <-chan struct{} {
	h.conn.Accept()
	if a, ok := h.server.(*attempt); ok { // only this goroutine sets it before a pump does
		return a.cancel
	}
	a := &attempt{cancel: make(chan struct{})}
	for o := filter.Outer(h); o != nil; o = o.Outer() {
		o.Serves(a)
	}
	if s, ok := h.conn.Stream.(interface{ OnPeerGone(func(reset bool)) }); ok {
		s.OnPeerGone(a.peerGone)
	}
	h.watch(a)
	return a.cancel
}

// watch notices a client that goes away meanwhile, which nobody reads from. One that
// only ends its direction may have said all it has to say, and waits for the answer; but
// a tunnel may be answered after any time, so there it is let go if that was nothing.
func (h *hop) watch(a *attempt) {
	if h.proxy.env.Hangups == nil {
		return
	}
	s, tunnels := h.conn.Stream, h.proxy.tunnels(&h.conn.Info)
	stop := h.proxy.env.Hangups.Watch(s, func() {
		switch gone, reset := left(s); {
		case reset:
			a.peerGone(true)
		case gone && tunnels:
			a.peerGone(false)
		}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stop = stop
}

// unwatch ends the watch of who no longer stands for the pump.
func unwatch(p filter.Pump) {
	if a, ok := p.(*attempt); ok {
		a.mu.Lock()
		stop := a.stop
		a.stop = nil
		a.mu.Unlock()
		if stop != nil {
			stop()
		}
	}
}

// left reports whether the peer of s has ended, with nothing left to be read, or has
// reset it.
func left(s filter.Stream) (gone, reset bool) {
	p, ok := s.(interface{ Ended() (gone, reset bool) })
	if !ok {
		return false, false
	}
	return p.Ended()
}

// Blocks implements filter.Hop; for a hop further in it is Outer's.
func (h *hop) Blocks() { h.conn.Blocks() }

// Connected implements filter.Hop.
func (h *hop) Connected(u filter.UpstreamConn) {
	h.up = u
	if h.proxy.config.LogOnConnected {
		h.log(filter.TCPUpstreamConnected)
	}
	h.conn.Connected()
}

// An attempt stands for the pump while a connection is still being made: it takes
// the calls that end it.
type attempt struct {
	cancel chan struct{}

	mu     sync.Mutex
	stop   func() // watching the client; nil: nobody does
	ended  bool
	at     filter.Outer // nil: the downstream peer is gone
	ending filter.Ending
}

// Settle implements filter.Pump.
func (*attempt) Settle() {}

// CloseLocal implements filter.Pump.
func (a *attempt) CloseLocal(at filter.Outer, reason string) {
	a.end(at, filter.Ending{Cause: filter.LocalClose, Reason: reason})
}

func (a *attempt) peerGone(reset bool) {
	if reset {
		a.end(nil, filter.Ending{Cause: filter.DownstreamReset})
	} else {
		a.end(nil, filter.Ending{Cause: filter.DownstreamClosed})
	}
}

func (a *attempt) end(at filter.Outer, e filter.Ending) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.ended, a.at, a.ending = true, at, e
		close(a.cancel)
	}
}

// fail ends the connection for want of an upstream. Before it was accepted that is a
// refusal, which the dialler is told by the error; later it is a close, which all
// hops further out see as their upstream's.
func (h *hop) fail(err error) error {
	at, e := h.verdict(err)
	c := h.conn
	refused, own := !c.Accepted(), c.Outer == nil
	if own || !refused {
		filter.CloseFor(c.Stream, e.Why)
	}
	if refused {
		h.Ended(e)
		return &refusal{err, h.up == nil && c.Info.Up.Host != nil}
	}
	settle(h, at, e)
	return nil
}

// verdict says which hop ended the connection, and how, when connecting failed.
func (h *hop) verdict(err error) (filter.Outer, filter.Ending) {
	i := &h.conn.Info
	if a, ok := h.server.(*attempt); ok && err == filter.ErrCanceled {
		return a.at, a.ending
	}
	if at, e := h.whoExpired(time.Now()); at != nil {
		return at, e
	}
	if gone, ok := err.(goneError); ok {
		return nil, filter.Ending{Cause: gone.cause}
	}
	code := 0
	switch err {
	case errClosing:
		return h, filter.Ending{Cause: filter.LocalClose, Reason: h.conn.Closing()}
	case errNoCluster:
		h.proxy.stats.noRoute.Add(1)
		i.Raise(filter.NoClusterFound)
		code = 3
	case filter.ErrNoHost:
		i.Raise(filter.NoHealthyUpstream)
		code = 1
	case filter.ErrOverflow:
		i.Raise(filter.UpstreamOverflow)
		code = 2
	}
	// The spelling is Envoy's.
	return h, filter.Ending{Cause: filter.LocalClose, Reason: fmt.Sprintf("tcp_initializion_failure:%d", code), Why: err}
}

// A refusal is why a hop did not accept. It is late when a host had been chosen and
// refused in its turn.
type refusal struct {
	err  error
	late bool
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }
func (r *refusal) Late() bool    { return r.late }

// settle ends all hops, inner to outer, of a connection that no pump serves.
func settle(inner, at filter.Outer, e filter.Ending) {
	view := e
	if at != nil {
		view = filter.Ending{Cause: filter.DownstreamClosed}
	}
	for o := inner; o != nil; {
		next := o.Outer()
		if o == at {
			o.Ended(e)
			view = filter.Ending{Cause: filter.UpstreamClosed, Why: e.Why}
		} else {
			o.Ended(view)
		}
		o = next
	}
}

// Deadline implements filter.Hop: the first moment at which a limit of a hop of the
// chain strikes.
func (h *hop) Deadline() (first time.Time) {
	for o := filter.Outer(h); o != nil; o = o.Outer() {
		if at, _ := strikes(o.Limits()); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (h *hop) expired() bool {
	at, _ := h.whoExpired(time.Now())
	return at != nil
}

func (h *hop) whoExpired(now time.Time) (filter.Outer, filter.Ending) {
	for o := filter.Outer(h); o != nil; o = o.Outer() {
		if at, cause := strikes(o.Limits()); !at.IsZero() && !at.After(now) {
			return o, filter.Ending{Cause: cause}
		}
	}
	return nil, filter.Ending{}
}

// strikes says when limits end a connection on which nothing moves.
func strikes(l filter.Limits) (at time.Time, cause filter.Cause) {
	at, cause = l.Deadline, filter.DurationReached
	if l.Idle > 0 {
		if idle := l.IdleSince.Add(l.Idle); at.IsZero() || idle.Before(at) {
			return idle, filter.IdleTimeout
		}
	}
	return at, cause
}

// A goneError is a client that left without a byte.
type goneError struct{ cause filter.Cause }

func (goneError) Error() string { return "the client is gone" }

// awaitData delays connecting until the client has sent something, where the
// configuration says so. A client that ends without a byte is let go (Envoy keeps it
// until the idle timeout).
func (h *hop) awaitData() error {
	if h.proxy.config.Mode == Immediate {
		return nil
	}
	p, err := h.peek()
	switch {
	case len(p) > 0:
		h.proxy.stats.early.Add(1)
		return nil
	case err == filter.ErrCanceled:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return filter.ErrConnectTimeout
	case errors.Is(err, syscall.ECONNRESET):
		return goneError{filter.DownstreamReset}
	}
	return goneError{filter.DownstreamClosed}
}

// peek waits for the client's first byte, until a limit of the chain strikes or the
// connection is ended from outside.
func (h *hop) peek() ([]byte, error) {
	s, cancel := h.conn.Stream, h.Waiting()
	if err := s.SetReadDeadline(h.Deadline()); err != nil {
		return nil, err
	}
	defer s.SetReadDeadline(time.Time{})
	seen := make(chan struct{})
	var watch sync.WaitGroup
	canceled := false
	watch.Go(func() {
		select {
		case <-cancel:
			canceled = true
			s.SetReadDeadline(time.Unix(1, 0))
		case <-seen:
		}
	})
	p, err := filter.PeekUntil(s, 1, time.Time{})
	close(seen)
	watch.Wait()
	if canceled && len(p) == 0 {
		err = filter.ErrCanceled
	}
	return p, err
}
