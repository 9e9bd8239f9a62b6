package state

import (
	"fmt"
	"strings"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A point is a moment in the life of a connection or a request, since its start; false:
// it has not come.
type point func(m moment) (time.Duration, bool)

// points are those that COMMON_DURATION knows. Any other name is accepted and never
// known, as in Envoy.
var points = map[string]point{
	"DS_RX_BEG":      func(moment) (time.Duration, bool) { return 0, true },
	"DS_RX_END":      requestPoint(func(h *filter.HTTPInfo) time.Duration { return h.RequestDone }),
	"DS_CX_BEG":      connectionBegin,
	"DS_CX_END":      connectionEnd,
	"US_CX_BEG":      func(m moment) (time.Duration, bool) { return m.Up.Begun, made(m) },
	"US_CX_END":      func(m moment) (time.Duration, bool) { return m.Up.Ready, made(m) },
	"US_TX_BEG":      requestPoint(func(h *filter.HTTPInfo) time.Duration { return h.UpstreamFirstSent }),
	"US_TX_END":      requestPoint(func(h *filter.HTTPInfo) time.Duration { return h.UpstreamLastSent }),
	"US_RX_BEG":      requestPoint(func(h *filter.HTTPInfo) time.Duration { return h.UpstreamFirstByte }),
	"US_RX_BODY_BEG": requestPoint(func(h *filter.HTTPInfo) time.Duration { return h.UpstreamFirstBody }),
	"US_RX_END":      requestPoint(func(h *filter.HTTPInfo) time.Duration { return h.UpstreamLastByte }),
	"DS_TX_BEG":      requestPoint(func(h *filter.HTTPInfo) time.Duration { return h.FirstSent }),
	"DS_TX_END":      requestPoint(func(h *filter.HTTPInfo) time.Duration { return h.LastSent }),
}

// requestPoint is a point of a request; those that have not come are zero.
func requestPoint(of func(*filter.HTTPInfo) time.Duration) point {
	return func(m moment) (time.Duration, bool) {
		if h := m.HTTP(); h != nil {
			d := of(h)
			return d, d != 0
		}
		return 0, false
	}
}

// connectionBegin is before the begin of a request.
func connectionBegin(m moment) (time.Duration, bool) {
	if h := m.HTTP(); h != nil && h.Conn != nil {
		return h.Conn.Start.Sub(m.Start), true
	}
	return 0, true
}

// connectionEnd is, of a request, only known where it ended both.
func connectionEnd(m moment) (time.Duration, bool) {
	if m.HTTP() != nil {
		return m.elapsed(), m.Flags&filter.DownstreamConnectionTermination != 0
	}
	return m.elapsed(), m.ended()
}

// connected reports whether the upstream connection was made.
func connected(m moment) bool { return m.Up.Remote != nil }

// made reports whether the upstream connection was made for it: requests may go on one
// that there was.
func made(m moment) bool { return connected(m) && (m.HTTP() == nil || m.Up.Ready > 0) }

// readyDuration is how long a connection to a host took to be ready; of a request, how
// long it waited for one.
func readyDuration(m moment) (time.Duration, bool) {
	switch h := m.HTTP(); {
	case h != nil:
		return h.PoolReady, h.PoolReady != 0
	case connected(m):
		return m.Up.Ready - m.Up.Begun, true
	case m.UpAttempts > 0:
		return max(m.elapsed()-m.Up.Begun, 0), true
	}
	return 0, false
}

// between is the time from one point to another; missing where the one is later.
func between(from, to point) func(moment) (time.Duration, bool) {
	return func(m moment) (time.Duration, bool) {
		b, begun := from(m)
		e, ended := to(m)
		return e - b, begun && ended && e >= b
	}
}

// commonDuration makes COMMON_DURATION(from:to:unit).
func commonDuration(a args) (operator, error) {
	p := strings.Split(a.text, ":")
	if len(p) < 2 || len(p) > 3 {
		return operator{}, fmt.Errorf("Invalid common duration configuration: %s.", a.text) //nolint:staticcheck // Envoy's text
	}
	unit := time.Millisecond
	if len(p) == 3 {
		var ok bool
		unit, ok = map[string]time.Duration{"ms": time.Millisecond, "us": time.Microsecond, "ns": time.Nanosecond}[p[2]]
		if !ok {
			return operator{}, fmt.Errorf("Invalid common duration precision: %s.", p[2]) //nolint:staticcheck // Envoy's text
		}
	}
	from, to := points[p[0]], points[p[1]]
	if from == nil || to == nil {
		return nothing(a)
	}
	return durationIn(unit, between(from, to)), nil
}
