package upstream

import (
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
)

// An aggregate chooses among the hosts of other clusters: the priorities of the first come
// before those of the second, and so on. A cluster that is not there has no hosts, and may
// come later. What becomes of a choice is the chosen cluster's: its breakers, connections
// and health; statistics of responses are the aggregate's (Envoy).
type aggregate struct {
	cluster *Cluster
	last    atomic.Pointer[linear]
}

// A linear is the members of an aggregate cluster as they were when it was made.
type linear struct {
	clusters *map[string]*Cluster // all of the set
	members  []*Cluster
	rosters  []*roster // of members
	chain    *lb.Chain
	info     filter.ClusterInfo
}

// now returns the members as they are. A choice compares a pointer for each of them: so
// nobody has to be told of changes, and each choice knows of those before it.
func (a *aggregate) now() *linear {
	l := a.last.Load()
	if l == nil || !l.holds(a.cluster.set) {
		l = a.look()
		a.last.Store(l)
	}
	return l
}

func (l *linear) holds(s *Set) bool {
	if s.clusters.Load() != l.clusters {
		return false
	}
	for i, c := range l.members {
		if c.roster.Load() != l.rosters[i] {
			return false
		}
	}
	return true
}

func (a *aggregate) look() *linear {
	c := a.cluster
	l := &linear{clusters: c.set.clusters.Load(), info: c.info}
	l.gather(c, make(map[*Cluster]bool))
	members := make([]lb.Member, len(l.members))
	for i, m := range l.members {
		r := m.roster.Load()
		l.rosters = append(l.rosters, r)
		members[i] = lb.Member{Cluster: m.plan.Name, Balancer: r.balancer}
		l.info.Hashing = l.info.Hashing || m.info.Hashing
	}
	l.chain = lb.NewChain(c.policy().PanicPercent, members)
	return l
}

// gather finds the members of c, those of aggregate ones among them in their place, each of
// these once: they may come to lead in a circle.
func (l *linear) gather(c *Cluster, done map[*Cluster]bool) {
	done[c] = true
	for _, name := range c.plan.Aggregate {
		switch m := (*l.clusters)[name]; {
		case m == nil, done[m]:
		case m.aggregate != nil:
			l.gather(m, done)
		default:
			l.members = append(l.members, m)
		}
	}
}

// choose chooses a priority of all, and lets its cluster choose the host.
func (a *aggregate) choose(q lb.Request) *host {
	l := a.now()
	i, at, ok := l.chain.Pick(q)
	if !ok {
		return nil
	}
	q.Place = &at
	return l.members[i].choose(l.rosters[i], q)
}

// info tells that hashes are used if a member uses them.
func (a *aggregate) info() *filter.ClusterInfo { return &a.now().info }
