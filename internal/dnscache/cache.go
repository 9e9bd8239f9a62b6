package dnscache

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/plan"
)

// Why Resolve did not find a name, to be compared with ==; a name that cannot be looked up
// is a *FailedError, one that was not waited for long enough filter.ErrCanceled.
var (
	ErrPending = errors.New("too many lookups are waited for")
	ErrFull    = errors.New("the DNS cache is full")
)

// A FailedError is a name that has no address.
type FailedError struct {
	Details string // as Envoy's logs have it
	Waited  bool   // it was not known before
}

func (e *FailedError) Error() string { return e.Details }

// A Watcher is told of the hosts of a cache. Its methods are called one after the other,
// with a lock held: they do not ask the cache.
type Watcher interface {
	// Found tells of a host that has addresses, or others than before.
	Found(*Host)
	// Gone tells of a host that was found and is not known any more.
	Gone(*Host)
}

// A Cache is one of Caches.
type Cache struct {
	plan   *plan.DNSCache
	lookup Lookup
	root   filter.Scope
	born   time.Time
	ctx    context.Context
	end    context.CancelFunc
	tasks  sync.WaitGroup // lookups under way

	mu       sync.Mutex
	stats    *counts // nil: nobody watches, and there is no host
	hosts    map[string]*Host
	watchers []Watcher
	pending  int
	ended    bool
}

func newCache(p *plan.DNSCache, root filter.Scope, lookup Lookup) *Cache {
	c := &Cache{plan: p, lookup: lookup, root: root, born: time.Now(), hosts: make(map[string]*Host)}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// wake makes the statistics. c.mu is held.
func (c *Cache) wake() {
	if c.stats == nil {
		c.stats = newCounts(c.root, c.plan.Name)
		c.stats.pending(0, int(c.plan.MaxPending))
	}
}

// doze gives the statistics back when there is nothing that they could tell of. c.mu is held.
func (c *Cache) doze() {
	if c.stats != nil && len(c.watchers) == 0 && len(c.hosts) == 0 && c.pending == 0 {
		c.stats.close()
		c.stats = nil
	}
}

// Watch tells w of the hosts that there are and will be, until Unwatch. The first one has
// those looked up that the configuration names.
func (c *Cache) Watch(w Watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := len(c.watchers) == 0 && len(c.hosts) == 0
	c.wake()
	c.watchers = append(c.watchers, w)
	for _, h := range c.hosts {
		if h.addrs != nil {
			w.Found(h)
		}
	}
	if !first || c.ended {
		return
	}
	for _, name := range c.plan.Preresolve {
		if c.hosts[name] == nil {
			c.add(name)
		}
	}
}

// Unwatch ends what Watch began. Hosts stay for as long as they are asked for.
func (c *Cache) Unwatch(w Watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = slices.DeleteFunc(c.watchers, func(x Watcher) bool { return x == w })
	c.doze()
}

// A Wait is how long to wait for a name.
type Wait struct {
	// Begins is called before Resolve waits; closing the channel ends that.
	Begins func() (cancel <-chan struct{})
	Ends   func()    // called when the wait is over; nil: nobody wants to know
	Until  time.Time // zero: for ever
}

// Resolve returns the host of a name, as Name makes them. It waits for the first answer if
// the name is not known.
func (c *Cache) Resolve(name string, w Wait) (*Host, error) {
	h, done, err := c.ask(name)
	if h == nil || err != nil {
		return nil, err
	}
	if done {
		return h.result(false)
	}
	defer c.waited()
	if err := h.await(w); err != nil {
		return nil, err
	}
	return h.result(true)
}

// ask finds the host of a name, or begins to look it up; done: it has a result already, and
// nothing is pending.
func (c *Cache) ask(name string) (h *Host, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, false, filter.ErrCanceled
	}
	c.wake()
	defer c.doze()
	if c.pending >= int(c.plan.MaxPending) { // even for what is known (Envoy)
		c.stats.pendingOverflow.Add(1)
		return nil, false, ErrPending
	}
	if h = c.hosts[name]; h != nil && h.stale {
		if h.addrs == nil {
			c.remove(h)
			h = nil
		} else {
			c.begin(h)
		}
	}
	if h == nil {
		if len(c.hosts) >= int(c.plan.MaxHosts) {
			c.stats.overflow.Add(1)
			return nil, false, ErrFull
		}
		h = c.add(name)
	}
	h.Touch()
	if h.known {
		return h, true, nil
	}
	c.pending++
	c.stats.pending(c.pending, int(c.plan.MaxPending))
	return h, false, nil
}

func (c *Cache) waited() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending--
	c.stats.pending(c.pending, int(c.plan.MaxPending))
	c.doze()
}

// add makes a host and begins to look it up. c.mu is held.
func (c *Cache) add(name string) *Host {
	h := &Host{Name: name, cache: c, first: make(chan struct{}), fails: c.backoff()}
	h.host, h.port, _ = split(name)
	h.Touch()
	c.hosts[name] = h
	c.stats.added.Add(1)
	c.stats.hosts.Add(1)
	c.begin(h)
	return h
}

// remove forgets a host. c.mu is held.
func (c *Cache) remove(h *Host) {
	h.gone = true
	h.stop()
	delete(c.hosts, h.Name)
	c.stats.removed.Add(1)
	c.stats.hosts.Add(-1)
	if h.addrs != nil {
		for _, w := range c.watchers {
			w.Gone(h)
		}
	}
}

func (c *Cache) backoff() dns.Backoff {
	return dns.NewBackoff(c.plan.Refresh, c.plan.FailBase, c.plan.FailMax)
}

// close ends the lookups and waits for them.
func (c *Cache) close() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	c.end()
	for _, h := range c.hosts {
		h.stop()
		h.settled()
	}
	c.mu.Unlock()
	c.tasks.Wait()
}

// same reports whether two answers are the same addresses, in whatever order: name servers
// turn it from answer to answer.
func same(a, b []net.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}
