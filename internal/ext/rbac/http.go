package rbac

import (
	"net/http"

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
	stats := env.HTTP.Scope("rbac.")
	return &requests{
		policySet: p, name: env.Name, counters: newCounters(stats, p.prefix, p.shadowPrefix),
		enforcedStats: stats.Scope(dotted(p.prefix)), shadowStats: stats.Scope(dotted(p.shadowPrefix)),
	}, nil
}

// requests is the running HTTP filter.
type requests struct {
	*policySet
	name string
	counters
	enforcedStats, shadowStats filter.Scope
}

// of returns what the most specific level of the route says, else the filter itself. The
// statistics are those of the filter in either case (Envoy).
func (f *requests) of(s *filter.HTTPStream) *policySet {
	if r := s.Route(); r != nil {
		if all := r.FilterConfigs(f.name); len(all) > 0 {
			if p, ok := all[len(all)-1].(*policySet); ok {
				return p
			}
		}
	}
	return f.policySet
}

// WrapHTTP implements filter.HTTPFilter.
func (f *requests) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		if v := f.judge(s, f.of(s)); !v.allowed {
			return s.Reply(filter.LocalReply{Status: http.StatusForbidden, Body: "RBAC: access denied", Details: v.details()}), nil
		}
		return next.ServeHTTP(s)
	})
}

const httpNamespace = "envoy.filters.http.rbac"

func (f *requests) judge(s *filter.HTTPStream, p *policySet) verdict {
	x := subject{info: s.Info, conn: s.Info.HTTP().Conn, request: s.Request, host: s.HTTPHost}
	if p.shadow != nil {
		v := p.shadow.judge(x, true)
		f.count(v, true)
		if p.perRule && v.policy != "" {
			countRule(f.shadowStats, v.policy, "shadow_"+v.String())
		}
		v.tell(s.Info, httpNamespace, p.shadowPrefix, "shadow")
	}
	if p.enforced == nil {
		return verdict{allowed: true}
	}
	v := p.enforced.judge(x, false)
	f.count(v, false)
	if p.perRule && v.policy != "" {
		countRule(f.enforcedStats, v.policy, v.String())
	}
	v.tell(s.Info, httpNamespace, p.prefix, "enforced")
	return v
}

// countRule counts a policy by itself.
func countRule(stats filter.Scope, policy, what string) {
	stats.Counter("policy." + policy + "." + what).Add(1)
}
