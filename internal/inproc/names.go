package inproc

import (
	"maps"
	"slices"
	"sync/atomic"
)

// A Registration is a listener under its name.
type Registration struct {
	Name     string
	network  *Network
	listener atomic.Pointer[Listener]
	counts   counts
}

type counts struct{ handedOver, piped, refused atomic.Uint64 }

// Counts is what became of the dials to a name.
type Counts struct {
	Name       string `json:"name"`
	HandedOver uint64 `json:"handed_over"` // connections whose stream was passed on
	Piped      uint64 `json:"piped"`       // connections over a pipe
	Refused    uint64 `json:"refused"`
}

// Stats is the network's statistics.
type Stats struct {
	Names      []Counts `json:"listeners"` // in the order of their names
	NoListener uint64   `json:"no_listener"`
	HopLimit   uint64   `json:"hop_limit_exceeded"`
}

// Register makes a listener reachable by name, for all diallers at once. A name that
// is taken leads to the new listener from now on; connections of the old one live
// on. Any string is a name, the empty one too.
func (n *Network) Register(name string, l Listener) *Registration {
	r := &Registration{Name: name, network: n}
	r.listener.Store(&l)
	n.change(func(names map[string]*Registration) { names[name] = r })
	return r
}

// Replace lets the name lead to another listener from now on, which goes on with the
// counts. Connections of the one before live on.
func (r *Registration) Replace(l Listener) { r.listener.Store(&l) }

// Unregister ends the reachability of r's listener, unless its name leads to
// another by now. It may be called twice. Connections live on.
func (r *Registration) Unregister() {
	r.network.change(func(names map[string]*Registration) {
		if names[r.Name] == r {
			delete(names, r.Name)
		}
	})
}

// change puts a changed copy of the names in place: diallers never wait for it.
func (n *Network) change(edit func(map[string]*Registration)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := maps.Clone(*n.names.Load())
	edit(names)
	n.names.Store(&names)
}

// Active reports whether a name can be dialled.
func (n *Network) Active(name string) bool {
	_, ok := (*n.names.Load())[name]
	return ok
}

// List returns the names that can be dialled, in order.
func (n *Network) List() []string {
	return slices.Sorted(maps.Keys(*n.names.Load()))
}

// Stats returns the statistics so far.
func (n *Network) Stats() Stats {
	s := Stats{NoListener: n.noListener.Load(), HopLimit: n.hopLimit.Load()}
	names := *n.names.Load()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c := &names[name].counts
		s.Names = append(s.Names, Counts{name, c.handedOver.Load(), c.piped.Load(), c.refused.Load()})
	}
	return s
}

// Wait returns when no pipe is being served any more; new dials must have ceased.
func (n *Network) Wait() { n.serving.Wait() }
