package upstream

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/dnscache"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/state"
)

// A maker makes the hosts of a cluster itself, as they are asked for.
type maker interface {
	choose(*filter.Info) *host // nil: none
	all() []*host
	membership() lb.Membership
	close()
}

var (
	_ maker            = (*originals)(nil)
	_ maker            = (*forwarded)(nil)
	_ dnscache.Watcher = (*forwarded)(nil)
)

// forwarded are the hosts of a dynamic forward proxy: the names that the DNS cache knows
// addresses of.
type forwarded struct {
	cluster *Cluster
	plan    *plan.Forward
	cache   *dnscache.Cache

	mu    sync.RWMutex
	hosts map[string]*forward // by name, with the port
	list  atomic.Pointer[[]*host]
}

// A forward is a host, and the name that it is known by.
type forward struct {
	*host
	name *dnscache.Host
}

// forward makes the cluster a dynamic forward proxy.
func (c *Cluster) forward() {
	p := c.plan.Forward
	f := &forwarded{cluster: c, plan: p, cache: c.set.caches.Get(p.Cache), hosts: make(map[string]*forward)}
	f.list.Store(new([]*host))
	c.origin = f
	f.cache.Watch(f)
}

// DNSCaches returns the DNS caches that the clusters of the set use, for filters that share
// them.
func (s *Set) DNSCaches() *dnscache.Caches { return s.caches }

// ForwardPort returns the port that names get which come without one; ok is false for a
// cluster that is no dynamic forward proxy.
func (c *Cluster) ForwardPort() (port uint16, ok bool) {
	if c.plan.Forward == nil {
		return 0, false
	}
	return c.plan.Forward.Port, true
}

// Found implements dnscache.Watcher. A name with other addresses is another host, and
// connections to the one before end with their requests.
func (f *forwarded) Found(n *dnscache.Host) {
	addrs := n.Addrs()
	e := &plan.Endpoint{Addr: addrs[0], Additional: addrs[1:], Weight: 1, Hostname: n.Name}
	c := f.cluster
	h := c.newHost(&plan.Locality{}, e)
	f.mu.Lock()
	was := f.hosts[n.Name]
	c.care(h, nil) // what is known of the health was known of another address
	f.hosts[n.Name] = &forward{h, n}
	f.show()
	f.mu.Unlock()
	if h.check != nil {
		c.begin(h.check)
	}
	if was != nil {
		was.leave()
		return
	}
	c.stats.counted(c)
}

// Gone implements dnscache.Watcher.
func (f *forwarded) Gone(n *dnscache.Host) {
	f.mu.Lock()
	was := f.hosts[n.Name]
	delete(f.hosts, n.Name)
	f.show()
	f.mu.Unlock()
	if was != nil {
		was.leave()
		f.cluster.stats.counted(f.cluster)
	}
}

// show makes the list of hosts, in the order of their names. f.mu is held.
func (f *forwarded) show() {
	list := make([]*host, 0, len(f.hosts))
	for _, name := range slices.Sorted(maps.Keys(f.hosts)) {
		list = append(list, f.hosts[name].host)
	}
	f.list.Store(&list)
}

// wanted is the name that a connection or request is for; "": nothing says.
func (f *forwarded) wanted(i *filter.Info) string {
	name := state.DynamicHost(i)
	h := i.HTTP()
	switch {
	case name != "":
	case h != nil && h.Request != nil:
		name = h.Request.Authority
	default:
		name = i.Rest().Inspected.ServerName
	}
	if name == "" {
		return ""
	}
	port := f.plan.Port
	if p, ok := state.DynamicPort(i); ok {
		port = p
	}
	return dnscache.Name(name, port)
}

// get returns the host of a name; nil: it is not known.
func (f *forwarded) get(name string) *forward {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.hosts[name]
}

// choose implements maker. Of a host that is not healthy it makes none (Envoy).
func (f *forwarded) choose(i *filter.Info) *host {
	h := f.get(f.wanted(i))
	if h == nil || h.health(lb.Healthy) == lb.Unhealthy {
		return nil
	}
	h.name.Touch()
	return h.host
}

// resolveConnection looks up where a connection goes, unless that is known or the cluster
// is of another type.
func (c *Cluster) resolveConnection(r *filter.ConnectRequest) error {
	f, ok := c.origin.(*forwarded)
	if !ok {
		return nil
	}
	name := f.wanted(r.Info)
	if f.get(name) != nil {
		return nil
	}
	err := f.resolve(name, dnscache.Wait{Begins: r.Hop.Waiting, Until: r.Hop.Deadline()})
	if _, none := err.(*filter.NoHostError); none && r.Info.HTTP() == nil {
		return filter.ErrNoHost // logs of connections have no details of it
	}
	return err
}

// resolveRequest is resolveConnection for a request.
func (c *Cluster) resolveRequest(r *filter.StreamRequest) error {
	f, ok := c.origin.(*forwarded)
	if !ok {
		return nil
	}
	name := f.wanted(r.Info)
	if f.get(name) != nil {
		return nil
	}
	return f.resolve(name, dnscache.Wait{Begins: r.Waiting, Ends: r.Waited, Until: r.Deadline})
}

// resolve looks a name up. The error is a *filter.NoHostError, or filter.ErrCanceled.
func (f *forwarded) resolve(name string, w dnscache.Wait) error {
	details, known := "", true
	_, err := f.lookUp(name, w)
	switch e := err.(type) {
	case nil:
		return nil
	case *dnscache.FailedError:
		details, known = "dns_resolution_failure{"+strings.ReplaceAll(e.Details, " ", "_")+"}", !e.Waited
	default:
		switch err {
		case filter.ErrCanceled:
			return err
		case dnscache.ErrPending:
			details = "dns_cache_pending_requests_overflow"
		case dnscache.ErrFull:
			details = "dns_cache_overflow"
		case errNoName:
			details = "empty_host_header"
		}
	}
	if known { // Envoy counts no others
		f.cluster.stats.noneHealthy.Add(1)
	}
	return &filter.NoHostError{Details: details}
}

var errNoName = errors.New("nothing says where to")

func (f *forwarded) lookUp(name string, w dnscache.Wait) (*dnscache.Host, error) {
	if name == "" {
		return nil, errNoName
	}
	return f.cache.Resolve(name, w)
}

// close implements maker.
func (f *forwarded) close() { f.cache.Unwatch(f) }

// all implements maker.
func (f *forwarded) all() []*host { return *f.list.Load() }

// membership implements maker.
func (f *forwarded) membership() lb.Membership {
	var m lb.Membership
	for _, h := range f.all() {
		m.Total++
		switch h.health(lb.Healthy) {
		case lb.Healthy:
			m.Healthy++
		case lb.Degraded:
			m.Degraded++
		}
	}
	return m
}
