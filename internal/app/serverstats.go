package app

import (
	"runtime/metrics"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// serverStats is server. and listener_manager. under Envoy's names.
type serverStats struct {
	added, removed, stopped, createSuccess, createFailure filter.Counter
	modified, inPlace                                     filter.Counter
	active, warming, draining, chainsDraining             filter.Gauge
	workersStarted                                        filter.Gauge
	hopLimit                                              filter.Counter
	initialization                                        filter.Histogram

	state, liveness, uptime, concurrency, total setter
	allocated, heap, physical                   setter
	samples                                     []metrics.Sample
}

type setter interface{ Set(uint64) }

func newServerStats(a *App) *serverStats {
	m, s := a.root.Scope("listener_manager."), a.store.Scope("server.")
	st := &serverStats{
		added: m.Counter("listener_added"), removed: m.Counter("listener_removed"),
		stopped:       m.Counter("listener_stopped"),
		createSuccess: m.Counter("listener_create_success"), createFailure: m.Counter("listener_create_failure"),
		modified: m.Counter("listener_modified"), inPlace: m.Counter("listener_in_place_updated"),
		warming: m.Gauge("total_listeners_warming"), draining: m.Gauge("total_listeners_draining"),
		chainsDraining: m.Gauge("total_filter_chains_draining"),
		active:         m.Gauge("total_listeners_active"), workersStarted: m.Gauge("workers_started"),
		hopLimit:       a.root.Scope("inproc.").Counter("hop_limit_exceeded"),
		initialization: scope{s}.Histogram("initialization_time_ms"),
		state:          s.Gauge("state"), liveness: s.Gauge("live"), uptime: s.Gauge("uptime"),
		concurrency: s.Gauge("concurrency"), total: s.Gauge("total_connections"),
		allocated: s.Gauge("memory_allocated"), heap: s.Gauge("memory_heap_size"), physical: s.Gauge("memory_physical_size"),
		samples: []metrics.Sample{
			{Name: "/memory/classes/heap/objects:bytes"},
			{Name: "/memory/classes/total:bytes"},
			{Name: "/memory/classes/heap/released:bytes"},
		},
	}
	m.Gauge("workers_pinned")
	for _, name := range []string{"debug_assertion_failures", "dropped_stat_flushes", "dynamic_unknown_fields",
		"envoy_bug_failures", "static_unknown_fields", "wip_protos"} {
		s.Counter(name)
	}
	for _, name := range []string{"hot_restart_epoch", "parent_connections", "stats_recent_lookups"} {
		s.Gauge(name)
	}
	s.Gauge("hot_restart_generation").Set(1)
	s.Gauge("days_until_first_cert_expiring").Set(1<<32 - 1) // there is none (Envoy)
	st.concurrency.Set(uint64(a.opts.Concurrency))
	return st
}

func (s *serverStats) live(a *App) {
	s.initialization.Record(uint64(time.Since(a.started).Milliseconds()))
	s.update(a)
}

// update sets what is not counted where it happens; it is called at each flush.
func (s *serverStats) update(a *App) {
	s.state.Set(uint64(a.State()))
	s.uptime.Set(uint64(time.Since(a.started).Seconds()))
	live := uint64(0)
	if a.State() == Live {
		live = 1
	}
	s.liveness.Set(live)
	s.total.Set(uint64(a.total.Load()))
	metrics.Read(s.samples)
	objects, all, released := s.samples[0].Value.Uint64(), s.samples[1].Value.Uint64(), s.samples[2].Value.Uint64()
	s.allocated.Set(objects)
	s.heap.Set(all)
	s.physical.Set(all - released)
}
