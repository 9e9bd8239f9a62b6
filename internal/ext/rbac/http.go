package rbac

import (
	"net/http"
	"sync"

	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// policySet is the compiled HTTP filter, or what a route says in its place.
type policySet struct {
	prefix, shadowPrefix string
	enforced, shadow     *engine // nil: none
	perRule              bool
}

func compileHTTP(s *extension.Scope, m *httpv3.RBAC) filter.HTTPFilterFactory {
	return compileRequests(s, m)
}

// compileRoute compiles what a route says; without rules of its own it has the filter off.
func compileRoute(s *extension.Scope, m *httpv3.RBACPerRoute) any {
	routeFields.Check(s, m)
	if m.GetRbac() == nil {
		return &policySet{}
	}
	return compileRequests(s.Field("rbac"), m.Rbac)
}

func compileRequests(s *extension.Scope, m *httpv3.RBAC) *policySet {
	httpFields.Check(s, m)
	c := compiler{http: true}
	return &policySet{
		prefix:       m.GetRulesStatPrefix(),
		shadowPrefix: m.GetShadowRulesStatPrefix(),
		enforced:     c.engine(s, "", m.GetRules(), m.GetMatcher()),
		shadow:       c.engine(s, "shadow_", m.GetShadowRules(), m.GetShadowMatcher()),
		perRule:      m.GetTrackPerRuleStats(),
	}
}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (p *policySet) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	f := &requests{name: env.Name, stats: env.HTTP.Scope("rbac.")}
	f.own = f.running(p)
	return f, nil
}

// requests is the running HTTP filter.
type requests struct {
	name   string
	stats  filter.Scope // http.<prefix>.rbac.
	own    *running
	routes sync.Map // *policySet -> *running
}

// running is a policySet at work.
type running struct {
	*policySet
	counters
	stats  filter.Scope
	shadow filter.Scope
}

func (f *requests) running(p *policySet) *running {
	return &running{
		policySet: p, counters: newCounters(f.stats, p.prefix, p.shadowPrefix),
		stats: f.stats.Scope(dotted(p.prefix)), shadow: f.stats.Scope(dotted(p.shadowPrefix)),
	}
}

// of returns what the most specific level of the route says, else the filter's own.
func (f *requests) of(s *filter.HTTPStream) *running {
	r := s.Route()
	if r == nil {
		return f.own
	}
	all := r.FilterConfigs(f.name)
	if len(all) == 0 {
		return f.own
	}
	p, ok := all[len(all)-1].(*policySet)
	if !ok {
		return f.own
	}
	if r, ok := f.routes.Load(p); ok {
		return r.(*running)
	}
	now, _ := f.routes.LoadOrStore(p, f.running(p))
	return now.(*running)
}

// WrapHTTP implements filter.HTTPFilter.
func (f *requests) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		if v := f.of(s).judge(s); !v.allowed {
			return s.Reply(filter.LocalReply{Status: http.StatusForbidden, Body: "RBAC: access denied", Details: v.details()}), nil
		}
		return next.ServeHTTP(s)
	})
}

const httpNamespace = "envoy.filters.http.rbac"

func (r *running) judge(s *filter.HTTPStream) verdict {
	x := subject{info: s.Info, conn: s.Info.HTTP().Conn, request: s.Request, host: s.HTTPHost}
	if e := r.policySet.shadow; e != nil {
		v := e.judge(x, true)
		r.count(v, true)
		r.countRule(r.shadow, "shadow_", v)
		v.tell(s.Info, httpNamespace, r.shadowPrefix, "shadow")
	}
	if r.enforced == nil {
		return verdict{allowed: true}
	}
	v := r.enforced.judge(x, false)
	r.count(v, false)
	r.countRule(r.stats, "", v)
	v.tell(s.Info, httpNamespace, r.prefix, "enforced")
	return v
}

// countRule counts a policy by itself, where that is asked for.
func (r *running) countRule(stats filter.Scope, kind string, v verdict) {
	if r.perRule && v.policy != "" {
		stats.Counter("policy." + v.policy + "." + kind + v.String()).Add(1)
	}
}
