package app

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/drain"
	"github.com/ginnel/ginnel/internal/listener"
)

// chainRemoved is why connections are closed to which the removal of their filter chain has
// left no more time (Envoy).
const chainRemoved = "filter_chain_is_being_removed"

// A scopeOfDrain is which listeners are drained.
type scopeOfDrain uint8

const (
	everything scopeOfDrain = iota
	inbound
)

// scopes is the number of them.
const scopes = 2

func (s scopeOfDrain) covers(l *filter.ListenerInfo) bool {
	return s == everything || l.Direction == corev3.TrafficDirection_INBOUND
}

// StopListeners makes listeners stop accepting, for good. Internal ones go on, but count as
// stopped (Envoy).
func (a *App) StopListeners(which scopeOfDrain) {
	a.handling.Lock()
	defer a.handling.Unlock()
	a.stops = append(a.stops, which)
	for _, e := range a.snapshot() {
		if which.covers(e.listener.Info()) && e.stop() {
			a.server.stopped.Add(1)
		}
	}
}

// stop reports whether there was anything to stop. The caller holds handling.
func (e *entry) stop() bool {
	if e.program {
		return false
	}
	if !e.listener.Plan().Internal {
		return e.listener.Stop()
	}
	was := e.stopped
	e.stopped = true
	return !was
}

// drain begins to drain listeners, whose connections are told to end, and stops them after
// the drain time if it is to. Asked again it does nothing (Envoy).
func (a *App) drain(which scopeOfDrain, stop bool) {
	a.handling.Lock()
	defer a.handling.Unlock()
	if a.ended() || a.drains[everything].Begun() || a.drains[which].Begun() {
		return
	}
	a.drainBegins(which)
	a.drains[which].Begin(a.drainPolicy())
	a.tasks.Go(func() {
		a.within(func() { <-a.stopping }, func(d time.Duration) { a.drainConns(which, d) })
		if stop && !a.ended() {
			a.StopListeners(which)
		}
	})
}

// drainConns asks connections of listeners to end in order, each at some moment within a
// time. TCP proxies do not (Envoy).
func (a *App) drainConns(which scopeOfDrain, within time.Duration) {
	for _, e := range a.snapshot() {
		if which.covers(e.listener.Info()) {
			e.listener.Drain(within)
		}
	}
}

func (a *App) drainBegins(which scopeOfDrain) {
	for _, e := range a.snapshot() {
		if which.covers(e.listener.Info()) {
			e.listener.DrainBegins()
		}
	}
}

// drainsFor reports whether a connection of a listener that asks is to end, for reasons that
// are not the listener's own.
func (a *App) drainsFor(l *filter.ListenerInfo) bool {
	return a.unhealthy.Load() && !l.ModifyOnly ||
		a.drains[everything].Decide() || inbound.covers(l) && a.drains[inbound].Decide()
}

func (a *App) drainPolicy() drain.Policy {
	return drain.Policy{Time: a.opts.DrainTime, AtOnce: a.opts.DrainAtOnce}
}

// drainAway ends a listener whose place is taken, or that is no more: it accepts nothing
// from now on, and its connections end within the drain time. Then nothing is left of it,
// at once if it has none. heir is the listener in its place, or nil. The caller holds
// handling, and has put it in a.draining.
func (a *App) drainAway(e *entry, heir *listener.Listener) {
	l := e.listener
	l.AcceptRest()
	l.StopFor(heir)
	a.server.draining.Add(1)
	l.Leave(a.drainPolicy())
	a.tasks.Go(func() {
		a.within(l.Wait, l.Drain)
		l.CloseConns(endReason(l))
		l.Wait()
		l.Release()
		a.server.draining.Add(-1)
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.draining, e)
	})
}

// drainChains does the same for filter chains that a listener no longer has. The caller
// holds handling.
func (a *App) drainChains(x *listener.Leaving) {
	n := int64(x.Chains())
	if n == 0 {
		return
	}
	a.server.chainsDraining.Add(n)
	x.Leave(a.drainPolicy())
	a.tasks.Go(func() {
		a.within(x.Wait, x.Drain)
		x.Close(chainRemoved)
		a.server.chainsDraining.Add(-n)
	})
}

// within returns when wait has, or the drain time is over, or the proxy stops. Who has not
// asked whether to end by half of that time, as idle connections of HTTP do not, is told to
// by drain, so that the end of the time surprises nobody (Envoy: everybody). Wait must
// return soon after the caller has closed what it waits for.
func (a *App) within(wait func(), drain func(time.Duration)) {
	idle := make(chan struct{})
	a.tasks.Go(func() {
		wait()
		close(idle)
	})
	limit, half := time.NewTimer(a.opts.DrainTime), time.NewTimer(a.opts.DrainTime/2)
	defer limit.Stop()
	defer half.Stop()
	for {
		select {
		case <-half.C:
			drain(a.opts.DrainTime / 4)
			continue
		case <-idle:
		case <-limit.C:
		case <-a.stopping:
		}
		return
	}
}
