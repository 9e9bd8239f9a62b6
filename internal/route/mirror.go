package route

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
	"github.com/ginnel/ginnel/internal/state"
)

// A MirrorPolicy sends copies of requests to another cluster.
type MirrorPolicy struct {
	Cluster       string // "": ClusterHeader names it
	ClusterHeader string // lower case
	Fraction      httpmatch.Fraction
	// Headers are changed in the copy.
	Headers Mutations

	host string // of the copy; "": the request's
	keep bool   // the host as it is, without -shadow
}

// ClusterOf returns the name of the cluster of the copy; "" if the request names none.
func (p *MirrorPolicy) ClusterOf(r *httpmsg.Request) string {
	if p.ClusterHeader == "" {
		return p.Cluster
	}
	return r.Get(p.ClusterHeader)
}

// Prepare makes r, a copy of a request of info, what the mirror gets.
func (p *MirrorPolicy) Prepare(r *httpmsg.Request, info *filter.Info) {
	p.Headers.Apply(&r.Header, info)
	switch {
	case p.host != "":
		r.Authority = p.host
	case !p.keep && r.Authority != "":
		at := portStart(r.Authority)
		r.Authority = r.Authority[:at] + "-shadow" + r.Authority[at:]
	}
}

func (c *compiler) mirrors(s *extension.Scope, list []*routev3.RouteAction_RequestMirrorPolicy) []MirrorPolicy {
	return mirrors(s, list, c.cluster)
}

// mirrors compiles a list of policies; nil for none. refer is told the clusters they name.
func mirrors(s *extension.Scope, list []*routev3.RouteAction_RequestMirrorPolicy, refer func(*extension.Scope, string)) []MirrorPolicy {
	var out []MirrorPolicy
	for i, m := range list {
		s := s.Index(i)
		mirrorFields.Check(s, m)
		switch {
		case m.GetCluster() != "" && m.GetClusterHeader() != "":
			s.Errorf("Only one of cluster '%s' or cluster_header '%s' in request mirror policy can be specified", m.GetCluster(), m.GetClusterHeader())
		case m.GetCluster() == "" && m.GetClusterHeader() == "":
			s.Errorf("Exactly one of cluster or cluster_header in request mirror policy need to be specified")
		}
		if m.GetCluster() != "" {
			refer(s.Field("cluster"), m.GetCluster())
		}
		out = append(out, MirrorPolicy{
			Cluster:       m.GetCluster(),
			ClusterHeader: lowerCase(m.GetClusterHeader()),
			Fraction:      httpmatch.CompileFraction(m.GetRuntimeFraction()),
			Headers:       CompileSteps(s.Field("request_headers_mutations"), m.GetRequestHeadersMutations(), state.Options{}),
			host:          m.GetHostRewriteLiteral(),
			keep:          m.GetDisableShadowHostSuffixAppend(),
		})
	}
	return out
}
