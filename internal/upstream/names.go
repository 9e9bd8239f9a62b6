package upstream

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Lookup finds the addresses of a name; an error means that nobody knows. It is
// dns.Resolver's.
type Lookup func(ctx context.Context, name string, f plan.NameFamily) (dns.Answer, error)

// names looks up where the hosts of a cluster are, again and again. What is known stays
// while nobody answers.
type names struct {
	cluster *Cluster
	plan    *plan.DNS
	lookup  Lookup
	tasks   sync.WaitGroup
	begun   sync.Once

	attempt, success, failure filter.Counter

	mu      sync.Mutex
	answers map[*plan.Endpoint][]netip.Addr
	left    int           // names that have no result yet
	first   chan struct{} // closed when there is none left
}

func newNames(c *Cluster, p *plan.DNS) *names {
	n := &names{cluster: c, plan: p, answers: make(map[*plan.Endpoint][]netip.Addr), first: make(chan struct{})}
	n.lookup = c.set.opts.lookup(p.Resolver)
	s := c.stats.scope
	n.attempt, n.success = s.Counter("update_attempt"), s.Counter("update_success")
	n.failure = s.Counter("update_failure")
	return n
}

// begin begins to look names up; further calls do nothing.
func (n *names) begin() {
	n.begun.Do(func() {
		var all []*plan.Endpoint
		a := &n.cluster.plan.Assignment
		for i := range a.Localities {
			for j := range a.Localities[i].Endpoints {
				if e := &a.Localities[i].Endpoints[j]; e.Addr == nil {
					all = append(all, e)
				}
			}
		}
		n.left = len(all)
		if n.left == 0 {
			n.ready()
		}
		for _, e := range all {
			n.tasks.Go(func() { n.run(e) })
		}
	})
}

// ready is called when each name has a result.
func (n *names) ready() {
	close(n.first)
	n.cluster.beginChecks()
}

// close returns when nothing is looked up any more. The cluster is over.
func (n *names) close() { n.tasks.Wait() }

// run looks up the name of an endpoint until the cluster ends.
func (n *names) run(e *plan.Endpoint) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	fails := n.backoff()
	known := sync.OnceFunc(n.oneKnown)
	for {
		select {
		case <-timer.C:
		case <-n.cluster.over.Done():
			return
		}
		n.attempt.Add(1)
		a, err := n.lookup(n.cluster.over, e.Name, n.plan.Family)
		if n.cluster.over.Err() != nil {
			return
		}
		wait := fails.Next()
		if err != nil || n.plan.Logical && len(a.Addrs) == 0 { // seen on Envoy 1.40
			n.failure.Add(1)
		} else {
			n.found(e, a.Addrs)
			fails = n.backoff()
			wait = n.holds(a)
		}
		known()
		timer.Reset(wait)
	}
}

func (n *names) oneKnown() {
	n.mu.Lock()
	n.left--
	last := n.left == 0
	n.mu.Unlock()
	if last {
		n.ready()
	}
}

func (n *names) backoff() dns.Backoff {
	return dns.NewBackoff(n.plan.Refresh, n.plan.FailBase, n.plan.FailMax)
}

// holds is how long an answer does.
func (n *names) holds(a dns.Answer) time.Duration {
	wait := n.plan.Refresh
	if n.plan.RespectTTL && a.TTL > 0 {
		wait = max(a.TTL, n.plan.LeastRefresh)
	}
	if n.plan.Jitter > 0 {
		wait += rand.N(n.plan.Jitter)
	}
	return wait
}

// found takes an answer. None is an answer, too: then there are no hosts.
func (n *names) found(e *plan.Endpoint, addrs []netip.Addr) {
	n.success.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[e] = addrs
	n.cluster.Update(n.assignment())
}

func at(addrs []netip.Addr, port uint16) (first net.Addr, more []net.Addr) {
	var all []net.Addr
	for _, a := range addrs {
		all = append(all, filter.IPAddr{AddrPort: netip.AddrPortFrom(a, port)})
	}
	return all[0], all[1:]
}

// assignment is the cluster's with what is known of its names: of hosts at one address and
// priority the first (Envoy). n.mu is held.
func (n *names) assignment() plan.Assignment {
	out := n.cluster.plan.Assignment
	out.Localities = slices.Clone(out.Localities)
	type seen struct {
		addr     net.Addr
		priority uint32
	}
	taken := make(map[seen]bool)
	for i := range out.Localities {
		l := &out.Localities[i]
		configured := l.Endpoints
		l.Endpoints = nil
		for j := range configured {
			for _, e := range n.expand(&configured[j]) {
				if k := (seen{e.Addr, l.Priority}); !taken[k] {
					taken[k] = true
					l.Endpoints = append(l.Endpoints, e)
				}
			}
		}
	}
	return out
}

// expand returns the hosts that an endpoint stands for.
func (n *names) expand(e *plan.Endpoint) (out []plan.Endpoint) {
	addrs := n.answers[e]
	switch {
	case e.Addr != nil:
		return []plan.Endpoint{*e}
	case len(addrs) == 0:
		return nil
	case n.plan.Logical:
		one := *e
		one.Addr, one.Additional = at(addrs, e.Port)
		return []plan.Endpoint{one}
	}
	for _, a := range addrs {
		one := *e
		one.Addr = filter.IPAddr{AddrPort: netip.AddrPortFrom(a, e.Port)}
		out = append(out, one)
	}
	return out
}
