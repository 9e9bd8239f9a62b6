// Package dnscache remembers where names are that are asked for while the proxy runs:
// those of dynamic forward proxies.
package dnscache

import (
	"context"
	"runtime"
	"sync"
	"weak"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Lookup finds the addresses of a name; an error means that nobody knows. It is
// dns.Resolver's.
type Lookup func(ctx context.Context, name string, f plan.NameFamily) (dns.Answer, error)

// Caches are those of a proxy. They are safe for concurrent use. Who uses a cache does not
// say when that is over: a cache is there for as long as somebody holds it, or one of its
// hosts waits for its next lookup.
type Caches struct {
	stats  filter.Scope
	lookup func(plan.NameServers) Lookup

	mu    sync.Mutex
	all   map[key]weak.Pointer[Cache]
	ended bool
}

// A key tells caches apart. Of one name there may be two while a configuration changes.
type key struct {
	name string
	hash uint64
}

// New returns caches whose statistics are below root; lookup makes what looks names up.
func New(root filter.Scope, lookup func(plan.NameServers) Lookup) *Caches {
	return &Caches{stats: root, lookup: lookup, all: make(map[key]weak.Pointer[Cache])}
}

// Get returns the cache of a plan, made if there is none. It holds nothing, and shows no
// statistics, before it is watched or asked.
func (s *Caches) Get(p *plan.DNSCache) *Cache {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{p.Name, p.Hash}
	if c := s.all[k].Value(); c != nil {
		return c
	}
	c := newCache(p, s.stats, s.lookup(p.Resolver))
	c.ended = s.ended
	s.all[k] = weak.Make(c)
	runtime.AddCleanup(c, s.forget, k)
	return c
}

// forget is called when nobody has a cache any more.
func (s *Caches) forget(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[k].Value() == nil { // else there is another one meanwhile
		delete(s.all, k)
	}
}

// Close ends all lookups and waits for them; from then on nothing is found.
func (s *Caches) Close() {
	s.mu.Lock()
	s.ended = true
	all := make([]*Cache, 0, len(s.all))
	for _, p := range s.all {
		if c := p.Value(); c != nil {
			all = append(all, c)
		}
	}
	s.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}

// Of returns the cache of a plan, of the proxy whose clusters these are; nil: it has none.
func Of(c filter.Clusters, p *plan.DNSCache) *Cache {
	if o, ok := c.(interface{ DNSCaches() *Caches }); ok {
		return o.DNSCaches().Get(p)
	}
	return nil
}
