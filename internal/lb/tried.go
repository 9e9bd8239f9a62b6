package lb

import "github.com/ginnel/ginnel/filter"

// untried returns the loads without the priorities of hosts that were tried, counted after
// each so many of them. When no priority is left that can take anything, those tried so far
// are forgotten (envoy.retry_priorities.previous_priorities). priority gives that of a host; negative: none.
func (l *loads) untried(tried []*filter.Host, every int, priority func(*filter.Host) int) *loads {
	if every <= 0 || len(tried) < every {
		return l
	}
	spent := make([]bool, len(l.healthy))
	for len(tried) >= every {
		for _, h := range tried[:every] {
			if p := priority(h); p >= 0 && p < len(spent) {
				spent[p] = true
			}
		}
		tried = tried[every:]
		if !l.left(spent) {
			clear(spent)
		}
	}
	if !l.left(spent) {
		return l
	}
	return l.without(spent)
}

// left reports whether the priorities that are not spent can take anything.
func (l *loads) left(spent []bool) bool {
	for p := range spent {
		if !spent[p] && l.able[p]+l.worn[p] > 0 {
			return true
		}
	}
	return false
}

// without shares all traffic among the priorities that are not spent: what each can take,
// healthy hosts first, and the first ones more if that is not all.
func (l *loads) without(spent []bool) *loads {
	out := &loads{healthy: make([]uint32, len(spent)), degraded: make([]uint32, len(spent))}
	for rest := uint32(100); rest > 0; {
		for p := range spent {
			if !spent[p] {
				out.healthy[p], rest = out.healthy[p]+min(rest, l.able[p]), rest-min(rest, l.able[p])
			}
		}
		for p := range spent {
			if !spent[p] {
				out.degraded[p], rest = out.degraded[p]+min(rest, l.worn[p]), rest-min(rest, l.worn[p])
			}
		}
	}
	return out
}
