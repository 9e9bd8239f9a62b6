package compile

import (
	"cmp"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/source"
)

// endpointSource returns nil for a cluster of another type.
func endpointSource(s *extension.Scope, c *clusterv3.Cluster, t clusterType) *plan.EDS {
	m, at := c.GetEdsClusterConfig(), s.Field("eds_cluster_config")
	if m != nil {
		edsFields.Check(at, m)
	}
	switch {
	case !t.known:
		return nil
	case t.lookup != clusterv3.Cluster_EDS:
		if m != nil {
			at.Errorf("eds_cluster_config set in a non-EDS cluster")
		}
		return nil
	case m.GetEdsConfig() == nil:
		at.Field("eds_config").Errorf("cannot create an EDS cluster without an EDS config")
		return nil
	}
	if c.GetLoadAssignment() != nil {
		s.Field("load_assignment").Warnf("not used: the hosts of a cluster of type EDS are those that its source delivers")
	}
	from := source.Compile(at.Field("eds_config"), m.GetEdsConfig())
	if from == nil {
		return nil
	}
	return &plan.EDS{Source: *from, Service: cmp.Or(m.GetServiceName(), c.GetName()), Compile: deliveredAssignment(s.Later())}
}

// deliveredAssignment returns what compiles assignments while the proxy runs.
func deliveredAssignment(scope func(*extension.Report) *extension.Scope) func(proto.Message) (plan.Assignment, error) {
	return func(m proto.Message) (plan.Assignment, error) {
		r := &extension.Report{}
		a := assignment(scope(r), m.(*endpointv3.ClusterLoadAssignment), clusterv3.Cluster_EDS)
		return a, r.Err()
	}
}
