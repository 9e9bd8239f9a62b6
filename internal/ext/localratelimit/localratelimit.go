// Package localratelimit refuses what comes beyond a rate, by token buckets of this
// process: requests (envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit) and
// connections (envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit).
package localratelimit

import (
	"cmp"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"

	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/local_ratelimit/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{
		&fields, &statusFields, &bucketFields, &descriptorFields, &entryFields, &limitFields, &hitsFields,
		&actionFields, &headersFields, &parametersFields, &genericFields, &headerMatchFields, &queryMatchFields,
		&maskedFields, &networkFields, &listenerFields,
	}
}

// Register adds the filters, and what routes say in place of that of HTTP, to a registry.
// Buckets that network filters share are those of the registry.
func Register(r *extension.Registry) {
	var all shared
	extension.Register(r, extension.NetworkFilter, func(s *extension.Scope, m *networkv3.LocalRateLimit) filter.NetworkFactory {
		return compileNetwork(s, m, &all)
	})
	extension.Register(r, extension.ListenerFilter, compileListener)
	extension.Register(r, extension.HTTPFilter, func(s *extension.Scope, m *localv3.LocalRateLimit) filter.HTTPFilterFactory {
		return compile(s, m)
	})
	extension.Register(r, extension.HTTPRouteFilter, func(s *extension.Scope, m *localv3.LocalRateLimit) any {
		if m.GetTokenBucket() == nil {
			s.Field("token_bucket").Errorf("local rate limit token bucket must be set for per filter configs")
		}
		return compile(s, m)
	})
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (c *config) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	f := &rateLimit{env: env}
	f.own = f.newLimiter(c)
	return f, nil
}

// rateLimit is the running filter.
type rateLimit struct {
	env    *filter.HTTPEnv
	own    *limiter
	routes sync.Map // *config -> *limiter
}

// A limiter is one configuration at work.
type limiter struct {
	*config
	buckets *buckets // nil: each connection has its own
	conns   sync.Map // connection id -> *buckets

	seen, ok, limited, refused, shadowed filter.Counter
}

func (f *rateLimit) newLimiter(c *config) *limiter {
	stats := f.env.Stats.Scope(c.prefix + ".http_local_rate_limit.")
	l := &limiter{
		config: c, seen: stats.Counter("enabled"), ok: stats.Counter("ok"),
		limited: stats.Counter("rate_limited"), refused: stats.Counter("enforced"),
		shadowed: stats.Counter("shadow_mode"),
	}
	if !c.perConnection {
		l.buckets = newBuckets(c)
	}
	return l
}

// limiter is that of the most specific level of the route, else the filter's own.
func (f *rateLimit) limiter(s *filter.HTTPStream) *limiter {
	r := s.Route()
	if r == nil {
		return f.own
	}
	all := r.FilterConfigs(f.env.Name)
	if len(all) == 0 {
		return f.own
	}
	c, ok := all[len(all)-1].(*config)
	if !ok {
		return f.own
	}
	if l, ok := f.routes.Load(c); ok {
		return l.(*limiter)
	}
	l, _ := f.routes.LoadOrStore(c, f.newLimiter(c))
	return l.(*limiter)
}

// of returns the buckets for requests of a connection.
func (l *limiter) of(conn *filter.Info) *buckets {
	if l.buckets != nil {
		return l.buckets
	}
	if bs, ok := l.conns.Load(conn.ID); ok {
		return bs.(*buckets)
	}
	bs, loaded := l.conns.LoadOrStore(conn.ID, newBuckets(l.config))
	if !loaded { // nothing tells a filter that a connection has ended, but that nobody holds it any more
		runtime.AddCleanup(conn, func(id uint64) { l.conns.Delete(id) }, conn.ID)
	}
	return bs.(*buckets)
}

// WrapHTTP implements filter.HTTPFilter.
func (f *rateLimit) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		l := f.limiter(s)
		if !l.enabled.Hit(rand.Uint64(), f.env.Runtime) {
			return next.ServeHTTP(s)
		}
		l.seen.Add(1)
		b, v := l.judge(s, f.env)
		resp, err := f.answer(s, l, b, v, next)
		if err == nil && l.headers && b != nil {
			tokens, seconds := b.left()
			resp.Header.Add("x-ratelimit-limit", strconv.FormatUint(uint64(b.most), 10))
			resp.Header.Add("x-ratelimit-remaining", strconv.FormatUint(tokens, 10))
			resp.Header.Add("x-ratelimit-reset", strconv.FormatUint(seconds, 10))
		}
		return resp, err
	})
}

func (f *rateLimit) answer(s *filter.HTTPStream, l *limiter, b *bucket, v verdict, next filter.HTTPHandler) (*httpmsg.Response, error) {
	if v == allowed {
		l.ok.Add(1)
		return next.ServeHTTP(s)
	}
	l.limited.Add(1)
	if v == shadowed {
		l.shadowed.Add(1)
		return next.ServeHTTP(s)
	}
	if !l.enforced.Hit(rand.Uint64(), f.env.Runtime) {
		l.forwarded.Apply(&s.Request.Header, s.Info)
		return next.ServeHTTP(s)
	}
	l.refused.Add(1)
	return l.refuse(s, b), nil
}

// refuse answers a request that is one too many.
func (l *limiter) refuse(s *filter.HTTPStream, b *bucket) *httpmsg.Response {
	var h httpmsg.Header
	l.config.refused.Apply(&h, s.Info)
	if l.retryAfter && l.status == 429 && !h.Has("retry-after") {
		seconds := uint64(1)
		if b != nil {
			_, seconds = b.left()
		}
		h.Add("retry-after", strconv.FormatUint(max(seconds, 1), 10))
	}
	return s.Reply(filter.LocalReply{
		Status: l.status, Body: "local_rate_limited", Details: "local_rate_limited",
		Flags: filter.RateLimited, GRPCStatus: l.grpcStatus, Header: h,
	})
}

// A match is a bucket that a descriptor of the request has found.
type match struct {
	*bucket
	hits   float64
	shadow bool
}

// A verdict is what the buckets say of a request.
type verdict uint8

const (
	allowed  verdict = iota
	shadowed         // only buckets in shadow mode have no token for it
	denied
)

// judge takes the tokens for a request. The bucket is the one that has none, or that
// speaks for all; nil: there is none to tell of. Slow buckets come before fast ones, the
// default one last.
func (l *limiter) judge(s *filter.HTTPStream, env *filter.HTTPEnv) (*bucket, verdict) {
	bs := l.of(s.Info.HTTP().Conn)
	var few [4]match
	found, v := l.match(few[:0], bs, s, env), allowed
	for _, m := range found {
		switch {
		case m.take(m.hits):
		case m.shadow:
			v = shadowed
		default:
			return m.bucket, denied
		}
	}
	if bs.common != nil && (len(found) == 0 || l.alwaysDefault) && !bs.common.take(1) {
		if bs.common.most == 0 { // which is no bucket, but a "no" (Envoy)
			return nil, denied
		}
		return bs.common, denied
	}
	if len(found) > 0 {
		return found[0].bucket, v
	}
	return bs.common, v
}

func (l *limiter) match(found []match, bs *buckets, s *filter.HTTPStream, env *filter.HTTPEnv) []match {
	if len(l.descriptors) == 0 {
		return found
	}
	var room [4]entry
	for i := range l.limits {
		entries, ok := l.limits[i].describe(room[:0], s, env)
		if !ok {
			continue
		}
		if b, shadow := bs.find(entries); b != nil {
			found = append(found, match{b, l.limits[i].hits, shadow})
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(a.rate, b.rate) })
	return found
}
