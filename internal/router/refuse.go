package router

import "github.com/ginnel/ginnel/filter"

// refusals are how requests are answered that a cluster refuses, and the header that tells
// the client.
var refusals = [...]struct {
	reply  filter.LocalReply
	header string
}{
	filter.InMaintenance: {
		filter.LocalReply{Status: 503, Body: "maintenance mode", Flags: filter.UpstreamOverflow, Details: "maintenance_mode"},
		"x-envoy-overloaded",
	},
	filter.Dropped: {
		filter.LocalReply{Status: 503, Body: "drop overload", Flags: filter.DropOverLoad, Details: "drop_overload"},
		"x-envoy-drop-overload",
	},
	filter.AllDropped: {
		filter.LocalReply{
			Status: 503, Body: "unconditional drop overload", Flags: filter.UnconditionalDropOverload,
			Details: "unconditional_drop_overload",
		},
		"x-envoy-unconditional-drop-overload",
	},
}

// refuse answers a request that the cluster refuses.
func (x *call) refuse(why filter.Refusal) filter.LocalReply {
	if why == filter.InMaintenance {
		x.stats.maintenance.Add(1)
	}
	x.count(503, nil)
	return x.telling(refusals[why].header, refusals[why].reply)
}

// overloaded adds what tells the client that it was too much.
func (x *call) overloaded(r filter.LocalReply) filter.LocalReply {
	return x.telling("x-envoy-overloaded", r)
}

// telling adds a header of Envoy's own to a reply.
func (x *call) telling(name string, r filter.LocalReply) filter.LocalReply {
	if !x.router.config.Quiet {
		r.Header.Add(name, "true")
	}
	return r
}

// refused reports whether the cluster refuses the copy, and counts that as a response.
func (m *reflection) refused() bool {
	why := m.cluster.Refuses()
	if why == filter.NotRefused {
		return false
	}
	if m.stats != nil {
		if why == filter.InMaintenance {
			m.stats.maintenance.Add(1)
		}
		m.count(503)
	}
	return true
}
