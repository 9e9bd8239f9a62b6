// Package upstream is the clusters of a proxy: it chooses a host for a connection,
// connects to it, and counts what becomes of both.
//
// A connection that was made no longer depends on its cluster: it outlives changes
// and the removal of the cluster, and settles the statistics of the version it
// belongs to.
package upstream

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/dnscache"
	"github.com/ginnel/ginnel/internal/eventlog"
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

	Secrets filter.Secrets // nil: no source delivers any

	Resources filter.Resources // nil: no source delivers hosts

	LogFiles filter.LogFiles // nil: a cluster that wants a log of events is refused
	Outliers *eventlog.Log   // gets the events of outlier detection; nil: nobody does

	Lookup Lookup // nil: as the clusters are configured

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
	known    atomic.Pointer[map[string]bool] // names of all that are configured, and of those that are to be

	changing sync.Mutex     // held from Prepare to the end of the change; taken before mu
	tasks    sync.WaitGroup // what waits for clusters that warm

	mu      sync.Mutex // held while Start begins and Close ends what clusters run, none of which takes it
	order   []*Cluster
	names   []string            // of all that are configured, in their order; written with changing held, too
	warming map[string]*Cluster // that take their place once they are ready; likewise
	first   []*Cluster          // of the change that is being made: they wait for first answers and checks
	stats   setStats
	begun   bool // health checks have

	live   alive
	caches *dnscache.Caches // of dynamic forward proxies
}

// lookup returns what looks names up for a configuration.
func (o *Options) lookup(c plan.NameServers) Lookup {
	if o.Lookup != nil {
		return o.Lookup
	}
	return dns.New(c).Lookup
}

// NewSet returns a set without clusters.
func NewSet(o Options) *Set {
	if o.dial == nil {
		o.dial = dialSocket
	}
	if o.client == nil {
		o.client = newClient
	}
	s := &Set{opts: o, epoch: time.Now(), stats: newSetStats(o.Stats), warming: make(map[string]*Cluster)}
	s.clusters.Store(&map[string]*Cluster{})
	s.know()
	s.caches = dnscache.New(o.Stats, func(p plan.NameServers) dnscache.Lookup { return dnscache.Lookup(o.lookup(p)) })
	return s
}

// Cluster implements filter.Clusters.
func (s *Set) Cluster(name string) (filter.Cluster, bool) {
	c, ok := (*s.clusters.Load())[name]
	return c, ok
}

// Known implements filter.KnownClusters.
func (s *Set) Known(name string) bool { return (*s.known.Load())[name] }

func (s *Set) know(lists ...[]string) {
	all := make(map[string]bool)
	for _, names := range lists {
		for _, name := range names {
			all[name] = true
		}
	}
	s.known.Store(&all)
}

// Apply makes plans the clusters of the set, all at once, and waits for nothing; see
// Prepare.
func (s *Set) Apply(plans []*plan.Cluster) error {
	c, err := s.Prepare(plans)
	if err != nil {
		return err
	}
	c.Apply()
	c.Finish()
	return nil
}

// Start begins to look up the names of hosts, and the health checks, of the clusters there
// are and will be, and returns when each has a result, or ctx has ended. Internal listeners that are to be
// checked are there before.
func (s *Set) Start(ctx context.Context) {
	s.mu.Lock()
	order, was := s.order, s.begun
	s.begun = true
	for _, c := range order {
		if !was {
			c.start()
		}
	}
	s.mu.Unlock()
	for _, c := range order {
		if !was {
			c.await(ctx)
		}
	}
}

// Close ends the HTTP connections, and what is asked of the clusters from now on finds
// none; it returns when nothing of them runs any more.
func (s *Set) Close() {
	s.changing.Lock()
	s.mu.Lock()
	warming := s.warming
	s.warming = nil
	s.mu.Unlock()
	for _, c := range warming {
		c.drain()
	}
	s.changing.Unlock()
	s.tasks.Wait()
	s.mu.Lock()
	for _, c := range s.order {
		c.unwatch()
	}
	s.mu.Unlock()
	s.caches.Close()
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
