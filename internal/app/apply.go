package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ginnel/ginnel/internal/listener"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/upstream"
)

// ErrNotLive is why a proxy that has not been started takes no other configuration.
var ErrNotLive = errors.New("the proxy has not been started")

// Why a listener cannot be applied.
var (
	errReusePort        = errors.New("reuse port cannot be changed during an update")
	errServed           = errors.New("the Go program serves this name")
	errDirectionStopped = errors.New("listeners of its traffic direction were stopped by /drain_listeners")
)

// A FixedError says that parts of a configuration cannot change while the proxy runs.
type FixedError struct{ Fields []string } // of the bootstrap

func (e *FixedError) Error() string {
	return strings.Join(e.Fields, ", ") + ": cannot change while the proxy runs"
}

// Apply makes p the configuration of the running proxy. Clusters and listeners that are
// the same as before are not touched. Everything new is built first, addresses are
// bound, hosts checked; then all of it takes effect, or on an error nothing of it, and
// the proxy goes on as it was. Connections of what is no more drain.
//
// Apply returns when p is in effect. ctx bounds the time that hosts may take to be
// checked. Calls come one after the other.
func (a *App) Apply(ctx context.Context, p *plan.Server) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	switch s := State(a.state.Load()); {
	case a.ended() || s == Draining:
		return ErrStopped
	case s != Live:
		return ErrNotLive
	}
	if err := unchangeable(a.plan.Load().Bootstrap, p.Bootstrap); err != nil {
		return err
	}
	ctx, cancel := a.whileRunning(ctx)
	defer cancel()
	u := &update{app: a, plan: p}
	if err := u.prepare(ctx); err != nil {
		u.drop()
		return err
	}
	return u.commit(ctx)
}

// whileRunning returns a context that ends with ctx, or when the proxy begins to stop.
func (a *App) whileRunning(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	a.tasks.Go(func() {
		select {
		case <-a.stopping:
			cancel(ErrStopped)
		case <-over:
		}
	})
	return ctx, func() {
		close(over)
		cancel(nil)
	}
}

// unchangeable reports fields of the bootstrap that differ and are looked at only once.
func unchangeable(was, now *bootstrapv3.Bootstrap) error {
	var differ []string
	fields := now.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Name() == "static_resources" {
			continue
		}
		x, y := was.ProtoReflect(), now.ProtoReflect()
		if x.Has(f) != y.Has(f) || x.Has(f) && !x.Get(f).Equal(y.Get(f)) {
			differ = append(differ, string(f.Name()))
		}
	}
	if differ == nil {
		return nil
	}
	return &FixedError{differ}
}

// An update is a configuration on its way into effect.
type update struct {
	app      *App
	plan     *plan.Server
	clusters *upstream.Change
	steps    []*step  // in the order of the configuration
	gone     []*entry // listeners that are no more
	warming  int64
	warms    map[string]*warming // listeners that have to wait, by name
	later    []*step             // those of warms that are new
	promotes *warming            // that need not wait any more; nil: none
}

// A step is what becomes of one listener of the configuration.
type step struct {
	plan   *plan.Listener
	was    *entry             // nil: the name is new
	change *listener.Change   // in place; nil: it is not
	fresh  *listener.Listener // a new listener; nil: there is none

	warmed  bool // another one of its name has waited
	counted bool // that it is another one
}

// prepare builds all that is new, and waits until it can be used.
func (u *update) prepare(ctx context.Context) (err error) {
	a := u.app
	u.warms = make(map[string]*warming)
	if u.clusters, err = a.hosts.Prepare(u.plan.Clusters); err != nil {
		return err
	}
	if err := u.match(); err != nil {
		return err
	}
	for _, s := range u.steps {
		if err := u.build(s); err != nil {
			a.server.createFailure.Add(1)
			return err
		}
	}
	a.server.warming.Add(u.warming)
	defer a.server.warming.Add(-u.warming)
	if err := u.clusters.Warm(ctx, a.network.Active); err != nil {
		return err
	}
	u.postpone()
	if err := u.clash(); err != nil {
		a.server.createFailure.Add(1)
		return err
	}
	for _, s := range u.steps {
		if s.fresh == nil {
			continue
		}
		if err := s.fresh.Listen(); err != nil {
			a.server.createFailure.Add(1)
			return &listener.Error{Name: s.plan.Info.Name, Err: err}
		}
	}
	return nil
}

