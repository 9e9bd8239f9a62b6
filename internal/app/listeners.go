package app

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

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
	updated      time.Time
	program      bool // of the Go program, not of the configuration
	stopped      bool // an internal listener that counts as such; guarded by handling
}

// add builds a listener, of the Go program or the configuration; it is not started yet.
func (a *App) add(p *plan.Listener, program bool) (*entry, error) {
	l, err := listener.New(p, a.env, a.listenerOptions(nil))
	if err != nil {
		a.server.createFailure.Add(1)
		return nil, err
	}
	a.server.added.Add(1)
	e := &entry{listener: l, updated: time.Now(), program: program}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.listeners = append(a.listeners, e)
	return e, nil
}

// listenerOptions are those of a listener that may go on with sockets.
func (a *App) listenerOptions(there []listener.Socket) listener.Options {
	return listener.Options{
		Concurrency: a.opts.Concurrency, Total: &a.total, Limit: &a.limit, Table: &a.table, Sockets: there,
		DrainClose: a.drainsFor,
	}
}

// start makes the listener reachable; its sockets listen. The caller holds a.mu.
func (e *entry) start(a *App) {
	if e.listener.Plan().Internal {
		e.registration = a.network.Register(e.listener.Info().Name, e.listener.Internal())
	} else {
		e.listener.Accept()
	}
	a.server.createSuccess.Add(uint64(a.opts.Concurrency))
	a.server.active.Add(1)
}

// unlist takes the listener's name out of the in-process network.
func (a *App) unlist(e *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.registration != nil {
		e.registration.Unregister()
	}
}

func (a *App) snapshot() []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.listeners)
}

// listed returns the listeners as they are now.
func (a *App) listed() []entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]entry, len(a.listeners))
	for i, e := range a.listeners {
		out[i] = *e
	}
	return out
}

// all returns the listeners and those that drain.
func (a *App) all() []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append(slices.Clone(a.listeners), slices.Collect(maps.Keys(a.draining))...)
}

// Listeners returns the listeners in the order of the configuration.
func (a *App) Listeners() []*listener.Listener {
	var out []*listener.Listener
	for _, e := range a.snapshot() {
		out = append(out, e.listener)
	}
	return out
}

// ErrStopped is why a proxy that is stopping, or has stopped, serves no new name.
var ErrStopped = errors.New("the proxy has stopped")

// Handle serves an internal name by a handler of the Go program. It fails when the
// name is taken by another handler or a configured listener. remove, which may be
// called twice, returns when the connections have ended.
func (a *App) Handle(name string, h filter.ConnHandler) (remove func(), err error) {
	a.handling.Lock() // one name at a time
	defer a.handling.Unlock()
	if a.ended() {
		return nil, ErrStopped
	}
	if a.taken(name) {
		return nil, fmt.Errorf("listener %q is already there", name)
	}
	e, err := a.add(&plan.Listener{
		Info:     filter.ListenerInfo{Name: name},
		Internal: true,
		Chains:   []*plan.Chain{{Terminal: goHandler{h}}},
	}, true)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	e.start(a)
	return sync.OnceFunc(func() { a.remove(e) }), nil
}

// taken reports whether a listener has the name, be it one of sockets, or one that waits
// for its place: no configuration with both could be applied any more.
func (a *App) taken(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.warming[name] != nil || a.network.Active(name) ||
		slices.ContainsFunc(a.listeners, func(e *entry) bool { return e.listener.Info().Name == name })
}

func (a *App) ended() bool {
	select {
	case <-a.stopping:
		return true
	default:
		return false
	}
}

// remove ends a listener's reachability, then its connections, and waits for them.
func (a *App) remove(e *entry) {
	a.unlist(e)
	e.listener.Stop()
	e.listener.CloseConns("listener_removed")
	e.listener.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.listeners)
	a.listeners = slices.DeleteFunc(a.listeners, func(x *entry) bool { return x == e })
	if len(a.listeners) < before {
		e.listener.Release()
		a.server.removed.Add(1)
		a.server.active.Add(-1)
	}
}

// Network returns the in-process network.
func (a *App) Network() *inproc.Network { return a.network }

type goHandler struct{ filter.ConnHandler }

// NewTerminal implements filter.TerminalFactory.
func (h goHandler) NewTerminal(*filter.Env) (filter.Terminal, error) { return h.ConnHandler, nil }

func joinPath(path []string) string { return strings.Join(path, " -> ") }
