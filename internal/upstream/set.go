// Package upstream is the clusters of a proxy: it chooses a host for a connection,
// connects to it, and counts what becomes of both.
//
// A connection that was made no longer depends on its cluster: it outlives changes
// and the removal of the cluster, and settles the statistics of the version it
// belongs to.
package upstream

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
)

// Options of a Set; only Stats is required.
type Options struct {
	Stats   filter.Scope   // of the server: names are whole
	Network Network        // nil: dials of internal addresses are refused
	Runtime filter.Runtime // nil: no values
	Hangups filter.Hangups // nil: an idle connection that the host closes is found when it is used

	dial   dialer // nil: netconn.Dial
	client codec  // nil: those of HTTP/1 and HTTP/2
}

// A dialer is netconn.Dial.
type dialer func(to net.Addr, deadline time.Time, waiting func() <-chan struct{}, o netconn.DialOptions) (filter.Stream, error)

// A Network connects to internal listeners.
type Network interface {
	Connect(*inproc.Dial) (filter.Stream, error)
}

// A Set is the clusters of a proxy by name. It implements filter.Clusters and is
// safe for concurrent use.
type Set struct {
	opts  Options
	epoch time.Time
	ids   atomic.Uint64 // of connections

	clusters atomic.Pointer[map[string]*Cluster]

	mu    sync.Mutex // serialises Apply
	order []*Cluster
	stats setStats
	begun bool // health checks have

	live alive
}

// NewSet returns a set without clusters.
func NewSet(o Options) *Set {
	if o.dial == nil {
		o.dial = dialSocket
	}
	if o.client == nil {
		o.client = newClient
	}
	s := &Set{opts: o, epoch: time.Now(), stats: newSetStats(o.Stats)}
	s.clusters.Store(&map[string]*Cluster{})
	return s
}

// Cluster implements filter.Clusters.
func (s *Set) Cluster(name string) (filter.Cluster, bool) {
	c, ok := (*s.clusters.Load())[name]
	return c, ok
}

// Apply makes plans the clusters of the set, all at once. A cluster whose plan has
// the hash it had stays as it is; another one of a known name takes the place and
// goes on with the statistics; what is not in plans any more cannot be found from
// now on. Open connections notice nothing, but that those of HTTP end when they have no
// request any more.
func (s *Set) Apply(plans []*plan.Cluster) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := *s.clusters.Load()
	next := make(map[string]*Cluster, len(plans))
	order := make([]*Cluster, 0, len(plans))
	for _, p := range plans {
		if next[p.Name] != nil {
			return fmt.Errorf("cluster manager: duplicate cluster '%s'", p.Name)
		}
		next[p.Name] = before[p.Name] // nil: to be made below, when nothing can fail
		if c := before[p.Name]; c == nil || c.plan.Hash != p.Hash {
			next[p.Name] = &Cluster{plan: p}
		}
		order = append(order, next[p.Name])
	}
	for name, c := range next {
		if c != before[name] {
			s.build(c, before[name])
		}
	}
	s.clusters.Store(&next)
	s.order = order
	for name, c := range before {
		if next[name] == nil {
			c.stats.close()
			s.stats.removed.Add(1)
		}
		if next[name] != c {
			c.drain()
		}
	}
	for _, c := range order {
		if s.begun && before[c.plan.Name] != c {
			c.check()
		}
	}
	s.stats.active.Add(int64(len(next) - len(before)))
	return nil
}

// build makes c ready for use; old is what it takes the place of, or nil.
func (s *Set) build(c, old *Cluster) {
	switch {
	case old == nil:
		s.stats.added.Add(1)
		c.stats = newStats(s.opts.Stats, c.plan)
	case old.plan.StatName != c.plan.StatName:
		s.stats.modified.Add(1)
		old.stats.close()
		c.stats = newStats(s.opts.Stats, c.plan)
	default:
		s.stats.modified.Add(1)
		c.stats = old.stats
	}
	c.init(s)
}

// Start begins the health checks of the clusters there are and will be, and returns when
// each host has been checked once, or ctx has ended. Internal listeners that are to be
// checked are there before.
func (s *Set) Start(ctx context.Context) {
	s.mu.Lock()
	order, was := s.order, s.begun
	s.begun = true
	for _, c := range order {
		if !was {
			c.check()
		}
	}
	s.mu.Unlock()
	for _, c := range order {
		if c.checker != nil && !was {
			select {
			case <-c.checker.Checked():
			case <-ctx.Done():
			}
		}
	}
}

// Close ends the HTTP connections, and what is asked of the clusters from now on finds
// none; it returns when nothing of them runs any more.
func (s *Set) Close() {
	s.mu.Lock()
	for _, c := range s.order {
		c.unwatch()
	}
	s.mu.Unlock()
	s.live.close()
}

// Settle counts the bytes that HTTP connections moved so far; who reads the statistics
// calls it before.
func (s *Set) Settle() {
	for _, p := range s.live.all() {
		p.settle()
	}
}

// now is the time since the set was made: a moment in 8 bytes.
func (s *Set) now() time.Duration { return time.Since(s.epoch) }

func dialSocket(to net.Addr, deadline time.Time, waiting func() <-chan struct{}, o netconn.DialOptions) (filter.Stream, error) {
	s, err := netconn.Dial(to, deadline, waiting, o)
	if err != nil {
		return nil, err // not a nil *Socket in an interface
	}
	return s, nil
}