// match pairs the listeners of the configuration with those there are.
func (u *update) match() error {
	was := make(map[string]*entry)
	for _, e := range u.app.snapshot() {
		was[e.listener.Info().Name] = e
	}
	for _, p := range u.plan.Listeners {
		s := &step{plan: p, was: was[p.Info.Name]}
		if s.was != nil && s.was.program {
			return &listener.Error{Name: p.Info.Name, Err: errServed}
		}
		delete(was, p.Info.Name)
		if u.rewarm(s) {
			u.steps = append(u.steps, s)
		}
	}
	for _, e := range u.app.snapshot() {
		if was[e.listener.Info().Name] == e && !e.program {
			u.gone = append(u.gone, e)
		}
	}
	return nil
}

// rewarm looks for a listener that waits already. It reports whether the step is to be
// taken.
func (u *update) rewarm(s *step) bool {
	w := u.app.warming[s.plan.Info.Name]
	switch {
	case w == nil && u.promotes == nil:
		return true
	case w == nil: // perhaps it waited and failed: that is no fault of the one that is promoted
	case w == u.promotes:
		s.plan, s.change, s.fresh, s.counted = w.plan, w.change, w.fresh, true
		return true
	case w.plan.Hash != s.plan.Hash:
		s.warmed = true
		return true
	default: // it goes on to wait
		u.warms[s.plan.Info.Name] = w
	}
	if s.was == nil {
		return false
	}
	s.plan = s.was.listener.Plan() // what there is stays
	return true
}

// same reports that a listener is not touched.
func (s *step) same() bool { return s.was != nil && s.was.listener.Plan().Hash == s.plan.Hash }

// inPlace reports that nothing but filter chains changes.
func (s *step) inPlace() bool {
	return s.was != nil && s.was.listener.Plan().BaseHash == s.plan.BaseHash && len(s.plan.Chains) > 0
}

// build makes what a step needs.
func (u *update) build(s *step) (err error) {
	if s.same() || s.change != nil || s.fresh != nil {
		return nil
	}
	if err := u.app.refusesChange(s.plan); err != nil {
		return err
	}
	if s.was != nil && s.was.listener.Plan().ReusePort() != s.plan.ReusePort() {
		return &listener.Error{Name: s.plan.Info.Name, Err: errReusePort}
	}
	u.warming++
	if s.inPlace() {
		s.change, err = s.was.listener.Prepare(s.plan)
		return err
	}
	s.fresh, err = listener.New(s.plan, u.app.env, u.app.listenerOptions(u.sockets(s)))
	return err
}

// sockets are those that a new listener may go on with: its own first, then those of
// all that end.
func (u *update) sockets(s *step) []listener.Socket {
	var out []listener.Socket
	if s.was != nil {
		out = s.was.listener.Sockets()
	}
	ends := slices.Clone(u.gone)
	for _, x := range u.steps {
		if x.was != nil && x != s && !x.same() && !x.inPlace() {
			ends = append(ends, x.was)
		}
	}
	var ended []*listener.Listener
	for _, e := range ends {
		ended = append(ended, e.listener)
	}
	for name, w := range u.app.warming {
		if w.fresh != nil && w != u.promotes && u.warms[name] != w {
			ended = append(ended, w.fresh)
		}
	}
	for _, l := range ended {
		for _, x := range l.Sockets() {
			if !x.AnyPort() {
				out = append(out, x)
			}
		}
	}
	return out
}

// refusesChange says why a listener cannot be added or changed: the admin has stopped
// those of its direction.
func (a *App) refusesChange(p *plan.Listener) error {
	a.handling.Lock()
	defer a.handling.Unlock()
	if a.stopsNow(p) {
		return &listener.Error{Name: p.Info.Name, Err: errDirectionStopped}
	}
	return nil
}

// stopsNow reports whether listeners like p were stopped for good. The caller holds
// handling.
func (a *App) stopsNow(p *plan.Listener) bool {
	return !p.Internal && slices.ContainsFunc(a.stops, func(s scopeOfDrain) bool { return s.covers(&p.Info) })
}

// drop gives back what was built.
func (u *update) drop() {
	for _, s := range slices.Concat(u.steps, u.later) {
		s.drop()
	}
	if u.clusters != nil {
		u.clusters.Drop()
	}
}

