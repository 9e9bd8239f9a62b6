package upstream

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A ClusterStatus is what /clusters shows of a cluster. The pointers lead to values
// that do not change, but for the counts of a Host.
type ClusterStatus struct {
	Plan   *plan.Cluster // name, stat name, circuit breakers
	ViaAPI bool          // added by xDS
	Hosts  []HostStatus
}

// A HostStatus is what /clusters shows of a host. Counts without a field are 0:
// nothing moves them for TCP.
type HostStatus struct {
	Host   *filter.Host // address, hostname, locality, priority; cx_active, cx_total, cx_connect_fail
	Weight uint32
	Health corev3.HealthStatus // as configured
	Canary bool

	RequestsActive, RequestsTotal uint64
}

// HealthFlags returns the host's health as /clusters prints it.
func (h *HostStatus) HealthFlags() string {
	switch h.Health {
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_TIMEOUT:
		return "/failed_eds_health"
	case corev3.HealthStatus_DEGRADED:
		return "/degraded_eds_health"
	case corev3.HealthStatus_DRAINING:
		return "/eds_status_draining"
	}
	return "healthy"
}

// Status returns all clusters in the order of the configuration.
func (s *Set) Status() []ClusterStatus {
	s.mu.Lock()
	clusters := slices.Clone(s.order)
	s.mu.Unlock()
	out := make([]ClusterStatus, len(clusters))
	for i, c := range clusters {
		out[i] = c.status()
	}
	return out
}

func (c *Cluster) status() ClusterStatus {
	st := ClusterStatus{Plan: c.plan, Hosts: make([]HostStatus, len(c.hosts))}
	for i, h := range c.hosts {
		canary := h.Metadata.GetFilterMetadata()["envoy.lb"].GetFields()["canary"].GetBoolValue()
		st.Hosts[i] = HostStatus{
			Host: &h.Host, Weight: max(h.endpoint.Weight, 1), Health: h.endpoint.Health, Canary: canary,
			RequestsActive: h.activeRequests.Load(), RequestsTotal: h.requests.Load(),
		}
	}
	return st
}
