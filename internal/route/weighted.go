package route

import (
	"math"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
)

// weighted gives r a route of its own for each cluster, alike but for what the entry
// says.
func (c *compiler) weighted(s *extension.Scope, r *Route, m *routev3.WeightedCluster, own, host *level) {
	weightedFields.Check(s, m)
	w := &weighted{}
	switch x := m.GetRandomValueSpecifier().(type) {
	case *routev3.WeightedCluster_HeaderName:
		w.header = lowerCase(x.HeaderName)
	case *routev3.WeightedCluster_UseHashPolicy:
		w.hash = x.UseHashPolicy.GetValue()
	}
	w.entries = make([]Route, len(m.GetClusters()))
	for i, e := range m.GetClusters() {
		weight := uint64(e.GetWeight().GetValue())
		w.total += weight
		w.weights = append(w.weights, weight)
		if m.GetRuntimeKeyPrefix() != "" {
			w.keys = append(w.keys, m.GetRuntimeKeyPrefix()+"."+e.GetName())
		}
		c.share(s.Field("clusters").Index(i), &w.entries[i], r, e, own, host)
	}
	switch {
	case w.total == 0:
		s.Errorf("Sum of weights in the weighted_cluster must be greater than 0.")
	case w.total > math.MaxUint32:
		s.Errorf("The sum of weights of all weighted clusters of route %s exceeds %d", r.name, uint32(math.MaxUint32))
	}
	r.weighted = w
}

// share compiles one entry of the weighted clusters of r.
func (c *compiler) share(s *extension.Scope, e, r *Route, m *routev3.WeightedCluster_ClusterWeight, own, host *level) {
	shareFields.Check(s, m)
	request := compileHeaders(s, "request_headers", m.GetRequestHeadersToAdd(), m.GetRequestHeadersToRemove())
	response := compileHeaders(s, "response_headers", m.GetResponseHeadersToAdd(), m.GetResponseHeadersToRemove())
	a := *r.Action
	a.Cluster, a.ClusterHeader = m.GetName(), lowerCase(m.GetClusterHeader())
	switch {
	case a.Cluster != "" && a.ClusterHeader != "":
		s.Errorf("Only one of name or cluster_header can be specified")
	case a.Cluster == "" && a.ClusterHeader == "":
		s.Errorf("At least one of name or cluster_header need to be specified")
	}
	c.cluster(s.Field("name"), a.Cluster)
	a.Subset = subset(a.Subset, m.GetMetadataMatch())
	if x, ok := m.GetHostRewriteSpecifier().(*routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral); ok {
		a.entryHost = x.HostRewriteLiteral
	}
	*e = *r
	e.Action, e.weighted = &a, nil
	e.RequestHeaders = c.order(request, own.request, host.request, c.root.request)
	e.ResponseHeaders = c.order(response, own.response, host.response, c.root.response)
	e.filters = compileFilters(s.Field("typed_per_filter_config"), m.GetTypedPerFilterConfig(), r.filters)
}
