// Package cors is an HTTP filter that answers and marks requests of web pages of other
// origins (envoy.extensions.filters.http.cors.v3.Cors). What is allowed stands with the
// routes, as CorsPolicy.
package cors

import (
	"math/rand/v2"
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

var corsFields = extension.Fields{Message: &corsv3.Cors{}}

var policyFields = extension.Fields{
	Message: &corsv3.CorsPolicy{},
	Obeyed: []string{"allow_origin_string_match", "allow_methods", "allow_headers", "expose_headers", "max_age",
		"allow_credentials", "filter_enabled", "shadow_enabled", "allow_private_network_access",
		"forward_not_matching_preflights"},
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields { return []*extension.Fields{&corsFields, &policyFields} }

// Register adds the filter, and what routes say of it, to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.HTTPFilter, func(s *extension.Scope, m *corsv3.Cors) filter.HTTPFilterFactory {
		corsFields.Check(s, m)
		return factory{}
	})
	extension.Register(r, extension.HTTPRouteFilter, compilePolicy)
}

// A policy is what one level of a route says. What it does not say, a more general level
// may.
type policy struct {
	origins                              []func(string) bool
	methods, headers, exposed, maxAge    string
	credentials, privateNetwork, forward *bool
	enabled, shadow                      *httpmatch.Fraction
}

func compilePolicy(s *extension.Scope, m *corsv3.CorsPolicy) any {
	policyFields.Check(s, m)
	p := &policy{
		methods: m.GetAllowMethods(), headers: m.GetAllowHeaders(), exposed: m.GetExposeHeaders(), maxAge: m.GetMaxAge(),
		enabled: compileFraction(m.GetFilterEnabled()), shadow: compileFraction(m.GetShadowEnabled()),
	}
	for i, o := range m.GetAllowOriginStringMatch() {
		p.origins = append(p.origins, httpmatch.String(s.Field("allow_origin_string_match").Index(i), o))
	}
	if v := m.GetAllowCredentials(); v != nil {
		p.credentials = &v.Value
	}
	if v := m.GetAllowPrivateNetworkAccess(); v != nil {
		p.privateNetwork = &v.Value
	}
	if v := m.GetForwardNotMatchingPreflights(); v != nil {
		p.forward = &v.Value
	}
	return p
}

func compileFraction(m *corev3.RuntimeFractionalPercent) *httpmatch.Fraction {
	if m == nil {
		return nil
	}
	f := httpmatch.CompileFraction(m)
	return &f
}

type factory struct{}

// NewHTTPFilter implements filter.HTTPFilterFactory.
func (factory) NewHTTPFilter(env *filter.HTTPEnv) (filter.HTTPFilter, error) {
	stats := env.HTTP.Scope("cors.")
	return &cors{
		name: env.Name, runtime: env.Runtime,
		valid: stats.Counter("origin_valid"), invalid: stats.Counter("origin_invalid"),
	}, nil
}

// cors is the running filter.
type cors struct {
	name           string
	runtime        filter.Runtime
	valid, invalid filter.Counter
}

// WrapHTTP implements filter.HTTPFilter.
func (f *cors) WrapHTTP(next filter.HTTPHandler) filter.HTTPHandler {
	return filter.HTTPHandlerFunc(func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		return f.serve(s, next)
	})
}

func (f *cors) serve(s *filter.HTTPStream, next filter.HTTPHandler) (*httpmsg.Response, error) {
	ps := f.policies(s)
	origin := s.Request.Header.Get("origin")
	if len(ps) == 0 || origin == "" {
		return next.ServeHTTP(s)
	}
	enabled := f.hits(ps[0].enabled, true)
	if !enabled && !f.hits(ps[0].shadow, false) {
		return next.ServeHTTP(s)
	}
	asks := s.Request.Method == http.MethodOptions && s.Request.Header.Get("access-control-request-method") != ""
	if !ps.allows(origin) {
		f.invalid.Add(1)
		if enabled && asks && !ps.forwards() {
			return ps.preflight(s, ""), nil
		}
		return next.ServeHTTP(s)
	}
	f.valid.Add(1)
	if !enabled {
		return next.ServeHTTP(s)
	}
	if asks {
		return ps.preflight(s, origin), nil
	}
	resp, err := next.ServeHTTP(s)
	if err == nil {
		ps.mark(&resp.Header, origin)
	}
	return resp, err
}

// hits decides a fraction of one policy; without it, def.
func (f *cors) hits(share *httpmatch.Fraction, def bool) bool {
	if share == nil {
		return def
	}
	return share.Hit(rand.Uint64(), f.runtime)
}

// policies are those of the levels of a route, the most specific one first.
type policies []*policy

func (f *cors) policies(s *filter.HTTPStream) policies {
	r := s.Route()
	if r == nil {
		return nil
	}
	if _, forwards := filter.ClusterOf(r, s.Request); !forwards { // redirects and direct responses go without (Envoy)
		return nil
	}
	all := r.FilterConfigs(f.name)
	ps := make(policies, 0, len(all))
	for i := len(all) - 1; i >= 0; i-- {
		if p, ok := all[i].(*policy); ok {
			ps = append(ps, p)
		}
	}
	return ps
}

func (ps policies) allows(origin string) bool {
	for _, p := range ps {
		if len(p.origins) == 0 {
			continue
		}
		for _, match := range p.origins {
			if match("*") || match(origin) {
				return true
			}
		}
		return false
	}
	return false
}

func (ps policies) text(of func(*policy) string) string {
	for _, p := range ps {
		if v := of(p); v != "" {
			return v
		}
	}
	return ""
}

func (ps policies) flag(of func(*policy) *bool, def bool) bool {
	for _, p := range ps {
		if v := of(p); v != nil {
			return *v
		}
	}
	return def
}

func (ps policies) forwards() bool {
	return ps.flag(func(p *policy) *bool { return p.forward }, true)
}

// mark sets what the response to a page of an allowed origin says.
func (ps policies) mark(h *httpmsg.Header, origin string) {
	h.Set("access-control-allow-origin", origin)
	if ps.flag(credentials, false) {
		h.Set("access-control-allow-credentials", "true")
	}
	if v := ps.text(func(p *policy) string { return p.exposed }); v != "" {
		h.Set("access-control-expose-headers", v)
	}
}

// preflight is the answer to a page that asks what it may do; origin is "" where it may
// not: Envoy then leaves out who may. The response headers of the route are not in it.
func (ps policies) preflight(s *filter.HTTPStream, origin string) *httpmsg.Response {
	resp := s.NewResponse()
	resp.Status = http.StatusOK
	s.Info.More().Details = "cors_response"
	h := &resp.Header
	if origin != "" {
		ps.mark(h, origin)
	} else if ps.flag(credentials, false) {
		h.Add("access-control-allow-credentials", "true")
	}
	for _, l := range []struct {
		name string
		of   func(*policy) string
	}{
		{"access-control-allow-methods", func(p *policy) string { return p.methods }},
		{"access-control-allow-headers", func(p *policy) string { return p.headers }},
		{"access-control-max-age", func(p *policy) string { return p.maxAge }},
	} {
		if v := ps.text(l.of); v != "" {
			h.Add(l.name, v)
		}
	}
	if ps.flag(func(p *policy) *bool { return p.privateNetwork }, false) &&
		s.Request.Header.Get("access-control-request-private-network") == "true" {
		h.Add("access-control-allow-private-network", "true")
	}
	return resp
}

func credentials(p *policy) *bool { return p.credentials }
