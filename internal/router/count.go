package router

import (
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A shareKey names statistics that a part of a virtual host's requests have of its own.
type shareKey struct{ host, kind, name string }

// countBy finds the statistics that the request moves beside its cluster's.
func (x *call) countBy() {
	h, s := x.route.Host, x.stream
	if name := h.VirtualCluster(s.Request); name != "" {
		s.Info.HTTP().VirtualCluster = name
		x.virtual = x.router.share(shareKey{h.Name, "vcluster", name})
	}
	if p := x.route.StatPrefix; p != "" {
		x.own = x.router.share(shareKey{h.Name, "route", p})
	}
	if name, ok := s.Request.Header.Lookup("x-envoy-upstream-alt-stat-name"); ok {
		x.alt = newResponses(x.cluster.Stats(), name+".") // from inside only: rare
		s.Request.Header.Del("x-envoy-upstream-alt-stat-name")
	}
}

func (r *Router) share(k shareKey) *responses {
	return r.shares.get(k, func(*responses) bool { return true }, func() *responses {
		return newResponses(r.env.Stats.Scope("vhost."+k.host+"."+k.kind+"."+k.name+"."), "")
	})
}

// trees calls f for the statistics of responses that the call moves.
func (x *call) trees(canary bool, f func(*responses)) {
	s := x.stats
	f(s.all)
	if canary {
		f(s.canary)
	}
	if x.internal {
		f(s.internal)
	} else {
		f(s.external)
	}
	for _, t := range [...]*responses{x.virtual, x.own, x.alt} {
		if t != nil {
			f(t)
		}
	}
}

// count counts a response of a host, or one in its place; host is nil if there was none.
func (x *call) count(status int, host *filter.Host) {
	if x.router.config.NoStatistics || x.stream.Info.HTTP().HealthCheck {
		return
	}
	blank := x.grpc && x.router.config.NoGRPCFailures
	x.trees(x.canary(host), func(r *responses) { r.count(status, blank) })
}

// countTry counts a response that is tried again.
func (x *call) countTry(status int) {
	if !x.router.config.NoStatistics {
		x.stats.retried.count(status, x.grpc && x.router.config.NoGRPCFailures)
	}
}

// time records how long the exchange took, from the end of the request on.
func (x *call) time(took time.Duration, host *filter.Host) {
	if x.router.config.NoStatistics || x.stream.Info.HTTP().HealthCheck {
		return
	}
	x.trees(x.canary(host), func(r *responses) { r.record(took) })
}

// canary reports whether the response is from a canary: it says so, or its host is one.
func (x *call) canary(host *filter.Host) bool {
	if x.answer.canary {
		return true
	}
	return host != nil && host.Metadata.GetFilterMetadata()["envoy.lb"].GetFields()["canary"].GetBoolValue()
}

func canaryHeader(h httpmsg.Header) bool { return h.Get("x-envoy-upstream-canary") == "true" }
