package outlier

import (
	"time"

	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/cluster/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/internal/eventlog"
	"github.com/ginnel/ginnel/internal/plan"
)

// A finding is why a host is an outlier. Rates are of success, in percent, and of kinds that
// go by them.
type finding struct {
	kind               plan.OutlierKind
	rate, average, bar float64 // the host's, that of all, and what it should not be below
}

// types are what events call the kinds.
var types = [plan.OutlierKinds]datav3.OutlierEjectionType{
	plan.Consecutive5xx:            datav3.OutlierEjectionType_CONSECUTIVE_5XX,
	plan.ConsecutiveGatewayFailure: datav3.OutlierEjectionType_CONSECUTIVE_GATEWAY_FAILURE,
	plan.ConsecutiveLocalFailure:   datav3.OutlierEjectionType_CONSECUTIVE_LOCAL_ORIGIN_FAILURE,
	plan.SuccessRate:               datav3.OutlierEjectionType_SUCCESS_RATE,
	plan.LocalSuccessRate:          datav3.OutlierEjectionType_SUCCESS_RATE_LOCAL_ORIGIN,
	plan.FailurePercentage:         datav3.OutlierEjectionType_FAILURE_PERCENTAGE,
	plan.LocalFailurePercentage:    datav3.OutlierEjectionType_FAILURE_PERCENTAGE_LOCAL_ORIGIN,
}

// tellEjected writes that a host was found to be an outlier, and is ejected for it or not.
// d.mu is held.
func (d *Detector) tellEjected(h *Host, f finding, now time.Time, enforced bool) {
	if d.opts.Events == nil {
		return
	}
	e := d.event(h, now, h.returned)
	e.Type, e.Action, e.Enforced = types[f.kind], datav3.Action_EJECT, enforced
	switch f.kind {
	case plan.SuccessRate, plan.LocalSuccessRate:
		e.Event = &datav3.OutlierDetectionEvent_EjectSuccessRateEvent{EjectSuccessRateEvent: &datav3.OutlierEjectSuccessRate{
			HostSuccessRate: percent(f.rate), ClusterAverageSuccessRate: percent(f.average), ClusterSuccessRateEjectionThreshold: percent(f.bar),
		}}
	case plan.FailurePercentage, plan.LocalFailurePercentage:
		e.Event = &datav3.OutlierDetectionEvent_EjectFailurePercentageEvent{EjectFailurePercentageEvent: &datav3.OutlierEjectFailurePercentage{
			HostSuccessRate: percent(f.rate),
		}}
	default:
		e.Event = &datav3.OutlierDetectionEvent_EjectConsecutiveEvent{EjectConsecutiveEvent: &datav3.OutlierEjectConsecutive{}}
	}
	d.opts.Events.Write(e)
}

// percent leaves out what is below 1, and below 0.
func percent(rate float64) uint32 { return uint32(max(rate, 0)) }

// tellBack writes that a host is back; why it was ejected is not told (Envoy). d.mu is held.
func (d *Detector) tellBack(h *Host, now time.Time) {
	if d.opts.Events == nil {
		return
	}
	e := d.event(h, now, h.since)
	e.Action = datav3.Action_UNEJECT
	d.opts.Events.Write(e)
}

// event is what all events of a host say; last is when something else happened to it.
func (d *Detector) event(h *Host, now, last time.Time) *datav3.OutlierDetectionEvent {
	e := &datav3.OutlierDetectionEvent{
		Timestamp: eventlog.At(now), ClusterName: d.opts.Cluster, UpstreamUrl: h.addr, NumEjections: h.ejections,
	}
	if !last.IsZero() {
		e.SecsSinceLastAction = wrapperspb.UInt64(uint64(max(now.Sub(last), 0) / time.Second))
	}
	return e
}
