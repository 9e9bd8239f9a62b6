package compile

import (
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	aggregatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/aggregate/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

var aggregateFields = extension.Fields{
	Message: &aggregatev3.ClusterConfig{},
	Obeyed:  []string{"clusters"},
}

// aggregate reads the type of an aggregate cluster; s is the scope of m.
func aggregate(s *extension.Scope, m *aggregatev3.ClusterConfig) clusterType {
	aggregateFields.Check(s, m)
	return clusterType{lookup: clusterv3.Cluster_STATIC, known: true, aggregate: append([]string{}, m.GetClusters()...)}
}

// hostsOfItsOwn returns the assignment of a cluster: an aggregate one uses none.
func (t clusterType) hostsOfItsOwn(s *extension.Scope, c *clusterv3.Cluster) plan.Assignment {
	at := s.Field("load_assignment")
	if t.aggregate != nil {
		m := c.GetLoadAssignment()
		if len(m.GetEndpoints()) > 0 {
			at.Field("endpoints").Warnf("not used: an aggregate cluster has the hosts of others")
		}
		return plan.Assignment{DropsOfMillion: drops(at.Field("policy.drop_overloads"), m.GetPolicy().GetDropOverloads())}
	}
	return assignment(at, c.GetLoadAssignment(), t.lookup)
}

// checkCircles reports aggregate clusters that lead to themselves. Those that they name need
// not be there.
func checkCircles(s *extension.Scope, all []*plan.Cluster) {
	byName := make(map[string]*plan.Cluster, len(all))
	for _, c := range all {
		byName[c.Name] = c
	}
	done := make(map[string]bool)
	for i, c := range all {
		if way := circle(byName, c, nil, done); way != nil {
			s.Index(i).Field("cluster_type").Errorf("the clusters lead in a circle: %s", strings.Join(way, " -> "))
		}
	}
}

// circle returns the way from c back to one of above or to itself; nil: there is none.
func circle(byName map[string]*plan.Cluster, c *plan.Cluster, above []string, done map[string]bool) []string {
	if c == nil || c.Aggregate == nil || done[c.Name] {
		return nil
	}
	if i := slices.Index(above, c.Name); i >= 0 {
		return append(slices.Clone(above[i:]), c.Name)
	}
	above = append(above, c.Name)
	for _, name := range c.Aggregate {
		if way := circle(byName, byName[name], above, done); way != nil {
			done[c.Name] = true // it is reported
			return way
		}
	}
	done[c.Name] = true
	return nil
}
