package lb

import (
	"slices"

	"github.com/ginnel/ginnel/filter"
)

// A Chain is balancers in a row, as those of an aggregate cluster: the priorities of each
// come before those of the next, and traffic is spread over all as over those of one.
// Priorities without hosts are left out.
type Chain struct {
	members []Member
	links   []link
	loads   loads
}

// A Member is a balancer of a Chain and the cluster whose hosts it has.
type Member struct {
	Cluster  string
	Balancer *Balancer
}

type link struct {
	member   int
	priority int
}

// NewChain returns a chain of members as they are now. panicPercent is as in plan.LB.
func NewChain(panicPercent float64, members []Member) *Chain {
	c := &Chain{members: members}
	var counts []headcount
	for i, m := range members {
		for p := range m.Balancer.counts {
			if m.Balancer.counts[p].all > 0 {
				c.links = append(c.links, link{i, p})
				counts = append(counts, m.Balancer.counts[p])
			}
		}
	}
	c.loads = spread(counts, panicBelow(panicPercent))
	return c
}

// Pick chooses a member, and the priority that it is to choose a host of. ok is false when
// no member has any. The member's own choice follows from q with that place, but where it
// hashes: then it takes the priority from the hash (Envoy).
func (c *Chain) Pick(q Request) (member int, at Place, ok bool) {
	if len(c.links) == 0 {
		return 0, Place{}, false
	}
	r := random(^q.Random) // not the numbers that the member will use
	i, degraded := c.loads.untried(q.Tried, q.Every, c.priority).choose(r.next())
	return c.links[i].member, Place{c.links[i].priority, degraded}, true
}

// priority is the place in the chain of a host's priority.
func (c *Chain) priority(h *filter.Host) int {
	return slices.IndexFunc(c.links, func(l link) bool {
		return c.members[l.member].Cluster == h.Cluster && l.priority == int(h.Priority)
	})
}
