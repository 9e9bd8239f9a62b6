package upstream

import (
	"net"
	"slices"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A place is where a host is.
type place struct {
	addr net.Addr   // tried first
	more []net.Addr // those after it, in the order they are tried
}

func newPlace(e *plan.Endpoint, o plan.TryOrder) place {
	if len(e.Additional) == 0 {
		return place{addr: e.Addr}
	}
	all := tryOrder(append([]net.Addr{e.Addr}, e.Additional...), o)
	return place{all[0], all[1:]}
}

// tryOrder returns addresses in the order in which Envoy tries them: families take turns, in
// the order in which they appear, but that the first one is chosen, and has more than one
// address in each of its turns, if the configuration says so and there is any of it.
func tryOrder(all []net.Addr, o plan.TryOrder) []net.Addr {
	first, count := family(all[0]), max(o.Count, 1)
	switch {
	case o.First == plan.FirstFamily:
	case slices.ContainsFunc(all, func(a net.Addr) bool { return family(a) == o.First }):
		first = o.First
	default: // the count was meant for that (seen on Envoy 1.40)
		count = 1
	}
	turns := []plan.AddressFamily{first}
	var left [plan.InternalFamily + 1][]net.Addr
	for _, a := range all {
		f := family(a)
		if !slices.Contains(turns, f) {
			turns = append(turns, f)
		}
		left[f] = append(left[f], a)
	}
	out := make([]net.Addr, 0, len(all))
	for len(out) < len(all) {
		for _, f := range turns {
			n := 1
			if f == first {
				n = count
			}
			n = min(n, len(left[f]))
			out, left[f] = append(out, left[f][:n]...), left[f][n:]
		}
	}
	return out
}

func family(a net.Addr) plan.AddressFamily {
	switch a := a.(type) {
	case filter.IPAddr:
		if a.Addr().Is4() {
			return plan.IPv4Family
		}
		return plan.IPv6Family
	case filter.UnixAddr:
		return plan.PipeFamily
	}
	return plan.InternalFamily
}

func isInternal(a net.Addr) bool { return family(a) == plan.InternalFamily }
