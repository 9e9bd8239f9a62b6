package lb

// A headcount is the health of one priority.
type headcount struct {
	all, healthy, degraded, excluded int
	// The same by weight where weights measure health, else by number. total leaves
	// out what is excluded.
	total, healthyShare, degradedShare uint64

	overprovision uint32 // percent
}

func count(g []Locality, hosts *Hosts) (c headcount) {
	c.overprovision = hosts.Overprovision
	for _, l := range g {
		for _, e := range l.Endpoints {
			w := uint64(1)
			if hosts.WeighHealth {
				w = uint64(e.weight())
			}
			c.all++
			switch e.Health {
			case Healthy:
				c.healthy++
				c.healthyShare += w
			case Degraded:
				c.degraded++
				c.degradedShare += w
			case Excluded:
				c.excluded++
				w = 0
			}
			c.total += w
		}
	}
	return c
}

func (e *Endpoint) weight() uint32 { return max(e.Weight, 1) }

// available returns the healthy and the degraded part of a priority in percent,
// each raised by the overprovisioning factor.
func (c *headcount) available() (healthy, degraded uint32) {
	if c.total == 0 {
		return 0, 0
	}
	part := func(n uint64) uint32 { return uint32(min(100, uint64(c.overprovision)*n/c.total)) }
	return part(c.healthyShare), part(c.degradedShare)
}

// short reports whether less than a percentage of the hosts can be used.
func (c *headcount) short(percent uint32) bool {
	if c.all == c.excluded {
		return percent > 0
	}
	return 100*float64(c.healthy+c.degraded)/float64(c.all-c.excluded) < float64(percent)
}

// loads is the traffic of each priority in percent; all of them together are 100.
type loads struct {
	healthy, degraded []uint32
	panics            []bool

	able, worn []uint32 // percent that the healthy and the degraded hosts of each can take
}

// choose returns the priority that a number falls to, and whether its degraded
// hosts are meant.
func (l *loads) choose(n uint64) (priority int, degraded bool) {
	at := uint32(n%100) + 1
	var sum uint32
	for p, load := range l.healthy {
		if sum += load; at <= sum {
			return p, false
		}
	}
	for p, load := range l.degraded {
		if sum += load; at <= sum {
			return p, true
		}
	}
	return 0, false
}

// spread gives the traffic to the priorities from the first on, each as much as its
// hosts can take: healthy ones first, then degraded ones. Where all priorities
// together cannot take everything, all are scaled up alike.
func spread(counts []headcount, panicBelow uint32) loads {
	n := len(counts)
	l := loads{healthy: make([]uint32, n), degraded: make([]uint32, n), panics: make([]bool, n)}
	if n == 0 {
		return l
	}
	healthy, degraded := make([]uint32, n), make([]uint32, n)
	l.able, l.worn = healthy, degraded
	var sum uint32
	for p := range counts {
		healthy[p], degraded[p] = counts[p].available()
		sum = min(100, sum+healthy[p]+degraded[p])
	}
	if sum > 0 {
		rest, firstHealthy := fill(l.healthy, healthy, 100, sum)
		rest, firstDegraded := fill(l.degraded, degraded, rest, sum)
		if firstHealthy >= 0 { // what rounding left over
			l.healthy[firstHealthy] += rest
		} else {
			l.degraded[firstDegraded] += rest
		}
	}
	l.panic(counts, sum, panicBelow)
	return l
}

func fill(load, available []uint32, total, sum uint32) (rest uint32, first int) {
	first = -1
	for p, a := range available {
		if first < 0 && a > 0 {
			first = p
		}
		load[p] = min(total, a*100/sum)
		total -= load[p]
	}
	return total, first
}

// panic finds the priorities that use all their hosts for want of healthy ones.
// While the priorities together can take everything, none does. When all do, their
// traffic goes by the number of hosts.
func (l *loads) panic(counts []headcount, sum, below uint32) {
	if below == 0 && sum == 0 {
		l.healthy[0] = 100 // to find no host there
		return
	}
	everywhere := true
	for p := range counts {
		l.panics[p] = sum < 100 && counts[p].short(below)
		everywhere = everywhere && l.panics[p]
	}
	if everywhere {
		l.byNumber(counts)
	}
}

func (l *loads) byNumber(counts []headcount) {
	hosts := 0
	for p := range counts {
		hosts += counts[p].all
	}
	clear(l.healthy)
	clear(l.degraded)
	if hosts == 0 {
		l.healthy[0] = 100
		return
	}
	rest, first := uint32(100), -1
	for p := range counts {
		if first < 0 && counts[p].all > 0 {
			first = p
		}
		l.healthy[p] = uint32(100 * counts[p].all / hosts)
		rest -= l.healthy[p]
	}
	l.healthy[first] += rest
}
