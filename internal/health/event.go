package health

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/core/v3"

	"github.com/ginnel/ginnel/internal/apiaddr"
	"github.com/ginnel/ginnel/internal/eventlog"
)

// tell writes an event of the host, which set completes. h.mu is held, so that events are in
// the order in which they happened.
func (h *Host) tell(set func(*datav3.HealthCheckEvent)) {
	o := &h.checker.opts
	if o.Events == nil {
		return
	}
	e := &datav3.HealthCheckEvent{
		HealthCheckerType: h.checker.kind(), Host: apiaddr.Of(h.target.Addr), ClusterName: o.Cluster,
		Timestamp: eventlog.At(time.Now()), Metadata: h.target.Metadata, Locality: h.target.Locality,
	}
	if e.Locality == nil {
		e.Locality = &corev3.Locality{}
	}
	set(e)
	o.Events.Write(e)
}

func (c *Checker) kind() datav3.HealthCheckerType {
	switch p := c.opts.Plan; {
	case p.TCP != nil:
		return datav3.HealthCheckerType_TCP
	case p.GRPC != nil:
		return datav3.HealthCheckerType_GRPC
	default:
		return datav3.HealthCheckerType_HTTP
	}
}

func (h *Host) tellHealthy() {
	h.tell(func(e *datav3.HealthCheckEvent) {
		e.Event = &datav3.HealthCheckEvent_AddHealthyEvent{AddHealthyEvent: &datav3.HealthCheckAddHealthy{FirstCheck: h.fresh}}
	})
}

func (h *Host) tellPassed() {
	if h.checker.opts.Plan.LogSuccesses {
		h.tell(func(e *datav3.HealthCheckEvent) {
			e.Event = &datav3.HealthCheckEvent_SuccessfulHealthCheckEvent{SuccessfulHealthCheckEvent: &datav3.HealthCheckSuccessful{}}
		})
	}
}

func (h *Host) tellDegraded(is bool) {
	h.tell(func(e *datav3.HealthCheckEvent) {
		if is {
			e.Event = &datav3.HealthCheckEvent_DegradedHealthyHost{DegradedHealthyHost: &datav3.DegradedHealthyHost{}}
		} else {
			e.Event = &datav3.HealthCheckEvent_NoLongerDegradedHost{NoLongerDegradedHost: &datav3.NoLongerDegradedHost{}}
		}
	})
}

func (h *Host) tellUnhealthy(why datav3.HealthCheckFailureType, status int) {
	h.tell(func(e *datav3.HealthCheckEvent) {
		e.Event = &datav3.HealthCheckEvent_EjectUnhealthyEvent{EjectUnhealthyEvent: &datav3.HealthCheckEjectUnhealthy{
			FailureType: why, HttpStatusCode: uint32(status),
		}}
	})
}

// tellRefused tells of a failure that is the first result of all, or that is always told.
func (h *Host) tellRefused(why datav3.HealthCheckFailureType, status int) {
	if h.fresh || h.checker.opts.Plan.LogFailures {
		h.tell(func(e *datav3.HealthCheckEvent) {
			e.Event = &datav3.HealthCheckEvent_HealthCheckFailureEvent{HealthCheckFailureEvent: &datav3.HealthCheckFailure{
				FailureType: why, FirstCheck: h.fresh, HttpStatusCode: uint32(status),
			}}
		})
	}
}

// failure is what events call a verdict of a host that did not pass.
func (v verdict) failure() datav3.HealthCheckFailureType {
	switch {
	case v.network && v.late:
		return datav3.HealthCheckFailureType_NETWORK_TIMEOUT
	case v.network:
		return datav3.HealthCheckFailureType_NETWORK
	default:
		return datav3.HealthCheckFailureType_ACTIVE
	}
}
