package upstream

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

// A roster is the hosts of a cluster at one moment. It is immutable: when the hosts or
// their health change, another one takes its place.
type roster struct {
	hosts      []*host // in the order of the assignment, then those that leave
	assignment *plan.Assignment
	members    lb.Hosts // with the hosts' health as it is configured
	byHost     map[*filter.Host]*host
	byAddr     func() map[string]*host // the hosts by their addresses as text
	balancer   *lb.Balancer
}

// Update makes a the hosts of the cluster, at any time: it is the door for whoever finds
// them while the cluster runs, be it the DNS or EDS. A host that is as it was stays the
// same one, with its connections, counts, health and what outlier detection knows; of one
// whose place, metadata or name changed only health and outlier detection stay, for its
// connections were made for what it was. Those of hosts that are gone end with
// their requests, TCP connections go on. With active health checks a host that is gone
// stays for as long as it passes them, unless ignore_health_on_host_removal is set (Envoy).
//
// The cluster owns a from now on.
func (c *Cluster) Update(a plan.Assignment) {
	c.changing.Lock()
	defer c.changing.Unlock()
	if c.ended {
		return
	}
	c.update(&a)
}

// update is Update; c.changing is held.
func (c *Cluster) update(a *plan.Assignment) {
	was := c.roster.Load()
	left := make(map[string][]*host, len(was.hosts)) // by address: those not found again yet
	for _, h := range was.hosts {
		left[h.Addr.String()] = append(left[h.Addr.String()], h)
	}
	next := &roster{assignment: a, byHost: make(map[*filter.Host]*host, len(was.hosts))}
	next.byAddr = sync.OnceValue(next.addresses)
	next.members = lb.Hosts{Overprovision: a.OverprovisionFactor, WeighHealth: a.WeightedHealth}
	var added []*host
	for i := range a.Localities {
		l := &a.Localities[i]
		m := locality(l)
		for j := range l.Endpoints {
			h, is := c.take(left, l, &l.Endpoints[j])
			if !is {
				added = append(added, h)
			}
			m.Endpoints = append(m.Endpoints, c.member(h))
			next.add(h)
		}
		next.members.Localities = append(next.members.Localities, m)
	}
	gone := c.keepWell(left, next)
	c.settle(was, next, added, gone)
}

// take returns the host for an endpoint: one of those there were, if it is the same, or
// else a new one.
func (c *Cluster) take(left map[string][]*host, l *plan.Locality, e *plan.Endpoint) (h *host, is bool) {
	addr := e.Addr.String()
	same := left[addr]
	if i := slices.IndexFunc(same, func(h *host) bool { return h.is(l, e) }); i >= 0 {
		h = same[i]
		left[addr] = slices.Delete(same, i, i+1)
		h.endpoint.Store(e)
		h.leaving = false
		return h, true
	}
	h = c.newHost(l, e)
	var old *host
	if i := slices.IndexFunc(same, func(h *host) bool { return h.heir == nil }); i >= 0 {
		old = same[i]
	}
	c.care(h, old)
	return h, false
}

// is reports whether an endpoint is the host, but for what may change under way: its
// weight and its configured health.
func (h *host) is(l *plan.Locality, e *plan.Endpoint) bool {
	was := h.endpoint.Load()
	return h.Hostname == e.Hostname && h.Priority == l.Priority && h.Addr == e.Addr && slices.Equal(h.Additional, e.Additional) &&
		proto.Equal(h.Locality, l.Locality) && proto.Equal(h.Metadata, e.Metadata) && proto.Equal(h.localityMetadata, l.Metadata) &&
		was.Check == e.Check
}

// keepWell lets the hosts that are gone stay while they pass their health checks, and
// returns the others.
func (c *Cluster) keepWell(left map[string][]*host, next *roster) (gone []*host) {
	for _, h := range c.roster.Load().hosts { // in their order
		if !slices.Contains(left[h.Addr.String()], h) {
			continue
		}
		if h.leaving = h.heir == nil && !c.plan.IgnoreHealthOnRemoval && h.check != nil && !h.check.Failed(); !h.leaving {
			gone = append(gone, h)
			continue
		}
		m := lb.Locality{
			Region: h.Locality.GetRegion(), Zone: h.Locality.GetZone(), SubZone: h.Locality.GetSubZone(),
			Priority: h.Priority, Endpoints: []lb.Endpoint{c.member(h)},
		}
		next.members.Localities = append(next.members.Localities, m)
		next.add(h)
	}
	return gone
}

