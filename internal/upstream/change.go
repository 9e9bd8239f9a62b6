package upstream

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/eventlog"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Change is clusters that are ready to take the place of those of a set. It is either
// dropped, or applied and then finished. Changes are made one after the other.
type Change struct {
	set    *Set
	before map[string]*Cluster
	next   map[string]*Cluster
	names  []string            // of all that are configured
	fresh  []*Cluster          // those of next that are not in before
	late   []*Cluster          // fresh ones that could not be warmed yet
	warms  map[string]*Cluster // that take no place before they are ready
	waits  []*Cluster          // those of warms that are new
}

// Prepare builds the clusters that differ from those there are; the set does not change.
// A cluster whose plan has the hash it had stays as it is; another one of a known name is
// to take the place and goes on with the statistics.
func (s *Set) Prepare(plans []*plan.Cluster) (*Change, error) {
	seen := make(map[string]bool, len(plans))
	for _, p := range plans {
		if seen[p.Name] {
			return nil, fmt.Errorf("cluster manager: duplicate cluster '%s'", p.Name)
		}
		seen[p.Name] = true
	}
	s.changing.Lock() // until Drop or Finish
	c := &Change{set: s, before: *s.clusters.Load(), next: make(map[string]*Cluster, len(plans)), warms: make(map[string]*Cluster)}
	for _, p := range plans {
		c.names = append(c.names, p.Name)
		x, w := c.before[p.Name], s.warming[p.Name]
		switch {
		case x != nil && x.plan.Hash == p.Hash:
		case w != nil && w.plan.Hash == p.Hash:
			c.warms[p.Name] = w // and what there is goes on meanwhile
			if x == nil {
				continue
			}
		default:
			x = &Cluster{plan: p}
			c.fresh = append(c.fresh, x)
		}
		c.next[p.Name] = x
	}
	if err := c.openLogs(); err != nil {
		s.changing.Unlock()
		return nil, err
	}
	s.know(s.names, c.names)
	for _, x := range c.fresh { // nothing fails any more
		if old := c.before[x.plan.Name]; old != nil && old.plan.StatName == x.plan.StatName {
			x.stats = old.stats
		} else {
			x.stats = newStats(s.opts.Stats, x.plan)
		}
		x.before = c.before[x.plan.Name]
		x.init(s)
	}
	return c, nil
}

// openLogs opens the files that the new clusters write to.
func (c *Change) openLogs() (err error) {
	for _, x := range c.fresh {
		if err := c.openSocketLogs(x.plan); err != nil {
			return &Error{Name: x.plan.Name, Err: err}
		}
		if p := x.plan.Check; p != nil {
			if x.events, err = eventlog.Open(c.set.opts.LogFiles, p.EventLogs); err != nil {
				return &Error{Name: x.plan.Name, Err: err}
			}
		}
	}
	return nil
}

// openSocketLogs opens the files that a cluster's transport sockets write to, which will open
// them once more when they are made.
func (c *Change) openSocketLogs(p *plan.Cluster) error {
	sockets := []extension.UpstreamTransport{p.Transport.Socket}
	for i := range p.Transports {
		sockets = append(sockets, p.Transports[i].Socket)
	}
	for _, s := range sockets {
		w, ok := s.(extension.LogWriter)
		if !ok {
			continue
		}
		if _, err := eventlog.Open(c.set.opts.LogFiles, w.LogPaths()); err != nil {
			return err
		}
	}
	return nil
}

