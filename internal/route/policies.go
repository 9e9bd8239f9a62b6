package route

import (
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/ginnel/ginnel/extension"
)

// Policies are what a route says of requests beside where they go, or what a cluster says
// in the place of routes.
type Policies struct {
	Retry   *RetryPolicy // nil: none
	Mirrors []MirrorPolicy
	hashes  []hashPolicy
}

// CompileClusterPolicies compiles what a cluster says; nil: nothing. The clusters of its
// mirrors need not be there (Envoy).
func CompileClusterPolicies(s *extension.Scope, m *httpv3.HttpProtocolOptions) *Policies {
	p := &Policies{
		Mirrors: mirrors(s.Field("request_mirror_policies"), m.GetRequestMirrorPolicies(), (*extension.Scope).Cluster),
		hashes:  hashPolicies(s.Field("hash_policy"), m.GetHashPolicy()),
	}
	if r := m.GetRetryPolicy(); r != nil {
		p.Retry = CompileRetryPolicy(s.Field("retry_policy"), r)
	}
	if p.Retry == nil && p.Mirrors == nil && p.hashes == nil {
		return nil
	}
	return p
}

// Over returns what holds of a cluster's policies, which may be nil, and a route's: of each
// kind the cluster's, if there are any, and nothing of the route's beside them.
func (p *Policies) Over(base Policies) Policies {
	if p == nil {
		return base
	}
	if p.Retry != nil {
		base.Retry = p.Retry
	}
	if p.Mirrors != nil {
		base.Mirrors = p.Mirrors
	}
	if p.hashes != nil {
		base.hashes = p.hashes
	}
	return base
}
