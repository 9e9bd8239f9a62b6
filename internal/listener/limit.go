package listener

import (
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Limit is how many connections from sockets there may be of all listeners together that
// it is for. With a Most it is in force in place of the runtime's.
type Limit struct {
	Most uint64 // 0: the runtime decides. It does not change once listeners have it
	open atomic.Int64
}

// limitFor returns the limit that counts a listener's connections; nil: none does.
func limitFor(p *plan.Listener, all *Limit) *Limit {
	if all == nil || all.Most == 0 || p.Internal || p.IgnoreLimit || p.BypassOverload {
		return nil
	}
	return all
}

// limitKey is the runtime key of Envoy's connection limit of a listener, totalKey of
// all together.
func limitKey(name string) string {
	return "envoy.resource_limits.listener." + name + ".connection_limit"
}

const totalKey = "overload.global_downstream_max_connections"

// over returns the counter of the limit that the newest of the open connections
// passes, nil if none.
func (l *Listener) over(open int) filter.Counter {
	rt := l.env.Runtime
	switch {
	case l.limit != nil && uint64(l.limit.open.Load()) > l.limit.Most:
		return l.stats.globalOverflow
	case l.limit != nil || l.plan.IgnoreLimit:
	default:
		if limit := rt.Uint(totalKey, 0); limit > 0 && uint64(l.total.Load()) > limit {
			return l.stats.globalOverflow
		}
	}
	if limit := rt.Uint(l.limitKey, 0); limit > 0 && uint64(open) > limit {
		return l.stats.overflow
	}
	return nil
}

// tally adds to the open connections of all listeners.
func (l *Listener) tally(n int64) {
	if l.plan.Internal {
		return
	}
	l.total.Add(n)
	if l.limit != nil {
		l.limit.open.Add(n)
	}
}
