package route

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/httpmsg"
)

// A Route is where a request goes. Exactly one of Action, Redirect and DirectResponse is
// set. It implements [filter.HTTPRoute], and is immutable.
type Route struct {
	Host     *VirtualHost
	Action   *Action
	Redirect *Redirect
	Direct   *DirectResponse

	// RequestHeaders and ResponseHeaders are what all levels change, in the order of
	// their work. nil: nothing. Requests are changed only if they are forwarded.
	RequestHeaders, ResponseHeaders Mutations

	// BufferBytes limits how much of a request's body is kept for retries and the like;
	// it counts only where HasBuffer. Capped tells that the connection's own limit holds,
	// too, if it is lower.
	BufferBytes       uint64
	HasBuffer, Capped bool
	// StatPrefix names statistics of the route, vhost.<name>.route.<stat_prefix>; "": none.
	StatPrefix string

	name     string
	metadata *corev3.Metadata
	match    match
	filters  *perFilter // nil: nothing
	weighted *weighted  // nil: Action says it all
}

// Name implements filter.HTTPRoute.
func (r *Route) Name() string { return r.name }

// Metadata implements filter.HTTPRoute.
func (r *Route) Metadata() *corev3.Metadata { return r.metadata }

// HostMetadata implements filter.HTTPRoute.
func (r *Route) HostMetadata() *corev3.Metadata {
	if r.Host == nil {
		return nil
	}
	return r.Host.Metadata
}

// ForwardsTo is for filter.ClusterOf.
func (r *Route) ForwardsTo(m *httpmsg.Request) (cluster string, ok bool) {
	if r.Action == nil {
		return "", false
	}
	return r.Action.ClusterOf(m), true
}

// PathOf is for filter.PathOf.
func (r *Route) PathOf(m *httpmsg.Request) string {
	path := withoutQuery(m.Path)
	if r.Host != nil && r.Host.ignoreParams {
		path = withoutParams(path)
	}
	return path
}

// FilterConfigs implements filter.HTTPRoute. The caller must not change the list.
func (r *Route) FilterConfigs(name string) []any {
	if r.filters == nil {
		return nil
	}
	return r.filters.configs[name]
}

// FilterDisabled implements filter.HTTPRoute.
func (r *Route) FilterDisabled(name string) (disabled, ok bool) {
	if r.filters == nil {
		return false, false
	}
	disabled, ok = r.filters.disabled[name]
	return disabled, ok
}

// pick returns the route itself, or the one of the weighted cluster that the request
// falls to; nil when the runtime has set all weights to 0.
func (r *Route) pick(q *Query) *Route {
	if r.weighted == nil {
		return r
	}
	return r.weighted.pick(r.Action, q)
}

// weighted shares requests among clusters.
type weighted struct {
	entries []Route // each with its cluster's Action
	weights []uint64
	keys    []string // of the runtime; nil: it has no say
	total   uint64   // > 0
	header  string   // has the random number; "": none does
	hash    bool     // the hash policies make it
}

func (w *weighted) pick(a *Action, q *Query) *Route {
	n, total := w.random(a, q), w.total
	if w.keys != nil && q.Runtime != nil {
		total = 0
		for i := range w.weights {
			total += w.weight(i, q)
		}
	}
	if total == 0 {
		return nil
	}
	n %= total
	for i := range w.entries {
		weight := w.weight(i, q)
		if n < weight {
			return &w.entries[i]
		}
		n -= weight
	}
	return nil
}

func (w *weighted) weight(i int, q *Query) uint64 {
	if w.keys == nil || q.Runtime == nil {
		return w.weights[i]
	}
	return min(q.Runtime.Uint(w.keys[i], w.weights[i]), 1<<32) // so that a sum fits
}

// random returns the number that decides: of the header if it has exactly one (Envoy:
// several would be read differently by different proxies), of the hash policies, or the
// request's own.
func (w *weighted) random(a *Action, q *Query) uint64 {
	if w.header != "" {
		i := q.Request.Header.Index(w.header)
		if i >= 0 && !q.Request.Header[i+1:].Has(w.header) {
			if n, err := strconv.ParseUint(q.Request.Header[i].Value, 10, 64); err == nil {
				return n
			}
		}
		return q.Random
	}
	if w.hash {
		if h, ok := a.hash(q.Request, q.Info, nil); ok {
			return h
		}
	}
	return q.Random
}
