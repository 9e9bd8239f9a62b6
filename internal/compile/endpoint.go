package compile

import (
	"net"
	"net/netip"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

const defaultOverprovision = 140 // percent

// hosts compiles the endpoints of a cluster of some type.
type hosts struct {
	lookup clusterv3.Cluster_DiscoveryType
}

func assignment(s *extension.Scope, m *endpointv3.ClusterLoadAssignment, lookup clusterv3.Cluster_DiscoveryType) plan.Assignment {
	a := plan.Assignment{OverprovisionFactor: defaultOverprovision}
	if m == nil {
		return a
	}
	assignmentFields.Check(s, m)
	if p := m.GetPolicy(); p != nil {
		assignmentPolicyFields.Check(s.Field("policy"), p)
		a.OverprovisionFactor = valueOr(p.GetOverprovisioningFactor(), defaultOverprovision)
		a.WeightedHealth = p.GetWeightedPriorityHealth()
		if lookup == clusterv3.Cluster_EDS { // Envoy: those that stand in a cluster do not age
			a.StaleAfter = p.GetEndpointStaleAfter().AsDuration()
		}
		a.DropsOfMillion = drops(s.Field("policy.drop_overloads"), p.GetDropOverloads())
	}
	h := hosts{lookup}
	for i, l := range m.GetEndpoints() {
		a.Localities = append(a.Localities, h.locality(s.Field("endpoints").Index(i), l))
	}
	return a
}

// drops returns how many of a million requests are refused.
func drops(s *extension.Scope, in []*endpointv3.ClusterLoadAssignment_Policy_DropOverload) uint32 {
	switch {
	case len(in) == 0:
		return 0
	case len(in) > 1:
		s.Errorf("Cluster drop_overloads config has %d categories. Envoy only support one.", len(in))
		return 0
	}
	dropFields.Check(s.Index(0), in[0])
	percent, scale := in[0].GetDropPercentage(), uint64(1)
	switch percent.GetDenominator() {
	case typev3.FractionalPercent_HUNDRED:
		scale = plan.Million / 100
	case typev3.FractionalPercent_TEN_THOUSAND:
		scale = plan.Million / 10_000
	}
	return uint32(min(uint64(percent.GetNumerator())*scale, plan.Million))
}

// locality compiles one list of endpoints. Priorities may have gaps and places may
// stand in several lists (seen on Envoy 1.40).
func (h hosts) locality(s *extension.Scope, m *endpointv3.LocalityLbEndpoints) plan.Locality {
	localityFields.Check(s, m)
	l := plan.Locality{
		Locality: m.GetLocality(), Priority: m.GetPriority(),
		Weight: m.GetLoadBalancingWeight().GetValue(), Metadata: m.GetMetadata(),
	}
	for i, e := range m.GetLbEndpoints() {
		if c, ok := h.endpoint(s.Field("lb_endpoints").Index(i), e); ok {
			l.Endpoints = append(l.Endpoints, c)
		}
	}
	return l
}

func (h hosts) endpoint(s *extension.Scope, m *endpointv3.LbEndpoint) (e plan.Endpoint, ok bool) {
	lbEndpointFields.Check(s, m)
	if m.GetEndpointName() != "" {
		return e, false // refused above
	}
	at, in := s.Field("endpoint"), m.GetEndpoint()
	if in == nil {
		at.Errorf("value is required: an endpoint has an address")
		return e, false
	}
	endpointFields.Check(at, in)
	e = plan.Endpoint{
		Hostname: in.GetHostname(), Weight: valueOr(m.GetLoadBalancingWeight(), 1),
		Health: m.GetHealthStatus(), Metadata: m.GetMetadata(),
		Check: h.endpointCheck(at.Field("health_check_config"), in.GetHealthCheckConfig()),
	}
	if e.Name, e.Port, ok = h.name(in.GetAddress()); ok {
		if e.Hostname == "" {
			e.Hostname = e.Name
		}
		if len(in.GetAdditionalAddresses()) > 0 {
			at.Field("additional_addresses").Errorf("not supported: the address of this host is looked up")
		}
		return e, true
	}
	e.Addr, ok = h.address(at.Field("address"), in.GetAddress())
	for i, a := range in.GetAdditionalAddresses() {
		more := at.Field("additional_addresses").Index(i)
		additionalAddressFields.Check(more, a)
		addr, fine := h.address(more.Field("address"), a.GetAddress())
		e.Additional, ok = append(e.Additional, addr), ok && fine
	}
	return e, ok
}

// named reports whether hosts may have names.
func (h hosts) named() bool { return clusterType{lookup: h.lookup}.names() }

// name returns the name of a host that is to be looked up. Addresses are, too, as far as the
// statistics go (Envoy).
func (h hosts) name(m *corev3.Address) (name string, port uint16, ok bool) {
	a := m.GetSocketAddress()
	if a == nil || !h.named() || a.GetAddress() == "" || a.GetNamedPort() != "" || a.GetNetworkNamespaceFilepath() != "" || a.GetResolverName() != "" {
		return "", 0, false
	}
	return a.GetAddress(), uint16(a.GetPortValue()), true
}

// address returns where a host is; ok is false when it cannot be, which is reported
// here or by the constraints of the API.
func (h hosts) address(s *extension.Scope, m *corev3.Address) (addr net.Addr, ok bool) {
	if m == nil {
		s.Errorf("Address must be set")
		return nil, false
	}
	switch a := m.GetAddress().(type) {
	case *corev3.Address_SocketAddress:
		return h.socket(s.Field("socket_address"), a.SocketAddress)
	case *corev3.Address_Pipe:
		return h.pipe(s.Field("pipe.path"), a.Pipe.GetPath())
	case *corev3.Address_EnvoyInternalAddress:
		return h.internal(s.Field("envoy_internal_address"), a.EnvoyInternalAddress)
	}
	return nil, false
}

// socket compiles an IP address. Neither the protocol matters nor ipv4_compat, which
// is for listeners (Envoy).
func (h hosts) socket(s *extension.Scope, m *corev3.SocketAddress) (net.Addr, bool) {
	resolved(s, m)
	if m.GetNetworkNamespaceFilepath() != "" {
		s.Field("network_namespace_filepath").Errorf("Invalid host configuration: hosts cannot specify network namespaces with their address")
	}
	ip, err := netip.ParseAddr(m.GetAddress())
	if err != nil && !h.named() && m.GetAddress() != "" {
		s.Field("address").Errorf("malformed IP address: %s. A %s cluster looks no names up; "+
			"Envoy does in clusters of type 'STRICT_DNS' or 'LOGICAL_DNS'", m.GetAddress(), h.lookup)
	}
	return filter.IPAddr{AddrPort: netip.AddrPortFrom(ip, uint16(m.GetPortValue()))}, err == nil
}

func (h hosts) pipe(s *extension.Scope, path string) (net.Addr, bool) {
	if len(path) >= maxPipePath {
		s.Errorf("Path %q exceeds maximum UNIX domain socket path size of %d", path, maxPipePath)
		return nil, false
	}
	return filter.UnixAddr{Path: path}, path != ""
}

func (h hosts) internal(s *extension.Scope, m *corev3.EnvoyInternalAddress) (net.Addr, bool) {
	name, ok := m.GetAddressNameSpecifier().(*corev3.EnvoyInternalAddress_ServerListenerName)
	if !ok {
		return nil, false
	}
	s.Field("server_listener_name").Refer("internal listener", name.ServerListenerName)
	return filter.InternalAddr{Listener: name.ServerListenerName, Endpoint: m.GetEndpointId()}, true
}