// An Error says that one cluster cannot be made.
type Error struct {
	Name string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("cluster %q: %v", e.Name, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Cluster is the name of the cluster.
func (e *Error) Cluster() string { return e.Name }

// Warm has the new clusters' hosts found, and checked where the configuration asks for it.
// What a source delivers, or the hosts of, waits by itself: it takes its place when it is
// ready, what there is of its name goes on until then, and the change goes on without it
// (Envoy). What stands in the configuration is waited for: Warm returns when each of these
// is ready, or ctx has ended. Those whose hosts are internal listeners that are not there
// yet are left to WarmLate. Before the set has begun Warm does nothing, for Start checks all.
func (c *Change) Warm(ctx context.Context, there func(listener string) bool) error {
	if !c.set.hasBegun() {
		return nil
	}
	var now []*Cluster
	c.fresh = slices.DeleteFunc(c.fresh, func(x *Cluster) (waits bool) {
		if x.eds == nil && !x.dialsOnly(there) {
			c.late = append(c.late, x)
			return false
		}
		x.start()
		switch {
		case x.ready():
		case x.eds != nil || x.plan.Dynamic:
			c.wait(x)
			return true
		default:
			now = append(now, x)
		}
		return false
	})
	c.set.holdsUp(now) // before the count tells of them
	defer c.set.holdsUp(nil)
	n := int64(len(now))
	c.set.stats.warming.Add(n)
	defer c.set.stats.warming.Add(-n)
	return checked(ctx, now)
}

// holdsUp notes which clusters a change waits for.
func (s *Set) holdsUp(list []*Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = list
}

// wait lets a new cluster take no place yet: what there is of its name stays.
func (c *Change) wait(x *Cluster) {
	name := x.plan.Name
	c.waits, c.warms[name] = append(c.waits, x), x
	if old := c.before[name]; old != nil {
		c.next[name] = old
	} else {
		delete(c.next, name)
	}
}

// Apply puts the new clusters in place, all at once. Those that are to be removed can
// still be found, for who uses them may not have changed yet.
func (c *Change) Apply() {
	s := c.set
	all := make(map[string]*Cluster, len(c.next))
	for name, x := range c.before {
		all[name] = x
	}
	for name, x := range c.next {
		all[name] = x
	}
	for _, x := range slices.Concat(c.fresh, c.waits) {
		switch old, waited := c.before[x.plan.Name], s.warming[x.plan.Name]; {
		case waited == x: // counted when it began to
		case old == nil && waited == nil:
			s.stats.added.Add(1)
		default:
			s.stats.modified.Add(1)
		}
	}
	for _, x := range c.fresh {
		if old := c.before[x.plan.Name]; old != nil {
			x.inherit(old)
		}
		x.show()
	}
	s.clusters.Store(&all)
	c.warm()
	s.stats.active.Add(int64(len(all) - len(c.before)))
	for _, x := range c.fresh {
		if old := c.before[x.plan.Name]; old != nil {
			if old.stats != x.stats {
				old.stats.close()
			}
			old.drain()
		}
	}
}

// warm lets the clusters wait that have to, and forgets those that need not any more.
func (c *Change) warm() {
	s := c.set
	was := s.warming
	s.mu.Lock()
	s.warming, s.names, s.order = c.warms, c.names, nil
	for _, name := range c.names {
		if x := c.next[name]; x != nil {
			s.order = append(s.order, x)
		}
	}
	s.mu.Unlock()
	s.stats.warming.Add(int64(len(c.warms) - len(was)))
	for name, x := range was {
		if c.warms[name] == x || c.next[name] == x {
			continue
		}
		x.drain()
		if old := c.before[name]; old == nil || old.stats != x.stats {
			x.stats.close()
		}
		if c.before[name] == nil && c.next[name] == nil && c.warms[name] == nil {
			s.stats.removed.Add(1)
		}
	}
	for _, x := range c.waits {
		s.tasks.Go(func() { s.promote(x) })
	}
}

// promote puts a cluster in its place when it is ready.
func (s *Set) promote(x *Cluster) {
	if x.await(x.over) != nil {
		return
	}
	s.changing.Lock()
	name := x.plan.Name
	if s.warming[name] != x {
		s.changing.Unlock()
		return
	}
	c := &Change{set: s, before: *s.clusters.Load(), names: s.names, fresh: []*Cluster{x}, warms: maps.Clone(s.warming)}
	delete(c.warms, name)
	c.next = maps.Clone(c.before)
	c.next[name] = x
	c.Apply()
	c.Finish()
}

// WarmLate has the hosts checked that Warm could not reach, now that the internal
// listeners are there, and returns when each was checked once, or ctx has ended.
func (c *Change) WarmLate(ctx context.Context) error {
	for _, x := range c.late {
		x.start()
	}
	late := c.late
	c.late = nil
	return checked(ctx, late)
}

// Finish takes away the clusters that are no more. Open connections notice nothing, but
// that those of HTTP end when they have no request any more.
func (c *Change) Finish() {
	s := c.set
	if s.hasBegun() {
		for _, x := range slices.Concat(c.late, c.fresh) {
			x.start() // those that nobody has warmed
		}
	}
	s.clusters.Store(&c.next)
	for name, x := range c.before {
		if c.next[name] == nil {
			x.stats.close()
			s.stats.removed.Add(1)
			s.stats.active.Add(-1)
			x.drain()
		}
	}
	s.know(s.names)
	s.changing.Unlock()
}

// Drop forgets the change.
func (c *Change) Drop() {
	defer c.set.changing.Unlock()
	c.set.know(c.set.names)
	for _, x := range slices.Concat(c.fresh, c.waits) {
		x.drain()
		if old := c.before[x.plan.Name]; old == nil || old.stats != x.stats {
			x.stats.close()
		}
	}
}

func (s *Set) hasBegun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// checked waits for the first checks of clusters.
func checked(ctx context.Context, all []*Cluster) error {
	for _, c := range all {
		if err := c.await(ctx); err != nil {
			return fmt.Errorf("cluster %q: its hosts have not been found and checked: %w", c.plan.Name, err)
		}
	}
	return nil
}

// dialsOnly reports whether the internal listeners that the cluster's hosts lead to are
// all there.
func (c *Cluster) dialsOnly(there func(listener string) bool) bool {
	for _, h := range c.roster.Load().hosts {
		if in, ok := h.Addr.(filter.InternalAddr); ok && !there(in.Listener) {
			return false
		}
	}
	return true
}
