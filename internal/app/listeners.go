package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/listener"
	"github.com/ginnel/ginnel/internal/plan"
)

// An entry is a listener of the proxy and, once started, its name in the in-process
// network.
type entry struct {
	listener     *listener.Listener
	registration *inproc.Registration // nil: a socket listener, or not started
}

// add builds a listener. The caller holds no lock; it is not started yet.
func (a *App) add(p *plan.Listener) error {
	l, err := listener.New(p, a.env, listener.Options{Concurrency: a.opts.Concurrency})
	if err != nil {
		a.server.createFailure.Add(1)
		return err
	}
	a.server.added.Add(1)
	a.mu.Lock()
	a.listeners = append(a.listeners, &entry{listener: l})
	a.mu.Unlock()
	return nil
}

// start makes the listener reachable.
func (e *entry) start(a *App) error {
	if e.listener.Plan().Internal {
		e.registration = a.network.Register(e.listener.Info().Name, e.listener)
	} else if err := e.listener.Start(); err != nil {
		a.server.createFailure.Add(1)
		return err
	}
	a.server.createSuccess.Add(uint64(a.opts.Concurrency))
	return nil
}

// unlist takes the listener's name out of the in-process network.
func (e *entry) unlist() {
	if e.registration != nil {
		e.registration.Unregister()
	}
}

func (a *App) snapshot() []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.listeners)
}

// Listeners returns the listeners in the order of the configuration.
func (a *App) Listeners() []*listener.Listener {
	var out []*listener.Listener
	for _, e := range a.snapshot() {
		out = append(out, e.listener)
	}
	return out
}

// Handle serves an internal name by a handler of the Go program. It fails when the
// name is taken by another handler or a configured listener.
func (a *App) Handle(name string, h filter.ConnHandler) (remove func(), err error) {
	if a.network.Active(name) {
		return nil, fmt.Errorf("internal listener %q is already there", name)
	}
	p := &plan.Listener{
		Info:     filter.ListenerInfo{Name: name},
		Internal: true,
		Chains:   []*plan.Chain{{Terminal: goHandler{h}}},
	}
	if err := a.add(p); err != nil {
		return nil, err
	}
	entries := a.snapshot()
	e := entries[len(entries)-1]
	if err := e.start(a); err != nil {
		return nil, err
	}
	return func() { a.remove(e) }, nil
}

// remove ends a listener's reachability and then its connections.
func (a *App) remove(e *entry) {
	e.unlist()
	e.listener.Stop()
	e.listener.CloseConns("listener_removed")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners = slices.DeleteFunc(a.listeners, func(x *entry) bool { return x == e })
	a.server.removed.Add(1)
}

// StopListeners makes the listeners that which chooses stop accepting. Internal ones
// go on (Envoy: they accept until the end of the drain).
func (a *App) StopListeners(which func(*listener.Listener) bool) {
	for _, e := range a.snapshot() {
		if !e.listener.Plan().Internal && which(e.listener) && e.listener.Stop() {
			a.server.stopped.Add(1)
		}
	}
}

// Network returns the in-process network.
func (a *App) Network() *inproc.Network { return a.network }

type goHandler struct{ filter.ConnHandler }

// NewTerminal implements filter.TerminalFactory.
func (h goHandler) NewTerminal(*filter.Env) (filter.Terminal, error) { return h.ConnHandler, nil }

func joinPath(path []string) string { return strings.Join(path, " -> ") }
