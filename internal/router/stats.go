package router

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// stats are the router's own, http.<prefix>.
type stats struct {
	noRoute, noCluster, redirects, directs, total, lateResets filter.Counter

	// Internal redirects that went to the client, by why.
	badLocation, unsafeScheme, tooMany, noTarget, predicate filter.Counter
}

func newStats(s filter.Scope) stats {
	s.Counter("rq_overload_local_reply") // nothing is shed yet
	return stats{
		noRoute: s.Counter("no_route"), noCluster: s.Counter("no_cluster"),
		redirects: s.Counter("rq_redirect"), directs: s.Counter("rq_direct_response"),
		badLocation:  s.Counter("passthrough_internal_redirect_bad_location"),
		unsafeScheme: s.Counter("passthrough_internal_redirect_unsafe_scheme"),
		tooMany:      s.Counter("passthrough_internal_redirect_too_many_redirects"),
		noTarget:     s.Counter("passthrough_internal_redirect_no_route"),
		predicate:    s.Counter("passthrough_internal_redirect_predicate"),
		total:        s.Counter("rq_total"), lateResets: s.Counter("rq_reset_after_downstream_response_started"),
	}
}

// clusterStats are what the router counts of a cluster, cluster.<name>.
type clusterStats struct {
	cluster                          filter.HTTPCluster
	all, external, internal, canary  *responses
	retried                          *responses // that were tried again
	timeout, tryTimeout, tryIdle     filter.Counter
	maxDuration, maintenance         filter.Counter
	retry, exponential, limited      filter.Counter
	retryLimit, success, overflow    filter.Counter
	abandoned, redirected, notGuided filter.Counter
}

func newClusterStats(c filter.HTTPCluster) *clusterStats {
	s := c.Stats()
	rq := func(name string) filter.Counter { return s.Counter("upstream_rq_" + name) }
	return &clusterStats{
		cluster: c,
		all:     newResponses(s, ""), external: newResponses(s, "external."),
		internal: newResponses(s, "internal."), canary: newResponses(s, "canary."),
		retried: newResponses(s, "retry."),
		timeout: rq("timeout"), tryTimeout: rq("per_try_timeout"), tryIdle: rq("per_try_idle_timeout"),
		maxDuration: rq("max_duration_reached"), maintenance: rq("maintenance_mode"),
		retry: rq("retry"), exponential: rq("retry_backoff_exponential"), limited: rq("retry_backoff_ratelimited"),
		retryLimit: rq("retry_limit_exceeded"), success: rq("retry_success"), overflow: rq("retry_overflow"),
		abandoned:  s.Counter("retry_or_shadow_abandoned"),
		redirected: s.Counter("upstream_internal_redirect_succeeded_total"),
		notGuided:  s.Counter("upstream_internal_redirect_failed_total"),
	}
}

// responses are counts of responses below a prefix. They are made when they first move,
// as in Envoy.
type responses struct {
	scope  filter.Scope
	prefix string

	codes  atomic.Pointer[[]codeCounters] // few: a search in order beats a map
	took   atomic.Pointer[filter.Histogram]
	making sync.Mutex
}

type codeCounters struct {
	code                    int
	completed, group, exact filter.Counter
}

func newResponses(s filter.Scope, prefix string) *responses {
	return &responses{scope: s, prefix: prefix + "upstream_rq_"}
}

// count counts a response; blank tells that its code does not matter.
func (r *responses) count(code int, blank bool) {
	c := r.counters(code)
	c.completed.Add(1)
	if !blank {
		c.group.Add(1)
		c.exact.Add(1)
	}
}

func (r *responses) counters(code int) *codeCounters {
	if c := r.find(code); c != nil {
		return c
	}
	r.making.Lock()
	defer r.making.Unlock()
	if c := r.find(code); c != nil {
		return c
	}
	text := strconv.Itoa(code)
	all := []codeCounters{{
		code, r.scope.Counter(r.prefix + "completed"),
		r.scope.Counter(r.prefix + text[:1] + "xx"), r.scope.Counter(r.prefix + text),
	}}
	if old := r.codes.Load(); old != nil {
		all = append(all, *old...)
	}
	r.codes.Store(&all)
	return &all[0]
}

func (r *responses) find(code int) *codeCounters {
	all := r.codes.Load()
	if all == nil {
		return nil
	}
	for i := range *all {
		if c := &(*all)[i]; c.code == code {
			return c
		}
	}
	return nil
}

// record notes how long an exchange took.
func (r *responses) record(d time.Duration) {
	h := r.took.Load()
	if h == nil {
		made := r.scope.Histogram(r.prefix + "time")
		h = &made
		r.took.Store(h)
	}
	(*h).Record(uint64(d / time.Millisecond))
}

// A book keeps statistics by what they are of, for they cost a search by name each.
type book[K comparable, V any] struct {
	entries atomic.Pointer[map[K]V]
	making  sync.Mutex
}

// get returns the entry of a key, made where there is none that will do.
func (b *book[K, V]) get(k K, good func(V) bool, build func() V) V {
	if v, ok := b.find(k); ok && good(v) {
		return v
	}
	b.making.Lock()
	defer b.making.Unlock()
	if v, ok := b.find(k); ok && good(v) {
		return v
	}
	all := make(map[K]V)
	if old := b.entries.Load(); old != nil {
		for k, v := range *old {
			all[k] = v
		}
	}
	v := build()
	all[k] = v
	b.entries.Store(&all)
	return v
}

func (b *book[K, V]) find(k K) (v V, ok bool) {
	if m := b.entries.Load(); m != nil {
		v, ok = (*m)[k]
	}
	return v, ok
}
