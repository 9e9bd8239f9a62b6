package route

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	allowlistedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/allow_listed_routes/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/previous_routes/v3"
	safeschemev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/safe_cross_scheme/v3"

	"github.com/ginnel/ginnel/extension"
)

// An InternalRedirect follows redirects of the upstream in place of the client.
type InternalRedirect struct {
	Max   uint32 // redirects in a row
	Codes []int  // followed
	// CrossScheme allows to go from http to https and back.
	CrossScheme bool
	// Copy names response headers, in lower case, that the next request gets; those that
	// the response has not, it loses.
	Copy []string

	onceEach   bool // not to a route that one like this was followed to before
	safe       bool // not from http to https
	allowed    []string
	restricted bool // allowed counts
}

// A Step is one internal redirect that may be followed.
type Step struct {
	Target   string   // name of the route that it leads to
	Before   []string // targets that were reached from the same route before
	FromTLS  bool     // the client came by TLS
	ToSecure bool     // the new scheme is https
}

// Follow reports whether the predicates let a redirect be followed; if not, which one.
func (p *InternalRedirect) Follow(x Step) (ok bool, predicate string) {
	switch {
	case p.onceEach && slices.Contains(x.Before, x.Target):
		return false, "envoy.internal_redirect_predicates.previous_routes"
	case p.restricted && !slices.Contains(p.allowed, x.Target):
		return false, "envoy.internal_redirect_predicates.allow_listed_routes"
	case p.safe && x.ToSecure && !x.FromTLS:
		return false, "envoy.internal_redirect_predicates.safe_cross_scheme"
	}
	return true, ""
}

func internalRedirect(s *extension.Scope, m *routev3.RouteAction) *InternalRedirect {
	p := m.GetInternalRedirectPolicy()
	if p == nil {
		//nolint:staticcheck // deprecated, and in use
		if m.GetInternalRedirectAction() != routev3.RouteAction_HANDLE_INTERNAL_REDIRECT {
			return nil
		}
		p = &routev3.InternalRedirectPolicy{MaxInternalRedirects: m.GetMaxInternalRedirects()} //nolint:staticcheck // as above
	}
	s = s.Field("internal_redirect_policy")
	internalRedirectFields.Check(s, p)
	out := &InternalRedirect{Max: 1, CrossScheme: p.AllowCrossSchemeRedirect, Copy: lowerAll(p.ResponseHeadersToCopy)}
	if n := p.MaxInternalRedirects; n != nil {
		out.Max = n.Value
	}
	for _, c := range p.RedirectResponseCodes {
		if slices.Contains([]uint32{301, 302, 303, 307, 308}, c) { // Envoy: others do not count
			out.Codes = append(out.Codes, int(c))
		}
	}
	if len(p.RedirectResponseCodes) == 0 {
		out.Codes = []int{302}
	}
	for i, x := range p.Predicates {
		out.predicate(s.Field("predicates").Index(i), x)
	}
	return out
}

func (p *InternalRedirect) predicate(s *extension.Scope, x *corev3.TypedExtensionConfig) {
	m, ok := s.Unpack(x.GetTypedConfig())
	if !ok {
		return
	}
	switch m := m.(type) {
	case *previousv3.PreviousRoutesConfig:
		p.onceEach = true
	case *safeschemev3.SafeCrossSchemeConfig:
		p.safe = true
	case *allowlistedv3.AllowListedRoutesConfig:
		allowListedFields.Check(s.Field("typed_config"), m)
		p.allowed, p.restricted = m.GetAllowedRouteNames(), true
	default:
		s.Field("typed_config").Errorf("%s is a known type, but ginnel does not implement it as an internal redirect predicate", m.ProtoReflect().Descriptor().FullName())
	}
}
