package pump

import (
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A pair is a pump that goroutines serve, one for either direction where there is
// something to do or to wait for; for the bytes of a pipe a flow waits without. It runs
// until there is a verdict and both flows have stopped; the one that stops last closes
// the streams and tells the hops.
type pair struct {
	link
	shard      *shard
	next, prev *pair // guarded by shard.mu
	down, up   end
	flows      [2]flow // by filter.Direction

	mu      sync.Mutex
	verdict verdict
	running int           // flows, asleep or not
	timer   *time.Timer   // nil: not set yet, or no more
	cut     chan struct{} // closed to end a flush; nil: there was none
	hurried bool          // cut is closed, or to be
}

func newPair(g *Group, down, up filter.Stream, hop filter.Outer, first func() error) *pair {
	p := &pair{link: link{group: g, hop: hop, first: first}, running: 2, down: newEnd(down), up: newEnd(up)}
	p.flows[filter.FromDownstream].init(p, filter.FromDownstream, &p.down, &p.up)
	p.flows[filter.FromUpstream].init(p, filter.FromUpstream, &p.up, &p.down)
	p.limits.read(hop, g.epoch, g.now())
	return p
}

// watch starts the clock if there are limits. One timer serves them all; bytes do not
// touch it, it looks when it fires.
func (p *pair) watch() {
	at, _, _ := p.expiry()
	if at == never {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(at-p.group.now(), p.expire)
}

// rewatch sets the clock anew, since a limit has begun to count that may strike first.
func (p *pair) rewatch() {
	at, _, _ := p.expiry()
	left := at - p.group.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		p.timer = time.AfterFunc(left, p.expire)
		return
	}
	p.timer.Reset(left)
}

// expire ends the pair if a limit has passed, else it waits on.
func (p *pair) expire() {
	at, by, cause := p.expiry()
	if at == never {
		return
	}
	if left := at - p.group.now(); left > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.timer != nil {
			p.timer.Reset(left)
		}
		return
	}
	p.end(p.struck(by, cause))
}

// begin starts the flows.
func (p *pair) begin() {
	for i := range p.flows {
		p.flows[i].begin()
	}
}

// run is a goroutine of a flow.
func (p *pair) run(f *flow) {
	if !f.run() {
		return // p may be gone
	}
	p.mu.Lock()
	p.running--
	last := p.running == 0
	p.mu.Unlock()
	if last {
		p.finish()
	}
}

// CloseLocal implements filter.Pump. Without a hop it is the reason of all of them.
func (p *pair) CloseLocal(at filter.Outer, reason string) {
	p.end(verdict{Ending: filter.Ending{Cause: filter.LocalClose, Reason: reason}, at: at})
}

// end makes both flows stop. The first verdict counts; later local ones end the
// flush that may be under way, or come.
func (p *pair) end(v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.verdict.Cause != 0 {
		if local(v.Cause) && !p.hurried {
			p.hurried = true
			if p.cut != nil {
				close(p.cut)
			}
		}
		return
	}
	p.verdict = v
	_ = p.down.stream.SetDeadline(longAgo)
	_ = p.up.stream.SetDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// over reports whether there is a verdict.
func (p *pair) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verdict.Cause != 0
}

// left ends the pair because the peer of e is gone, or was the last to end.
func (p *pair) left(e *end, how fate) {
	var v verdict
	why := filter.Why(e.stream)
	if why == errStruck {
		v.when, why = p.group.now(), nil
	}
	switch {
	case e == &p.up && how == reset:
		v.Cause = filter.UpstreamReset
	case e == &p.up:
		v.Cause, v.Why = filter.UpstreamClosed, why
	case how == reset:
		v.Cause = filter.DownstreamReset
	default:
		v.Cause = filter.DownstreamClosed
	}
	p.end(v)
}

// finish ends a pair whose flows have stopped.
func (p *pair) finish() {
	p.close()
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil // expire may just be running
	}
	p.mu.Unlock()
	for i := range p.flows {
		p.flows[i].resume() // what was paused is told in pairs
	}
	p.endFlush()
	p.group.remove(p)

	p.conclude(p.verdict)
	p.group.running.done()
}
