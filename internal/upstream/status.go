package upstream

import (
	"cmp"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A ClusterStatus is what /clusters shows of a cluster. The pointers lead to values
// that do not change, but for the counts of a Host.
type ClusterStatus struct {
	Plan    *plan.Cluster
	Updated time.Time // when this version took effect
	// Assignment is that of now: it gives the weights of localities and the overprovisioning
	// factor; nil: there is none yet.
	Assignment *plan.Assignment
	Hosts      []HostStatus // by priority, then in the order of the configuration
}

// A HostStatus is what /clusters shows of a host.
type HostStatus struct {
	Host   *filter.Host // Active, Total and ConnectFail are its connections
	Weight uint32
	Health corev3.HealthStatus // as configured

	// Requests; of TCP one for each connection.
	RequestsActive, RequestsPending, RequestsTotal      uint64
	RequestsSucceeded, RequestsFailed, RequestsTimedOut uint64 // of HTTP

	Ejected bool // by outlier detection
	// What active health checks say: it fails them, passes them as degraded, was not checked
	// yet and does not count before, and it said itself that it wants no requests.
	CheckFailed, CheckDegraded, CheckPending, CheckExcluded bool
	// SuccessRate and LocalSuccessRate are those of outlier detection in percent; -1: there
	// is none.
	SuccessRate, LocalSuccessRate float64
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

// Warming returns the clusters that wait by themselves, in the order of the configuration,
// and then those that a change waits for.
func (s *Set) Warming() (out []ClusterStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.names {
		if c := s.warming[name]; c != nil {
			out = append(out, ClusterStatus{Plan: c.plan, Updated: c.updated})
		}
	}
	for _, c := range s.first {
		out = append(out, ClusterStatus{Plan: c.plan, Updated: c.updated})
	}
	return out
}

func (c *Cluster) status() ClusterStatus {
	hosts := c.all()
	st := ClusterStatus{Plan: c.plan, Updated: c.updated, Assignment: c.roster.Load().assignment, Hosts: make([]HostStatus, len(hosts))}
	for i, h := range hosts {
		e := h.endpoint.Load()
		st.Hosts[i] = HostStatus{
			Host: &h.Host, Weight: max(e.Weight, 1), Health: e.Health,
			RequestsActive: h.Requests.Load(), RequestsPending: h.requests.pending.Load(), RequestsTotal: h.requests.total.Load(),
			RequestsSucceeded: h.requests.succeeded.Load(), RequestsFailed: h.requests.failed.Load(), RequestsTimedOut: h.requests.timedOut.Load(),
			SuccessRate: -1, LocalSuccessRate: -1,
		}
		if h.check != nil {
			st.Hosts[i].CheckFailed, st.Hosts[i].CheckDegraded = h.check.Failed(), h.check.Degraded()
			st.Hosts[i].CheckPending, st.Hosts[i].CheckExcluded = h.check.Pending(), h.check.Unwilling()
		}
		if h.outlier != nil {
			st.Hosts[i].Ejected = h.outlier.Ejected()
			st.Hosts[i].SuccessRate, st.Hosts[i].LocalSuccessRate = h.outlier.Rates()
		}
	}
	slices.SortStableFunc(st.Hosts, func(a, b HostStatus) int { return cmp.Compare(a.Host.Priority, b.Host.Priority) })
	return st
}
