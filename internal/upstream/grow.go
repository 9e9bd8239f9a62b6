package upstream

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// grow makes connections while there are too few for what waits, or for what is to be
// ready in advance; a few at a time (Envoy).
func (p *pool) grow() {
	for range 3 {
		if !p.short() || !p.dial() {
			return
		}
	}
}

func (p *pool) short() bool {
	streams, provided := float64(p.streams()), float64(p.provided())
	switch {
	case streams > provided:
		return true
	case streams*p.preconnect <= provided, p.draining, !p.host.healthy():
		return false
	}
	return p.mayPreconnect()
}

// mayPreconnect reports whether connections may be made that no request waits for, where
// nothing else is against it, and counts it if they may not.
func (p *pool) mayPreconnect() bool {
	if !p.host.ahead {
		p.host.cluster.stats.preconnectSkipped.Add(1)
	}
	return p.host.ahead
}

// streams is how many requests there are.
func (p *pool) streams() int { return len(p.waiting) + p.active }

// provided is how many requests the connections have, or have room for.
func (p *pool) provided() int { return p.capacity() + p.active }

// capacity is how many more requests the connections can take that there are, or that
// are being made.
func (p *pool) capacity() int {
	n := p.connecting * p.assumed
	if p.key.protocol != httpmsg.HTTP2 {
		return n + p.ready.n
	}
	for m := range p.ready.all {
		room := m.client.Room()
		if p.perMember > 0 {
			room = min(room, int(uint64(p.perMember)-m.served))
		}
		n += room
	}
	return n
}

// dial begins a connection, if circuit breakers allow it. What waits at a pool without any
// has one in any case (Envoy): it would wait for ever.
func (p *pool) dial() bool {
	h := p.host
	if !p.admit() {
		h.cluster.stats.overflow.Add(1)
		if p.births.n > 0 || len(p.waiting) == 0 {
			return false
		}
		h.cluster.evict(p)
		p.breaker.force(&p.breaker.connections)
		h.slots.force()
	}
	if !h.cluster.set.live.enter() {
		p.breaker.release(&p.breaker.connections)
		h.slots.release()
		p.fail(result{err: filter.ErrCanceled})
		return false
	}
	m := &member{pool: p, born: h.cluster.set.now(), cancel: make(chan struct{})}
	h.cluster.stats.opened(h)
	if !p.negotiates() {
		p.counts(p.key.protocol)
	}
	p.births.push(m)
	p.dialled = true
	p.connecting++
	go m.connect(p.origin)
	return true
}
