package app

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/listener"
)

// Why connections are closed that a removal has left no more time.
const (
	listenerRemoved = "listener_removed"
	chainRemoved    = "filter_chain_is_being_removed" // Envoy
)

// A scopeOfDrain is which listeners are drained.
type scopeOfDrain uint8

const (
	everything scopeOfDrain = iota
	inbound
)

func (s scopeOfDrain) covers(l *filter.ListenerInfo) bool {
	return s == everything || l.Direction == corev3.TrafficDirection_INBOUND
}

// StopListeners makes listeners stop accepting, for good. Internal ones go on (Envoy:
// they accept until the end of the drain).
func (a *App) StopListeners(which scopeOfDrain) {
	a.handling.Lock()
	defer a.handling.Unlock()
	a.stops = append(a.stops, which)
	for _, e := range a.snapshot() {
		if !e.listener.Plan().Internal && which.covers(e.listener.Info()) && e.listener.Stop() {
			a.server.stopped.Add(1)
		}
	}
}

// stopLater stops listeners after the drain time. Asked again meanwhile it does nothing
// (Envoy).
func (a *App) stopLater(which scopeOfDrain) {
	a.handling.Lock()
	defer a.handling.Unlock()
	if a.ended() || a.drains {
		return
	}
	a.drains = true
	a.tasks.Go(func() {
		after := time.NewTimer(a.opts.DrainTime)
		defer after.Stop()
		select {
		case <-after.C:
			a.StopListeners(which)
		case <-a.stopping:
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

// drainAway ends a listener whose place is taken, or that is no more: it accepts nothing
// from now on, and its connections end within the drain time. Then nothing is left of it,
// at once if it has none. heir is the listener in its place, or nil. The caller holds
// handling, and has put it in a.draining.
func (a *App) drainAway(e *entry, heir *listener.Listener) {
	l := e.listener
	l.AcceptRest()
	l.StopFor(heir)
	a.server.draining.Add(1)
	l.Drain(a.spread())
	a.tasks.Go(func() {
		a.within(l.Wait)
		l.CloseConns(listenerRemoved)
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
	x.Drain(a.spread())
	a.tasks.Go(func() {
		a.within(x.Wait)
		x.Close(chainRemoved)
		a.server.chainsDraining.Add(-n)
	})
}

// spread is the time over which connections are asked to end.
func (a *App) spread() time.Duration {
	if a.opts.DrainAtOnce {
		return 0
	}
	return a.opts.DrainTime
}

// within returns when wait has, or the drain time is over, or the proxy stops. Wait must
// return soon after the caller has closed what it waits for.
func (a *App) within(wait func()) {
	idle := make(chan struct{})
	a.tasks.Go(func() {
		wait()
		close(idle)
	})
	limit := time.NewTimer(a.opts.DrainTime)
	defer limit.Stop()
	select {
	case <-idle:
	case <-limit.C:
	case <-a.stopping:
	}
}
