package upstream

import (
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// A pool has one timer for all its connections. It is set for the first moment at which
// one of them might be due, and looks then whether it is: requests do not touch it.

// wake sets the timer for a moment of the set's time, unless it fires before.
func (p *pool) wake(at time.Duration) {
	if p.wakes != 0 && p.wakes <= at {
		return
	}
	p.wakes = at
	left := at - p.host.cluster.set.now()
	if p.timer == nil {
		p.timer = time.AfterFunc(left, p.expire)
	} else {
		p.timer.Reset(left)
	}
}

// expire closes what was without a request for too long, and lets what is too old end.
func (p *pool) expire() {
	p.mu.Lock()
	defer p.unlock()
	if p.gone {
		return
	}
	p.wakes = 0
	now := p.host.cluster.set.now()
	if d := p.host.cluster.plan.HTTP.IdleTimeout; d > 0 {
		p.expireIdle(now, d)
	}
	if p.host.cluster.plan.HTTP.MaxDuration > 0 {
		p.expireOld(now)
	}
}

func (p *pool) expireIdle(now, limit time.Duration) {
	all := &p.births
	if p.key.protocol != httpmsg.HTTP2 { // nor negotiated
		all = &p.ready // none of them has a request, and the first was idle for longest
	}
	for m := range all.all {
		switch due := m.idle + limit; {
		case m.client == nil || m.retired || m.active > 0:
		case due <= now:
			p.host.cluster.stats.http.idleTimeout.Add(1)
			m.close()
		default:
			p.wake(due)
			if all == &p.ready {
				return
			}
		}
	}
}

func (p *pool) expireOld(now time.Duration) {
	for m := range p.births.all {
		switch {
		case m.client == nil || m.retired:
		case m.expires <= now:
			p.host.cluster.stats.http.maxDuration.Add(1)
			m.retire()
		default:
			p.wake(m.expires)
		}
	}
}
