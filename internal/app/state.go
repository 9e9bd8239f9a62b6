package app

import (
	"time"

	"github.com/ginnel/ginnel/internal/accesslog"
)

// State is the server's state; the numbers are those of admin.v3.ServerInfo.
type State int32

// The states.
const (
	Live State = iota
	Draining
	PreInitializing // not started, or clusters are waited for
	Initializing    // listeners wait for what they asked for by name
)

func (s State) String() string {
	return [...]string{"LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING"}[s]
}

// State returns the state now.
func (a *App) State() State {
	s := State(a.state.Load())
	if s == Live && a.unhealthy.Load() {
		return Draining
	}
	return s
}

// FailHealth makes a live proxy say DRAINING, or takes that back.
func (a *App) FailHealth(fail bool) {
	if fail {
		a.drainBegins(everything)
	}
	a.unhealthy.Store(fail)
}

// flushStats ends the statistics' interval again and again.
func (a *App) flushStats() {
	every := a.plan.Load().FlushStatsEvery
	if every <= 0 {
		every = 5 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.server.update(a)
			a.store.Flush()
		case <-a.stopping:
			return
		}
	}
}

func (a *App) logOptions() accesslog.Options {
	return accesslog.Options{FlushEvery: a.opts.LogFlushEvery, FlushBytes: a.opts.LogFlushBytes, Stats: a.root, Log: a.log}
}
