package app

import (
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/accesslog"
)

// State is the server's state; the numbers are those of admin.v3.ServerInfo.
type State int32

// The states.
const (
	Live State = iota
	Draining
	PreInitializing
	Initializing
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
func (a *App) FailHealth(fail bool) { a.unhealthy.Store(fail) }

// serverStats is server. and listener_manager. under Envoy's names.
type serverStats struct {
	added, removed, stopped, createSuccess, createFailure filter.Counter
	active, workersStarted                                filter.Gauge
	state, liveness, uptime, concurrency                  interface{ Set(uint64) }
	initialization                                        filter.Histogram
	hopLimit                                              filter.Counter
}

func newServerStats(a *App) *serverStats {
	m, s := a.root.Scope("listener_manager."), a.store.Scope("server.")
	st := &serverStats{
		added: m.Counter("listener_added"), removed: m.Counter("listener_removed"),
		stopped:       m.Counter("listener_stopped"),
		createSuccess: m.Counter("listener_create_success"), createFailure: m.Counter("listener_create_failure"),
		active: m.Gauge("total_listeners_active"), workersStarted: m.Gauge("workers_started"),
		state: s.Gauge("state"), liveness: s.Gauge("live"), uptime: s.Gauge("uptime"), concurrency: s.Gauge("concurrency"),
		initialization: scope{s}.Histogram("initialization_time_ms"),
		hopLimit:       a.root.Scope("inproc.").Counter("hop_limit_exceeded"),
	}
	for _, name := range []string{"listener_modified", "listener_in_place_updated"} {
		m.Counter(name)
	}
	for _, name := range []string{"total_filter_chains_draining", "total_listeners_draining", "total_listeners_warming"} {
		m.Gauge(name)
	}
	st.concurrency.Set(uint64(a.opts.Concurrency))
	return st
}

func (s *serverStats) live(a *App) {
	s.initialization.Record(uint64(time.Since(a.started).Milliseconds()))
	s.update(a)
}

func (s *serverStats) update(a *App) {
	s.state.Set(uint64(a.State()))
	s.uptime.Set(uint64(time.Since(a.started).Seconds()))
	live := uint64(0)
	if a.State() == Live {
		live = 1
	}
	s.liveness.Set(live)
}

// flushStats ends the statistics' interval again and again.
func (a *App) flushStats() {
	every := a.plan.FlushStatsEvery
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
