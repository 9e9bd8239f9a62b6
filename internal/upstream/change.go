package upstream

import (
	"context"
	"fmt"
	"slices"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Change is clusters that are ready to take the place of those of a set. It is either
// dropped, or applied and then finished. Changes are made one after the other.
type Change struct {
	set    *Set
	before map[string]*Cluster
	next   map[string]*Cluster
	order  []*Cluster // of next
	fresh  []*Cluster // those of next that are not in before
	late   []*Cluster // fresh ones that could not be warmed yet
}

// Prepare builds the clusters that differ from those there are; the set does not change.
// A cluster whose plan has the hash it had stays as it is; another one of a known name is
// to take the place and goes on with the statistics.
func (s *Set) Prepare(plans []*plan.Cluster) (*Change, error) {
	c := &Change{set: s, before: *s.clusters.Load(), next: make(map[string]*Cluster, len(plans))}
	for _, p := range plans {
		if c.next[p.Name] != nil {
			return nil, fmt.Errorf("cluster manager: duplicate cluster '%s'", p.Name)
		}
		x := c.before[p.Name]
		if x == nil || x.plan.Hash != p.Hash {
			x = &Cluster{plan: p}
			c.fresh = append(c.fresh, x)
		}
		c.next[p.Name] = x
		c.order = append(c.order, x)
	}
	for _, x := range c.fresh { // nothing fails any more
		if old := c.before[x.plan.Name]; old != nil && old.plan.StatName == x.plan.StatName {
			x.stats = old.stats
		} else {
			x.stats = newStats(s.opts.Stats, x.plan)
		}
		x.init(s)
	}
	return c, nil
}

// Warm has the new clusters' hosts checked where the configuration asks for it, and
// returns when each was checked once, or ctx has ended. Those whose hosts are internal
// listeners that are not there yet are left to Finish. Before the set has begun it does
// nothing, for Start checks all.
func (c *Change) Warm(ctx context.Context, there func(listener string) bool) error {
	if !c.set.hasBegun() {
		return nil
	}
	var now []*Cluster
	for _, x := range c.fresh {
		if x.dialsOnly(there) {
			x.check()
			now = append(now, x)
		} else {
			c.late = append(c.late, x)
		}
	}
	return checked(ctx, now)
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
	for _, x := range c.fresh {
		old := c.before[x.plan.Name]
		if old == nil {
			s.stats.added.Add(1)
		} else {
			s.stats.modified.Add(1)
		}
		x.show()
	}
	s.clusters.Store(&all)
	s.mu.Lock()
	s.order = c.order
	s.mu.Unlock()
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

// WarmLate has the hosts checked that Warm could not reach, now that the internal
// listeners are there, and returns when each was checked once, or ctx has ended.
func (c *Change) WarmLate(ctx context.Context) error {
	for _, x := range c.late {
		x.check()
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
			x.check() // those that nobody has warmed
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
}

// Drop forgets the change.
func (c *Change) Drop() {
	for _, x := range c.fresh {
		x.drain()
		if old := c.before[x.plan.Name]; old == nil || old.stats != x.stats {
			x.stats.close()
		}
	}
}

// Changed tells how many clusters are new, differ from those of their name before, and
// are no more.
func (c *Change) Changed() (added, modified, removed int) {
	for _, x := range c.fresh {
		if c.before[x.plan.Name] == nil {
			added++
		} else {
			modified++
		}
	}
	for name := range c.before {
		if c.next[name] == nil {
			removed++
		}
	}
	return added, modified, removed
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
