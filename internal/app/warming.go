package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ginnel/ginnel/internal/admin"
	"github.com/ginnel/ginnel/internal/listener"
	"github.com/ginnel/ginnel/internal/plan"
)

// A warming listener, or a change of one, waits for what it has asked for by name: it takes
// its place when that has come, and what there is of its name goes on until then.
type warming struct {
	*step
	began time.Time
}

// needs is what the listener waits for.
func (s *step) needs() listener.Warming {
	if s.change != nil {
		return s.change.Warming()
	}
	return s.fresh.Warming()
}

// drop gives back what was built.
func (s *step) drop() {
	if s.change != nil {
		s.change.Drop()
	}
	if s.fresh != nil {
		s.fresh.Stop()
		s.fresh.Release()
	}
}

// await returns when all listeners that there are have what they asked for by name, or the
// proxy begins to stop. For that long the proxy is INITIALIZING; while clusters are waited
// for it is PRE_INITIALIZING (Envoy).
func (a *App) await(ctx context.Context) error {
	if a.state.CompareAndSwap(int32(PreInitializing), int32(Initializing)) {
		defer a.state.CompareAndSwap(int32(Initializing), int32(PreInitializing))
	}
	for _, e := range a.snapshot() {
		if err := e.listener.Warming().Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// postpone takes those listeners out of the update that have to wait, and leaves what there
// is of their names.
func (u *update) postpone() {
	u.steps = slices.DeleteFunc(u.steps, func(s *step) bool {
		if s.change == nil && s.fresh == nil || len(s.needs().Unready()) == 0 {
			return false
		}
		later := *s
		u.warms[s.plan.Info.Name] = &warming{&later, time.Now()}
		u.later = append(u.later, &later)
		if s.was == nil {
			return true
		}
		*s = step{plan: s.was.listener.Plan(), was: s.was}
		return false
	})
}

// clash looks for a new listener on an address that another one has for as long as what
// comes in its place has to wait. Connections would be split between the two.
func (u *update) clash() error {
	for name, w := range u.warms {
		if w.was == nil || w.fresh == nil {
			continue
		}
		for _, s := range slices.Concat(u.steps, u.later) {
			if s.fresh == nil || s.plan.Info.Name == name {
				continue
			}
			if addr := w.was.listener.Shares(s.fresh); addr != nil {
				return &listener.Error{Name: s.plan.Info.Name, Err: fmt.Errorf("%v is that of listener '%s' until the one that is to take its place has what it waits for", addr, name)}
			}
		}
	}
	return nil
}

// warm lets the listeners wait that have to, and forgets those that need not any more. The
// caller holds handling.
func (u *update) warm() {
	a := u.app
	a.mu.Lock()
	was := a.warming
	a.warming = u.warms
	a.mu.Unlock()
	a.server.warming.Add(int64(len(u.warms) - len(was)))
	has := make(map[string]*step)
	for _, s := range u.steps {
		has[s.plan.Info.Name] = s
	}
	for name, w := range was {
		if u.warms[name] == w || u.promotes == w {
			continue
		}
		w.drop()
		switch s := has[name]; {
		case u.warms[name] != nil:
		case s == nil && w.was == nil: // nothing else of it is removed
			a.server.removed.Add(1)
		case s != nil && s.same():
			a.server.modified.Add(1) // back to what there is (Envoy)
		}
	}
	for _, s := range u.later {
		u.count(s)
		w := u.warms[s.plan.Info.Name]
		a.tasks.Go(func() { a.promote(w) })
	}
}

// count counts that a listener is another one from now on, or will be.
func (u *update) count(s *step) {
	stats := u.app.server
	switch {
	case s.counted:
		return
	case s.was == nil && !s.warmed:
		stats.added.Add(1)
	default:
		stats.modified.Add(1)
	}
	if s.change != nil {
		stats.inPlace.Add(1)
	}
	s.counted = true
}

// promote puts a listener in its place when it need not wait any more.
func (a *App) promote(w *warming) {
	if w.needs().Wait(context.Background()) != nil {
		return
	}
	a.applying.Lock()
	defer a.applying.Unlock()
	name := w.plan.Info.Name
	if a.ended() || a.warming[name] != w {
		return
	}
	ctx, cancel := a.whileRunning(context.Background())
	defer cancel()
	u := &update{app: a, plan: a.plan.Load(), promotes: w}
	err := u.prepare(ctx)
	if err == nil {
		err = u.commit(ctx)
	} else {
		u.drop()
		if !slices.ContainsFunc(u.steps, func(s *step) bool { return s.plan == w.plan }) { // not come that far
			w.drop()
		}
	}
	if err == nil {
		return
	}
	a.log.Error(err.Error()+": what there was of it stays", "logger", "config")
	a.mu.Lock()
	delete(a.warming, name)
	a.mu.Unlock()
	a.server.warming.Add(-1)
}

// dropWarming forgets all listeners that wait, for the proxy ends.
func (a *App) dropWarming() {
	a.mu.Lock()
	was := a.warming
	a.warming = nil
	a.mu.Unlock()
	for _, w := range was {
		w.drop()
	}
}

// unready returns the listeners that wait, and for what.
func (a *App) unready() (out []admin.Unready) {
	add := func(l *plan.Listener, w listener.Warming) {
		if wants := w.Unready(); len(wants) > 0 {
			out = append(out, admin.Unready{Listener: l.Info.Name, Hash: l.Hash, Wants: wants})
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if State(a.state.Load()) == Initializing {
		for _, e := range a.listeners {
			add(e.listener.Plan(), e.listener.Warming())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.warming)) {
		w := a.warming[name]
		add(w.plan, w.needs())
	}
	return out
}