// commit puts everything in place. Nothing of it fails: first the clusters, then the
// internal listeners, so that no connection from outside finds a hop missing, then the
// sockets, and what is no more goes at the end.
func (u *update) commit(ctx context.Context) error {
	a := u.app
	a.handling.Lock()
	if err := u.last(); err != nil {
		a.handling.Unlock()
		u.drop()
		return err
	}
	u.clusters.Apply()
	u.warm()
	entries, ends := u.swap(true)
	a.handling.Unlock()
	if err := u.clusters.WarmLate(ctx); err != nil && !a.ended() {
		a.log.Warn(err.Error(), "logger", "upstream")
	}
	a.handling.Lock()
	defer a.handling.Unlock()
	outer, more := u.swap(false)
	ends = append(ends, more...)
	for _, e := range u.gone {
		a.server.removed.Add(1)
		a.server.active.Add(-1)
		a.unlist(e)
		ends = append(ends, func() { a.drainAway(e, nil) })
	}
	u.list(append(entries, outer...))
	a.plan.Store(u.plan)
	for _, end := range ends {
		end()
	}
	for _, s := range u.steps {
		switch {
		case s.fresh == nil:
		case a.stopsNow(s.plan): // meanwhile
			s.fresh.Stop()
		default:
			s.fresh.AcceptRest() // what the one before was woken for
		}
	}
	u.clusters.Finish()
	return nil
}

// last looks for what may have changed while the update was prepared.
func (u *update) last() error {
	if u.app.ended() || State(u.app.state.Load()) == Draining {
		return ErrStopped
	}
	for _, s := range u.steps {
		if !s.same() && u.app.stopsNow(s.plan) {
			return &listener.Error{Name: s.plan.Info.Name, Err: errDirectionStopped}
		}
		if s.was == nil && s.plan.Internal && u.app.network.Active(s.plan.Info.Name) {
			return &listener.Error{Name: s.plan.Info.Name, Err: errServed}
		}
	}
	return nil
}

// swap puts the internal listeners in place, or the others. It returns what is to be
// listed, and what is to be done for those that were there before.
func (u *update) swap(internal bool) (now []*entry, ends []func()) {
	a := u.app
	for _, s := range u.steps {
		if s.plan.Internal != internal {
			continue
		}
		e := s.was
		switch {
		case s.change != nil:
			leaving := s.change.Apply()
			if e.registration != nil {
				e.registration.Replace(e.listener.Internal())
			}
			a.mu.Lock()
			e.updated = time.Now()
			a.mu.Unlock()
			u.count(s)
			ends = append(ends, func() { a.drainChains(leaving) })
		case s.fresh != nil:
			e = u.replace(s)
			if old := s.was; old != nil {
				ends = append(ends, func() { a.drainAway(old, s.fresh) })
			}
		}
		if s.change != nil || s.fresh != nil {
			a.server.createSuccess.Add(uint64(a.opts.Concurrency))
		}
		now = append(now, e)
	}
	return now, ends
}

// replace makes a new listener reachable, in place of the one before if there is one.
func (u *update) replace(s *step) *entry {
	a := u.app
	e := &entry{listener: s.fresh, updated: time.Now()}
	u.count(s)
	if s.was == nil {
		a.server.active.Add(1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !s.plan.Internal:
		if s.was != nil && s.was.registration != nil {
			s.was.registration.Unregister()
		}
		s.fresh.Accept()
	case s.was != nil && s.was.registration != nil:
		e.registration, s.was.registration = s.was.registration, nil
		e.registration.Replace(s.fresh.Internal())
	default:
		e.registration = a.network.Register(s.plan.Info.Name, s.fresh.Internal())
	}
	return e
}

// list makes the entries those of the proxy, in the order of the configuration, those of
// the Go program after them.
func (u *update) list(entries []*entry) {
	a := u.app
	at := make(map[string]int)
	for i, p := range u.plan.Listeners {
		at[p.Info.Name] = i
	}
	slices.SortFunc(entries, func(x, y *entry) int { return at[x.listener.Info().Name] - at[y.listener.Info().Name] })
	a.mu.Lock()
	defer a.mu.Unlock()
	kept := make(map[*entry]bool)
	for _, e := range entries {
		kept[e] = true
	}
	for _, e := range a.listeners {
		switch {
		case e.program:
			entries = append(entries, e)
		case !kept[e]:
			a.draining[e] = true
		}
	}
	a.listeners = entries
}
