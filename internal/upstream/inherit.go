package upstream

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
)

// continues lets a host go on with what the checks of the cluster before have found of it,
// where they ask the same: else each change of a cluster would make its hosts begin anew
// (Envoy). The change waits for the first checks all the same. c.changing is held, but for
// hosts that are made as they are asked for, which no roster has.
func (c *Cluster) continues(h *host) {
	if c.origin != nil || c.before == nil || h.check == nil || !c.asksAs(c.before) {
		return
	}
	was := c.before.roster.Load().byAddr()[h.Addr.String()]
	if was != nil && was.check != nil && sameCheck(was, h) {
		h.check.Continue(was.check)
	}
}

// asksAs reports whether the health checks of two clusters are configured alike.
func (c *Cluster) asksAs(other *Cluster) bool {
	return c.plan.Proto != nil && slices.EqualFunc(c.plan.Proto.GetHealthChecks(), other.plan.Proto.GetHealthChecks(),
		func(a, b *corev3.HealthCheck) bool { return proto.Equal(a, b) })
}

// inherit takes over what else is known of the hosts of the cluster in whose place this one
// comes: which are ejected, or near to it, and which have been well for long.
func (c *Cluster) inherit(from *Cluster) {
	if c.takeOver(from) {
		c.healed()
	}
}

func (c *Cluster) takeOver(from *Cluster) (changed bool) {
	from.changing.Lock()
	defer from.changing.Unlock()
	c.changing.Lock()
	defer c.changing.Unlock()
	c.before = nil
	there := from.roster.Load().byAddr
	for _, h := range c.roster.Load().hosts {
		was := there()[h.Addr.String()]
		if was == nil {
			continue
		}
		if h.since != was.since {
			h.since, changed = was.since, true
		}
		if h.outlier != nil && was.outlier != nil && h.outlier.Continue(was.outlier, c.stats == from.stats) {
			changed = true
		}
	}
	return changed
}
