package upstream

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// pools are the connection pools of a host.
type pools struct {
	host *host
	// plain are those of requests that share nothing with their connections, by
	// protocol and priority: what most requests use, without a lock.
	plain [2][2]atomic.Pointer[pool]

	mu      sync.Mutex
	byKey   map[poolKey]*pool
	drained bool // the host is of a cluster that is no more: connections are not kept
}

// A poolKey tells pools of a host apart.
type poolKey struct {
	PoolKey
	protocol httpmsg.Protocol
	high     bool
	// depth keeps connections to internal hosts apart that passed different numbers of
	// hops: else a chain that leads in a circle would multiplex on one of them for ever.
	depth      uint16
	downstream uint64 // id of the only downstream connection served; 0: any
	source     filter.Source
}

// get returns the pool for an order, made if there is none.
func (s *pools) get(o *order) (*pool, error) {
	protocol := o.protocol(s.host.cluster.plan)
	plain := s.plainFor(o, protocol)
	if plain != nil {
		if p := plain.Load(); p != nil {
			return p, nil
		}
	}
	key := s.key(o, protocol)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.byKey[key]; p != nil {
		return p, nil
	}
	p, err := s.add(key, o)
	if err == nil && plain != nil {
		plain.Store(p)
	}
	return p, err
}

// plainFor returns the place of the pool for an order whose key is nothing but
// protocol and priority; nil: it has more.
func (s *pools) plainFor(o *order, p httpmsg.Protocol) *atomic.Pointer[pool] {
	h := s.host
	if o.shared != nil || h.internal || h.pass.sources != nil || h.cluster.plan.HTTP.PerDownstream || o.r.Info.Rest().Source != nil {
		return nil
	}
	if _, asks := h.asks(o); asks != "" {
		return nil
	}
	at := &s.plain[0]
	if p == httpmsg.HTTP2 {
		at = &s.plain[1]
	}
	if o.r.High {
		return &at[1]
	}
	return &at[0]
}

func (s *pools) key(o *order, p httpmsg.Protocol) poolKey {
	h, c := s.host, o.connection()
	k := poolKey{protocol: p, high: o.r.High}
	options := ""
	if h.pass.sources != nil { // what the request passes on is part of who it is
		options = identity(h.pass.metadata(o.r.Info, o.r.Route))
	}
	if _, asks := h.asks(o); asks != "" {
		options = string(appendText([]byte(options), asks))
	}
	if s := o.r.Info.Rest().Source; s != nil && !h.internal {
		k.source = *s
	}
	k.PoolKey = NewPoolKey(nil, options, o.shared)
	if h.internal {
		k.depth = c.Depth
	}
	if h.cluster.plan.HTTP.PerDownstream {
		k.downstream = c.ID
	}
	return k
}

// identity is metadata as text; equal metadata gives equal texts.
func identity(m filter.Metadata, _ uint64) string {
	var out []byte
	for _, ns := range slices.Sorted(maps.Keys(m)) {
		text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m[ns])
		out = appendText(appendText(out, ns), string(text))
	}
	return string(out)
}

// add makes a pool. s.mu is held.
func (s *pools) add(key poolKey, o *order) (*pool, error) {
	c := s.host.cluster
	b := c.breaker(key.high)
	if !b.acquire(&b.pools) {
		c.stats.http.poolOverflow.Add(1)
		return nil, filter.ErrNoHost // Envoy: no pool, so the host is none
	}
	p := newPool(s.host, key, b)
	asks, _ := s.host.asks(o)
	p.asks = p.transportAsks(asks)
	p.draining = s.drained
	if s.byKey == nil {
		s.byKey = make(map[poolKey]*pool)
	}
	s.byKey[key] = p
	c.set.live.add(p)
	return p, nil
}

// remove forgets a pool that is gone.
func (s *pools) remove(p *pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, p.key)
	for i := range s.plain {
		for j := range s.plain[i] {
			s.plain[i][j].CompareAndSwap(p, nil)
		}
	}
	p.breaker.release(&p.breaker.pools)
	s.host.cluster.set.live.remove(p)
	if !p.dialled {
		return
	}
	for _, b := range s.host.cluster.stats.breakers {
		b.pools.open.Add(0) // Envoy shows them from now on, those of the other priority, too
	}
}

// renew lets the connections end with the requests that they have; others may be made.
func (s *pools) renew() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.byKey))
	s.mu.Unlock()
	for _, p := range all {
		p.renew()
	}
}

// evict makes room for the first connection of a pool where circuit breakers have none: a
// connection that another pool of the same limits keeps without a request is closed.
// Without this, connections for identities that do not come again would crowd out the
// others until they time out.
func (c *Cluster) evict(wants *pool) {
	if wants.host.pools.evict(wants) {
		return
	}
	if limit := wants.host.slots.limit; limit > 0 && wants.host.Active.Load() >= uint64(limit) {
		return // other hosts would give up theirs for nothing
	}
	for _, h := range c.all() {
		if h != wants.host && h.pools.evict(wants) {
			return
		}
	}
}

func (s *pools) evict(wants *pool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.byKey {
		if p != wants && p.breaker == wants.breaker && p.spare() {
			return true
		}
	}
	return false
}

// drain lets connections end with the requests that they have.
func (s *pools) drain() {
	s.mu.Lock()
	s.drained = true
	all := slices.Collect(maps.Values(s.byKey))
	s.mu.Unlock()
	for _, p := range all {
		p.drain()
	}
}

// alive are the pools of a set that are not gone, those of clusters before it, too.
type alive struct {
	mu    sync.Mutex
	pools map[*pool]struct{}
	wg    sync.WaitGroup // of connections: from the first dial until they are closed
	ended bool
}

func (a *alive) add(p *pool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pools == nil {
		a.pools = make(map[*pool]struct{})
	}
	a.pools[p] = struct{}{}
}

func (a *alive) remove(p *pool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pools, p)
}

// all returns the pools there are.
func (a *alive) all() []*pool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.pools))
}

// enter counts a connection; false: the set has been closed.
func (a *alive) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return false
	}
	a.wg.Add(1)
	return true
}

// close ends all connections and waits for them.
func (a *alive) close() {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	for _, p := range a.all() {
		p.close()
	}
	a.wg.Wait()
}
