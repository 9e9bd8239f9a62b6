package upstream

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/eventlog"
	"github.com/ginnel/ginnel/internal/health"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/outlier"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Cluster is one version of a cluster. It implements filter.Cluster.
type Cluster struct {
	set      *Set
	plan     *plan.Cluster
	info     filter.ClusterInfo
	stats    *stats
	roster   atomic.Pointer[roster]
	detector *outlier.Detector // nil: no host is ejected
	checker  *health.Checker   // nil: hosts are not asked
	events   *eventlog.Log     // of checker; nil: there is none
	names    *names            // nil: no names are looked up
	eds      *endpoints        // nil: no source delivers hosts
	origin   maker             // nil: the hosts are those of the roster

	aggregate *aggregate            // nil: the hosts are its own
	forecast  *forecast             // nil: no connection is made in advance
	sockets   []netconn.DialOptions // by the family of hosts, see socketTo

	over context.Context // ends with the cluster
	end  context.CancelFunc

	changing sync.Mutex // one change of hosts or their health after the other
	checking bool       // health checks have begun; guarded by changing
	before   *Cluster   // in whose place this one is to come; nil: there is none, or this one has; guarded by changing
	ended    bool       // the cluster is no more; guarded by changing

	maintenance string // key in the runtime
	updated     time.Time

	noMetadata filter.Counter // nil: no host passes any on

	secures secures // made of the transports that change the bytes

	codecs func() codecs // made with the first HTTP connection
}

var _ filter.HTTPCluster = (*Cluster)(nil)

// A host is an endpoint and how to reach it.
type host struct {
	filter.Host
	cluster          *Cluster
	endpoint         atomic.Pointer[plan.Endpoint]
	localityMetadata *corev3.Metadata
	via
	internal bool // one of its addresses is
	place    place
	slots    slots
	pools    pools
	ahead    bool          // it gets connections that no request waits for
	outlier  *outlier.Host // nil: there is no detection
	check    *health.Host  // nil: it is not asked

	// Guarded by cluster.changing.
	ill     bool
	since   time.Duration // when its slow start began, in the set's time; 0: it was not healthy since
	leaving bool          // it is gone, and stays while it passes its health checks
	heir    *host         // what took its place, and its health with it; nil: nothing

	requests requests
}

// requests are a host's, beside those under way; for TCP each connection is one.
type requests struct{ total, pending, succeeded, failed, timedOut atomic.Uint64 }

// init makes the parts of a cluster that has its plan and stats.
func (c *Cluster) init(s *Set) {
	p := c.plan
	c.set, c.updated = s, time.Now()
	c.over, c.end = context.WithCancel(context.Background())
	c.maintenance = "upstream.maintenance_mode." + p.Name
	c.info = filter.ClusterInfo{Name: p.Name, StatName: p.StatName, Metadata: p.Metadata,
		BufferBytes: p.BufferBytes, HighWatermarkTimeout: p.HighWatermarkTimeout,
		MaxStreamDuration: p.HTTP.MaxStreamDuration, Policies: p.HTTP.Policies,
		Hashing: p.LB.Policy == plan.RingHash || p.LB.Policy == plan.Maglev}
	c.sockets, c.forecast = socketOptions(p), newForecast(p)
	c.codecs = sync.OnceValue(func() codecs { return newCodecs(&p.HTTP, p.BufferBytes, c.stats.scope, s.opts.Hangups) })
	if passesOn(p) {
		c.noMetadata = c.stats.scope.Counter("internal_upstream.no_metadata")
	}
	c.watch()
	if p.DNS != nil {
		c.names = newNames(c, p.DNS)
	}
	if p.EDS != nil {
		c.eds = newEndpoints(c, p.EDS)
	}
	c.roster.Store(&roster{balancer: lb.New(c.policy(), lb.Hosts{}, 0), assignment: &plan.Assignment{}})
	c.Update(c.initial())
	if p.Aggregate != nil {
		c.aggregate = &aggregate{cluster: c}
	}
	if p.OriginalDst != nil {
		c.origin = &originals{cluster: c, plan: p.OriginalDst}
	}
	if p.Forward != nil {
		c.forward()
	}
}

// initial returns the hosts that need not be looked up.
func (c *Cluster) initial() plan.Assignment {
	if c.names == nil {
		return c.plan.Assignment
	}
	return c.names.assignment()
}

// show makes the cluster the one that the statistics of its name tell of.
func (c *Cluster) show() {
	c.stats.limit(c.plan, c.set.opts.Runtime)
	c.stats.show(c)
}

// newHost makes a host, of which nobody takes care yet.
func (c *Cluster) newHost(l *plan.Locality, e *plan.Endpoint) *host {
	h := &host{cluster: c, localityMetadata: l.Metadata}
	h.endpoint.Store(e)
	h.Cluster, h.Addr, h.Additional = c.plan.Name, e.Addr, e.Additional
	h.Hostname, h.Metadata, h.Locality, h.Priority = e.Hostname, e.Metadata, l.Locality, l.Priority
	h.place = newPlace(e, c.plan.TryOrder)
	h.via = c.through(transportFor(c.plan, e.Metadata, l.Metadata), e)
	h.pools.host = h
	h.ahead = c.plan.PreconnectHost == nil || c.plan.PreconnectHost(e.Metadata)
	h.internal = isInternal(e.Addr) || slices.ContainsFunc(e.Additional, isInternal)
	h.slots.limit = c.plan.Breakers[0].PerHostMaxConnections
	return h
}

// hashKey is what hashing policies hash of a host; "": its address.
func (c *Cluster) hashKey(h *host) string {
	lbMeta := h.Metadata.GetFilterMetadata()["envoy.lb"]
	if k := lbMeta.GetFields()["hash_key"].GetStringValue(); k != "" {
		return k
	}
	if c.plan.LB.HashHostname {
		return h.Hostname
	}
	return ""
}

func configured(s corev3.HealthStatus) lb.Health {
	switch s {
	case corev3.HealthStatus_DEGRADED:
		return lb.Degraded
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_TIMEOUT:
		return lb.Unhealthy
	case corev3.HealthStatus_DRAINING:
		return lb.Excluded // seen on Envoy 1.40: membership_excluded
	}
	return lb.Healthy
}

// Name implements filter.Cluster.
func (c *Cluster) Name() string { return c.plan.Name }

// Members implements filter.Membership.
func (c *Cluster) Members() (available, total int) {
	m := c.membership()
	return m.Healthy + m.Degraded, m.Total
}

func (c *Cluster) membership() lb.Membership {
	if c.origin != nil {
		return c.origin.membership()
	}
	return c.roster.Load().balancer.Membership()
}

// all returns the hosts there are.
func (c *Cluster) all() []*host {
	if c.origin != nil {
		return c.origin.all()
	}
	return c.roster.Load().hosts
}

// AttemptsExceeded implements filter.Cluster.
func (c *Cluster) AttemptsExceeded() { c.stats.attemptsExceeded.Add(1) }

// Plan returns what the cluster was made from.
func (c *Cluster) Plan() *plan.Cluster { return c.plan }

// drain ends what runs for a cluster that is no more, and lets its HTTP connections end
// with the requests that they have.
func (c *Cluster) drain() {
	c.unwatch()
	for _, h := range c.all() {
		h.pools.drain()
	}
}
