package admin

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/internal/apiaddr"
	"github.com/ginnel/ginnel/internal/plan"
)

func (s *Server) clusters(w http.ResponseWriter, r *http.Request) {
	re, err := regexp.Compile(r.Form.Get("filter"))
	if err != nil {
		text(w, http.StatusBadRequest, "Invalid re2 regex")
		return
	}
	var shown []Cluster
	for _, c := range s.opts.Proxy.Clusters() {
		if re.MatchString(c.Name) {
			shown = append(shown, c)
		}
	}
	if wantsJSON(r) {
		message(w, clusterStatuses(shown), false)
		return
	}
	var b strings.Builder
	for i := range shown {
		writeCluster(&b, &shown[i])
	}
	text(w, http.StatusOK, b.String())
}

func writeCluster(b *strings.Builder, c *Cluster) {
	fmt.Fprintf(b, "%s::observability_name::%s\n", c.Name, c.StatName)
	for i, priority := range [...]string{"default", "high"} {
		t := &c.Breakers[i]
		fmt.Fprintf(b, "%s::%s_priority::max_connections::%d\n", c.Name, priority, t.MaxConnections)
		fmt.Fprintf(b, "%s::%s_priority::max_pending_requests::%d\n", c.Name, priority, t.MaxPending)
		fmt.Fprintf(b, "%s::%s_priority::max_requests::%d\n", c.Name, priority, t.MaxRequests)
		fmt.Fprintf(b, "%s::%s_priority::max_retries::%d\n", c.Name, priority, t.MaxRetries)
	}
	fmt.Fprintf(b, "%s::added_via_api::%t\n", c.Name, c.Dynamic)
	for i := range c.Hosts {
		h := &c.Hosts[i]
		for _, line := range h.lines() {
			fmt.Fprintf(b, "%s::%s::%s::%v\n", c.Name, h.Addr, line.key, line.value)
		}
	}
}

type line struct {
	key   string
	value any
}

// lines are what the text form says of a host, in Envoy's order.
func (h *Host) lines() []line {
	return []line{
		{"cx_active", h.CxActive},
		{"cx_connect_fail", h.CxConnectFail},
		{"cx_total", h.CxTotal},
		{"rq_active", h.RqActive},
		{"rq_error", h.RqError},
		{"rq_pending_active", h.RqPending},
		{"rq_success", h.RqSuccess},
		{"rq_timeout", h.RqTimeout},
		{"rq_total", h.RqTotal},
		{"hostname", h.Hostname},
		{"health_flags", h.healthFlags()},
		{"weight", h.Weight},
		{"region", h.Locality.GetRegion()},
		{"zone", h.Locality.GetZone()},
		{"sub_zone", h.Locality.GetSubZone()},
		{"canary", h.canary()},
		{"priority", h.Priority},
		{"success_rate", h.rate(h.SuccessRate)},
		{"local_origin_success_rate", h.rate(h.LocalSuccessRate)},
	}
}

// rate is a success rate; -1: there is none.
func (h *Host) rate(v float64) float64 {
	if !h.Rated {
		return -1
	}
	return v
}

// healthFlags are Envoy's, in its order.
func (h *Host) healthFlags() string {
	flags := ""
	for _, f := range []struct {
		set  bool
		name string
	}{
		{h.CheckFailed, "/failed_active_hc"}, {h.Ejected, "/failed_outlier_check"},
		{h.Health == corev3.HealthStatus_UNHEALTHY || h.Health == corev3.HealthStatus_TIMEOUT, "/failed_eds_health"},
		{h.CheckDegraded, "/degraded_active_hc"}, {h.Health == corev3.HealthStatus_DEGRADED, "/degraded_eds_health"},
		{h.CheckPending, "/pending_active_hc"}, {h.CheckExcluded, "/excluded_via_immediate_hc_fail"},
		{h.Health == corev3.HealthStatus_DRAINING, "/eds_status_draining"},
	} {
		if f.set {
			flags += f.name
		}
	}
	if flags == "" {
		return "healthy"
	}
	return flags
}

