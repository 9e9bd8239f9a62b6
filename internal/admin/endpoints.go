package admin

import (
	"cmp"
	"net"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/internal/apiaddr"
	"github.com/ginnel/ginnel/internal/plan"
)

// dumpEndpoints gives the hosts of the clusters as they are now, in the form of
// load assignments.
func dumpEndpoints(clusters []Cluster, named func(string) bool) *adminv3.EndpointsConfigDump {
	out := &adminv3.EndpointsConfigDump{}
	for i := range clusters {
		c := &clusters[i]
		switch {
		case !named(c.Name):
		case c.Dynamic:
			out.DynamicEndpointConfigs = append(out.DynamicEndpointConfigs, &adminv3.EndpointsConfigDump_DynamicEndpointConfig{
				EndpointConfig: pack(loadAssignment(c)),
			})
		default:
			out.StaticEndpointConfigs = append(out.StaticEndpointConfigs, &adminv3.EndpointsConfigDump_StaticEndpointConfig{
				EndpointConfig: pack(loadAssignment(c)),
			})
		}
	}
	return out
}

func loadAssignment(c *Cluster) *endpointv3.ClusterLoadAssignment {
	factor := c.Assignment.OverprovisionFactor
	if factor == 0 {
		factor = 140
	}
	out := &endpointv3.ClusterLoadAssignment{
		ClusterName: cmp.Or(c.Service, c.Name),
		Policy:      &endpointv3.ClusterLoadAssignment_Policy{OverprovisioningFactor: wrapperspb.UInt32(factor)},
	}
	for i := range c.Hosts {
		h := &c.Hosts[i]
		l := endpointsOf(out, &c.Assignment, h)
		l.LbEndpoints = append(l.LbEndpoints, h.endpoint())
	}
	return out
}

// endpointsOf returns the entry of a host's priority and locality, made when it is
// not there.
func endpointsOf(out *endpointv3.ClusterLoadAssignment, a *plan.Assignment, h *Host) *endpointv3.LocalityLbEndpoints {
	for _, l := range out.Endpoints {
		if l.Priority == h.Priority && sameLocality(l.Locality, h.Locality) {
			return l
		}
	}
	l := &endpointv3.LocalityLbEndpoints{
		Locality:            &corev3.Locality{},
		Priority:            h.Priority,
		LoadBalancingWeight: wrapperspb.UInt32(localityWeight(a, h)),
	}
	proto.Merge(l.Locality, h.Locality)
	out.Endpoints = append(out.Endpoints, l)
	return l
}

func localityWeight(a *plan.Assignment, h *Host) uint32 {
	for i := range a.Localities {
		if l := &a.Localities[i]; l.Priority == h.Priority && sameLocality(l.Locality, h.Locality) {
			return l.Weight
		}
	}
	return 0
}

func sameLocality(a, b *corev3.Locality) bool {
	return a.GetRegion() == b.GetRegion() && a.GetZone() == b.GetZone() && a.GetSubZone() == b.GetSubZone()
}

func (h *Host) endpoint() *endpointv3.LbEndpoint {
	e := &endpointv3.Endpoint{
		Address:           apiaddr.Of(h.Addr),
		HealthCheckConfig: &endpointv3.Endpoint_HealthCheckConfig{},
		Hostname:          h.Hostname,
	}
	for _, a := range h.Additional {
		e.AdditionalAddresses = append(e.AdditionalAddresses, additional(a))
	}
	return &endpointv3.LbEndpoint{
		HostIdentifier:      &endpointv3.LbEndpoint_Endpoint{Endpoint: e},
		HealthStatus:        h.coarseHealth(),
		Metadata:            h.Metadata,
		LoadBalancingWeight: wrapperspb.UInt32(h.Weight),
	}
}

func additional(a net.Addr) *endpointv3.Endpoint_AdditionalAddress {
	return &endpointv3.Endpoint_AdditionalAddress{Address: apiaddr.Of(a)}
}