// settle puts a roster in the place of another one. c.changing is held.
func (c *Cluster) settle(was, next *roster, added, gone []*host) {
	next.balancer = c.balance(next)
	c.roster.Store(next)
	for _, h := range gone {
		h.leave()
	}
	if c.plan.CloseOnChange && len(added)+len(gone) > 0 {
		for _, h := range next.hosts {
			h.pools.renew()
		}
	}
	c.stats.changed(c, different(was, next), added, gone)
	if c.checking {
		for _, h := range added {
			if h.check != nil {
				c.checker.Begin(h.check)
			}
		}
	}
}

// leave ends what runs for a host that is gone.
func (h *host) leave() {
	if h.check != nil && (h.heir == nil || h.heir.check != h.check) {
		h.check.Close()
	}
	if h.outlier != nil && h.heir == nil {
		h.outlier.Close()
	}
	h.pools.drain()
}

// different reports whether there is anything that the choice of a host could notice.
func different(was, next *roster) bool {
	a, b := was.members.Localities, next.members.Localities
	return was.members.Overprovision != next.members.Overprovision || was.members.WeighHealth != next.members.WeighHealth ||
		!slices.EqualFunc(a, b, func(a, b lb.Locality) bool {
			return a.Priority == b.Priority && a.Weight == b.Weight && a.Region == b.Region && a.Zone == b.Zone &&
				a.SubZone == b.SubZone && slices.Equal(a.Endpoints, b.Endpoints)
		})
}

func (r *roster) add(h *host) {
	r.hosts = append(r.hosts, h)
	r.byHost[&h.Host] = h
}

// addresses are the hosts by their addresses as text; of two of one address the first.
func (r *roster) addresses() map[string]*host {
	out := make(map[string]*host, len(r.hosts))
	for _, h := range slices.Backward(r.hosts) {
		out[h.Addr.String()] = h
	}
	return out
}

// locality is a place as the balancer wants it, without endpoints.
func locality(l *plan.Locality) lb.Locality {
	return lb.Locality{
		Region: l.Locality.GetRegion(), Zone: l.Locality.GetZone(), SubZone: l.Locality.GetSubZone(),
		Priority: l.Priority, Weight: l.Weight,
	}
}

// member is a host as the balancer wants it.
func (c *Cluster) member(h *host) lb.Endpoint {
	e := h.endpoint.Load()
	return lb.Endpoint{Host: &h.Host, Weight: e.Weight, Health: configured(e.Health), Key: c.hashKey(h)}
}

// current returns the members with their health as it is now.
func (c *Cluster) current(r *roster) lb.Hosts {
	out, now := r.members, c.set.now()
	out.Localities = make([]lb.Locality, len(r.members.Localities))
	for i, l := range r.members.Localities {
		endpoints := make([]lb.Endpoint, len(l.Endpoints))
		for j, e := range l.Endpoints {
			h := r.byHost[e.Host]
			e.Health = h.health(e.Health)
			e.Since = h.healthySince(now, e.Health)
			endpoints[j] = e
		}
		l.Endpoints = endpoints
		out.Localities[i] = l
	}
	return out
}

// healed lets the cluster choose by the health that its hosts have now. Connections to
// those that became unhealthy are not kept: others may do better (Envoy).
func (c *Cluster) healed() {
	c.changing.Lock()
	defer c.changing.Unlock()
	was := c.roster.Load()
	leaves := func(h *host) bool { return h.leaving && h.check.Failed() }
	if slices.ContainsFunc(was.hosts, leaves) {
		c.update(was.assignment)
	} else {
		next := *was
		next.balancer = c.balance(&next)
		c.roster.Store(&next)
		c.stats.healed(c)
	}
	for _, h := range c.all() {
		health := h.health(lb.Healthy)
		ill := health == lb.Unhealthy || health == lb.Excluded
		if ill && !h.ill {
			h.pools.renew()
		}
		h.ill = ill
	}
}

// Update makes a the hosts of the cluster of a name; see Cluster.Update. It reports false
// where there is no such cluster.
func (s *Set) Update(name string, a plan.Assignment) bool {
	c := (*s.clusters.Load())[name]
	if c == nil {
		return false
	}
	c.Update(a)
	return true
}