// percent is a success rate for JSON; nil: there is none.
func (h *Host) percent(v float64) *typev3.Percent {
	if h.rate(v) < 0 {
		return nil
	}
	return &typev3.Percent{Value: v}
}

// edsHealth is the health that Envoy keeps of what was configured.
func (h *Host) edsHealth() corev3.HealthStatus {
	switch h.Health {
	case corev3.HealthStatus_UNKNOWN:
		return corev3.HealthStatus_HEALTHY
	case corev3.HealthStatus_TIMEOUT:
		return corev3.HealthStatus_UNHEALTHY
	}
	return h.Health
}

// coarseHealth is whether the host is used, as /config_dump tells it.
func (h *Host) coarseHealth() corev3.HealthStatus {
	if health := h.edsHealth(); health != corev3.HealthStatus_DRAINING {
		return health
	}
	return corev3.HealthStatus_UNHEALTHY
}

func (h *Host) canary() bool {
	return h.Metadata.GetFilterMetadata()["envoy.lb"].GetFields()["canary"].GetBoolValue()
}

func clusterStatuses(all []Cluster) *adminv3.Clusters {
	out := &adminv3.Clusters{}
	for i := range all {
		c := &all[i]
		st := &adminv3.ClusterStatus{
			Name: c.Name, ObservabilityName: c.StatName, AddedViaApi: c.Dynamic,
			CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
				thresholds(corev3.RoutingPriority_DEFAULT, &c.Breakers[0]),
				thresholds(corev3.RoutingPriority_HIGH, &c.Breakers[1]),
			}},
		}
		for n := range c.Hosts {
			st.HostStatuses = append(st.HostStatuses, c.Hosts[n].status())
		}
		out.ClusterStatuses = append(out.ClusterStatuses, st)
	}
	return out
}

func thresholds(p corev3.RoutingPriority, b *plan.Breaker) *clusterv3.CircuitBreakers_Thresholds {
	return &clusterv3.CircuitBreakers_Thresholds{
		Priority:           p,
		MaxConnections:     wrapperspb.UInt32(b.MaxConnections),
		MaxPendingRequests: wrapperspb.UInt32(b.MaxPending),
		MaxRequests:        wrapperspb.UInt32(b.MaxRequests),
		MaxRetries:         wrapperspb.UInt32(b.MaxRetries),
	}
}

func (h *Host) status() *adminv3.HostStatus {
	counter := func(name string, v uint64) *adminv3.SimpleMetric {
		return &adminv3.SimpleMetric{Name: name, Value: v}
	}
	gauge := func(name string, v uint64) *adminv3.SimpleMetric {
		return &adminv3.SimpleMetric{Name: name, Value: v, Type: adminv3.SimpleMetric_GAUGE}
	}
	locality := h.Locality
	if locality == nil {
		locality = &corev3.Locality{}
	}
	return &adminv3.HostStatus{
		Address: apiaddr.Of(h.Addr),
		Stats: []*adminv3.SimpleMetric{
			counter("cx_connect_fail", h.CxConnectFail), counter("cx_total", h.CxTotal),
			counter("rq_error", h.RqError), counter("rq_success", h.RqSuccess),
			counter("rq_timeout", h.RqTimeout), counter("rq_total", h.RqTotal),
			gauge("cx_active", h.CxActive), gauge("rq_active", h.RqActive), gauge("rq_pending_active", h.RqPending),
		},
		HealthStatus: &adminv3.HostHealthStatus{
			EdsHealthStatus: h.edsHealth(), FailedActiveHealthCheck: h.CheckFailed, FailedOutlierCheck: h.Ejected,
			FailedActiveDegradedCheck: h.CheckDegraded, PendingActiveHc: h.CheckPending, ExcludedViaImmediateHcFail: h.CheckExcluded,
		},
		SuccessRate: h.percent(h.SuccessRate), LocalOriginSuccessRate: h.percent(h.LocalSuccessRate),
		Weight:   h.Weight,
		Hostname: h.Hostname,
		Priority: h.Priority,
		Locality: locality,
	}
}
