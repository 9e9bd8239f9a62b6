package upstream

import (
	"context"
	"slices"
)

// start begins to find hosts, and the active health checks of those that are known then;
// further calls do nothing.
func (c *Cluster) start() {
	switch {
	case c.names != nil:
		c.names.begin()
	case c.eds != nil:
		c.eds.begin()
	default:
		c.beginChecks()
	}
}

// await returns when the cluster is ready: each name has been looked up, or the source of
// the hosts has answered, and each host has been checked once; or ctx has ended.
func (c *Cluster) await(ctx context.Context) error {
	for _, w := range c.awaits() {
		select {
		case <-w:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// ready reports that await has nothing to wait for.
func (c *Cluster) ready() bool {
	return !slices.ContainsFunc(c.awaits(), func(w <-chan struct{}) bool { return !isClosed(w) })
}

// awaits returns what is closed when the cluster is ready.
func (c *Cluster) awaits() (all []<-chan struct{}) {
	if c.names != nil {
		if c.names.plan.NoWait {
			return nil
		}
		all = append(all, c.names.first)
	}
	if c.eds != nil && c.eds.subscription != nil {
		all = append(all, c.eds.subscription.Ready())
	}
	if c.checker != nil {
		all = append(all, c.checker.Checked())
	}
	return all
}

// isClosed reports that a channel has been closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
