package upstream

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
	"github.com/ginnel/ginnel/internal/plan"
)

// stats are a cluster's under Envoy's names. All versions of the cluster share them.
type stats struct {
	scope    filter.Scope
	breakers [2]*breaker // by routing priority: default, high

	total, connectFail, connectTimeout, overflow     filter.Counter
	destroy, destroyLocal, destroyRemote             filter.Counter
	withRequest, localWithRequest, remoteWithRequest filter.Counter
	received, sent, paused, resumed                  filter.Counter
	noneHealthy, panics, attemptsExceeded, bind      filter.Counter
	requests, pendingTotal, pendingOverflow          filter.Counter
	ejected, canceled, preconnectSkipped             filter.Counter
	active, requestsActive, pendingActive            filter.Gauge
	connectMillis, lengthMillis                      filter.Histogram
	http                                             httpStats
	subsets                                          subsetStats

	used atomic.Bool // there has been a connection

	mu      sync.Mutex
	of      *Cluster      // the version that is shown
	members lb.Membership // as the gauges show it
	table   lb.TableStats // likewise
	divided *lb.Balancer  // likewise, of subsets; nil: none
}

func newStats(root filter.Scope, p *plan.Cluster) *stats {
	name := p.StatName
	if name == "" {
		name = p.Name
	}
	s := root.Scope("cluster." + name + ".")
	unmoved(s)
	return &stats{
		scope: s,
		breakers: [2]*breaker{
			newBreaker(s.Scope("circuit_breakers.default.")), newBreaker(s.Scope("circuit_breakers.high.")),
		},
		total: s.Counter("upstream_cx_total"), active: s.Gauge("upstream_cx_active"),
		connectFail: s.Counter("upstream_cx_connect_fail"), connectTimeout: s.Counter("upstream_cx_connect_timeout"),
		overflow: s.Counter("upstream_cx_overflow"), noneHealthy: s.Counter("upstream_cx_none_healthy"),
		destroy:      s.Counter("upstream_cx_destroy"),
		destroyLocal: s.Counter("upstream_cx_destroy_local"), destroyRemote: s.Counter("upstream_cx_destroy_remote"),
		withRequest:       s.Counter("upstream_cx_destroy_with_active_rq"),
		localWithRequest:  s.Counter("upstream_cx_destroy_local_with_active_rq"),
		remoteWithRequest: s.Counter("upstream_cx_destroy_remote_with_active_rq"),
		received:          s.Counter("upstream_cx_rx_bytes_total"), sent: s.Counter("upstream_cx_tx_bytes_total"),
		paused:  s.Counter("upstream_flow_control_paused_reading_total"),
		resumed: s.Counter("upstream_flow_control_resumed_reading_total"),
		panics:  s.Counter("lb_healthy_panic"), bind: s.Counter("bind_errors"),
		attemptsExceeded: s.Counter("upstream_cx_connect_attempts_exceeded"),
		requests:         s.Counter("upstream_rq_total"), requestsActive: s.Gauge("upstream_rq_active"),
		pendingTotal: s.Counter("upstream_rq_pending_total"), pendingActive: s.Gauge("upstream_rq_pending_active"),
		pendingOverflow: s.Counter("upstream_rq_pending_overflow"),
		ejected:         s.Counter("upstream_rq_pending_failure_eject"), canceled: s.Counter("upstream_rq_cancelled"),
		preconnectSkipped: s.Counter("upstream_cx_preconnect_skipped"),
		http:              newHTTPStats(s), subsets: newSubsetStats(s),
		connectMillis: s.Histogram("upstream_cx_connect_ms"), lengthMillis: s.Histogram("upstream_cx_length_ms"),
	}
}

// unmoved makes the statistics that every cluster of Envoy has and nothing here
// moves yet, so that dashboards find them.
func unmoved(s filter.Scope) {
	for name := range strings.FieldsSeq(`
		assignment_stale assignment_timeout_received assignment_use_cached
		lb_local_cluster_not_ok lb_recalculate_zone_structures
		lb_zone_cluster_too_small lb_zone_no_capacity_left lb_zone_routing_all_directly
		lb_zone_routing_cross_zone lb_zone_routing_sampled membership_change
		original_dst_host_invalid retry_or_shadow_abandoned
		update_attempt update_empty update_failure update_no_rebuild update_success
		upstream_cx_connect_with_0_rtt upstream_cx_http3_total
		upstream_flow_control_backed_up_total upstream_flow_control_drained_total upstream_http3_broken
		upstream_internal_redirect_failed_total upstream_internal_redirect_succeeded_total
		upstream_rq_0rtt upstream_rq_completed
		upstream_rq_maintenance_mode upstream_rq_max_duration_reached
		upstream_rq_per_try_idle_timeout upstream_rq_per_try_timeout
		upstream_rq_retry upstream_rq_retry_backoff_exponential upstream_rq_retry_backoff_ratelimited
		upstream_rq_retry_limit_exceeded upstream_rq_retry_overflow upstream_rq_retry_success
		upstream_rq_rx_reset_no_error upstream_rq_timeout`) {
		s.Counter(name)
	}
	for name := range strings.FieldsSeq(`
		max_host_weight upstream_queue_overloaded version
		upstream_cx_rx_bytes_buffered upstream_cx_tx_bytes_buffered`) {
		s.Gauge(name)
	}
	s.Gauge("warming_state").Add(0) // written, though 0: static clusters do not warm
}

