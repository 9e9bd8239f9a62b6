package compile

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

type raw struct{}

func (raw) Transparent() bool                               { return true }
func (raw) Passthrough() ([]extension.MetadataSource, bool) { return nil, false }

func sock(s *extension.Scope, t *corev3.TransportSocket) plan.Transport {
	if t == nil {
		return plan.Transport{Socket: raw{}}
	}
	x, _ := extension.Compile(s, extension.UpstreamSocket, t.GetTypedConfig())
	return plan.Transport{Name: t.Name, Socket: x}
}

func clus(s *extension.Scope, c *clusterv3.Cluster) *plan.Cluster {
	b := plan.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3, MaxConnectionPools: 1<<32 - 1}
	p := &plan.Cluster{Name: c.Name, StatName: c.Name, Proto: c, ConnectTimeout: 5 * time.Second, BufferBytes: 1 << 20, Metadata: c.Metadata,
		Breakers: [2]plan.Breaker{b, b}, LB: plan.LB{PanicPercent: 50, ChoiceCount: 2, ActiveBias: 1, MinRing: 1024, MaxRing: 8 << 20, MaglevSize: 65537}, Lookup: "STATIC"}
	if c.AltStatName != "" {
		p.StatName = c.AltStatName
	}
	switch c.LbPolicy {
	case clusterv3.Cluster_LEAST_REQUEST:
		p.LB.Policy = plan.LeastRequest
	case clusterv3.Cluster_RANDOM:
		p.LB.Policy = plan.Random
	case clusterv3.Cluster_RING_HASH:
		p.LB.Policy = plan.RingHash
	case clusterv3.Cluster_MAGLEV:
		p.LB.Policy = plan.Maglev
	}
	if c.ConnectTimeout != nil {
		p.ConnectTimeout = c.ConnectTimeout.AsDuration()
	}
	for _, t := range c.GetCircuitBreakers().GetThresholds() {
		x := &p.Breakers[int(t.Priority)]
		if t.MaxConnections != nil {
			x.MaxConnections = t.MaxConnections.Value
		}
		if t.MaxPendingRequests != nil {
			x.MaxPending = t.MaxPendingRequests.Value
		}
	}
	p.Transport = sock(s.Field("transport_socket.typed_config"), c.TransportSocket)
	for i, m := range c.TransportSocketMatches {
		t := sock(s.Field("transport_socket_matches").Index(i).Field("transport_socket.typed_config"), m.TransportSocket)
		t.Name = m.Name
		p.Transports = append(p.Transports, plan.TransportMatch{Transport: t, Match: m.Match})
	}
	p.Assignment.OverprovisionFactor = 140
	for _, l := range c.GetLoadAssignment().GetEndpoints() {
		pl := plan.Locality{Locality: l.Locality, Priority: l.Priority, Weight: l.LoadBalancingWeight.GetValue(), Metadata: l.Metadata}
		for _, e := range l.LbEndpoints {
			ep := e.GetEndpoint()
			w := uint32(1)
			if e.LoadBalancingWeight != nil {
				w = e.LoadBalancingWeight.Value
			}
			pe := plan.Endpoint{Addr: naddr(ep.Address), Hostname: ep.Hostname, Weight: w, Health: e.HealthStatus, Metadata: e.Metadata}
			for _, a := range ep.AdditionalAddresses {
				pe.Additional = append(pe.Additional, naddr(a.Address))
			}
			pl.Endpoints = append(pl.Endpoints, pe)
		}
		p.Assignment.Localities = append(p.Assignment.Localities, pl)
	}
	return p
}