// close gives the statistics back: they are listed no more, but connections that
// live on can still move them.
func (s *stats) close() { s.scope.Close() }

// limit sets the limits, with those of the runtime over them (Envoy).
func (s *stats) limit(p *plan.Cluster, r filter.Runtime) {
	for i, b := range s.breakers {
		limits := p.Breakers[i]
		if r != nil {
			prefix := "circuit_breakers." + p.Name + [...]string{".default.", ".high."}[i]
			for key, v := range map[string]*uint32{
				"max_connections": &limits.MaxConnections, "max_pending_requests": &limits.MaxPending,
				"max_requests": &limits.MaxRequests, "max_retries": &limits.MaxRetries,
				"max_connection_pools": &limits.MaxConnectionPools,
			} {
				*v = uint32(min(r.Uint(prefix+key, uint64(*v)), math.MaxUint32))
			}
		}
		b.limit(limits)
	}
}

// matched counts a host that got the transport socket of that name.
func (s *stats) matched(name string) {
	if name == "" {
		name = "default"
	}
	s.scope.Counter(name + ".total_match_count").Add(1)
}

// show shows this version of the cluster from now on, and makes the statistics that depend
// on what is configured.
func (s *stats) show(c *Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of = c
	s.forgetSubsets()
	s.showMembers(c)
	s.scope.Counter("membership_change").Add(priorities(c.roster.Load().hosts))
	s.scope.Counter("default.total_match_count")
	for i := range c.plan.Transports {
		s.scope.Counter(c.plan.Transports[i].Name + ".total_match_count")
	}
	s.showTable(c)
	s.showSubsets(c)
}

// changed shows the members after hosts came and went.
func (s *stats) changed(c *Cluster, different bool, added, gone []*host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of != c { // not yet, or no more
		return
	}
	s.scope.Counter("membership_change").Add(priorities(added, gone))
	if !different {
		s.scope.Counter("update_no_rebuild").Add(1)
	}
	s.showMembers(c)
	s.showTable(c)
	s.showSubsets(c)
}

// counted shows how many hosts there are of a cluster that makes them itself.
func (s *stats) counted(c *Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == c {
		s.scope.Counter("membership_change").Add(1)
		s.showMembers(c)
	}
}

// healed shows the members after their health has changed, unless c is of the past.
func (s *stats) healed(c *Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == c {
		s.showMembers(c)
		s.showTable(c)
		s.showSubsets(c)
	}
}

func (s *stats) showMembers(c *Cluster) {
	m, was := c.membership(), s.members
	for name, d := range map[string]int{
		"total": m.Total - was.Total, "healthy": m.Healthy - was.Healthy,
		"degraded": m.Degraded - was.Degraded, "excluded": m.Excluded - was.Excluded,
	} {
		s.scope.Gauge("membership_" + name).Add(int64(d))
	}
	s.members = m
}

// priorities is the number of those that some hosts have.
func priorities(hosts ...[]*host) uint64 {
	seen := make(map[uint32]bool)
	for _, list := range hosts {
		for _, h := range list {
			seen[h.Priority] = true
		}
	}
	return uint64(len(seen))
}

func passesOn(p *plan.Cluster) bool {
	on := func(t *plan.Transport) bool {
		if t.Socket == nil {
			return false
		}
		_, ok := t.Socket.Passthrough()
		return ok
	}
	any := on(&p.Transport)
	for i := range p.Transports {
		any = any || on(&p.Transports[i].Transport)
	}
	return any
}

func (s *stats) showTable(c *Cluster) {
	t, ok := c.roster.Load().balancer.Table()
	if !ok {
		return
	}
	was := s.table
	s.table = t
	least, most := int64(t.Least)-int64(was.Least), int64(t.Most)-int64(was.Most)
	if c.plan.LB.Policy == plan.Maglev {
		s.scope.Gauge("maglev_lb.min_entries_per_host").Add(least)
		s.scope.Gauge("maglev_lb.max_entries_per_host").Add(most)
		return
	}
	s.scope.Gauge("ring_hash_lb.size").Add(int64(t.Size) - int64(was.Size))
	s.scope.Gauge("ring_hash_lb.min_hashes_per_host").Add(least)
	s.scope.Gauge("ring_hash_lb.max_hashes_per_host").Add(most)
}

// setStats are those of all clusters together.
type setStats struct {
	added, modified, removed filter.Counter
	active, warming          filter.Gauge
}

func newSetStats(root filter.Scope) setStats {
	s := root.Scope("cluster_manager.")
	for _, name := range []string{
		"cluster_updated", "cluster_updated_via_merge", "update_merge_cancelled", "update_out_of_merge_window",
	} {
		s.Counter(name)
	}
	warming := s.Gauge("warming_clusters")
	warming.Add(0)
	return setStats{
		warming: warming,
		added:   s.Counter("cluster_added"), modified: s.Counter("cluster_modified"),
		removed: s.Counter("cluster_removed"), active: s.Gauge("active_clusters"),
	}
}
