package pump

import (
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A pair is one running pump: two streams, a flow in either direction, and the hops
// that look on. It runs until there is a verdict and both flows have stopped; the
// one that stops last closes the streams and tells the hops.
type pair struct {
	group      *Group
	shard      *shard
	next, prev *pair // guarded by shard.mu
	hop        filter.Outer
	first      func() error // until the first downstream bytes; used by their flow alone
	maxBytes   int          // held for one direction
	limits     limits
	down, up   end
	flows      [2]flow // by filter.Direction
	flushing   bool    // the hops were told; used by the flow from downstream, then by finish

	mu      sync.Mutex
	verdict verdict
	running int // flows
	timer   *time.Timer
	cut     chan struct{} // closed to end a flush; nil while there is none

	report  sync.Mutex // held while hops are told of bytes
	told    [2]uint64
	settled bool // no more of them
}

// A verdict is how the pair ends. With at it is for a reason of that hop.
type verdict struct {
	filter.Ending
	at filter.Outer
}

func newPair(g *Group, down, up filter.Stream, hop filter.Outer, first func() error) *pair {
	p := &pair{group: g, hop: hop, first: first, running: 2, down: newEnd(down), up: newEnd(up)}
	p.flows[filter.FromDownstream].init(p, filter.FromDownstream, &p.down, &p.up)
	p.flows[filter.FromUpstream].init(p, filter.FromUpstream, &p.up, &p.down)
	p.readLimits()
	return p
}

// The goroutines of a pair.
func (p *pair) downstreamToUpstream() { p.run(&p.flows[filter.FromDownstream]) }
func (p *pair) upstreamToDownstream() { p.run(&p.flows[filter.FromUpstream]) }

func (p *pair) run(f *flow) {
	f.run()
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
	p.end(verdict{filter.Ending{Cause: filter.LocalClose, Reason: reason}, at})
}

// end makes both flows stop. The first verdict counts; later local ones end the
// flush that may be under way.
func (p *pair) end(v verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.verdict.Cause != 0 {
		if p.cut != nil && local(v.Cause) {
			close(p.cut)
			p.cut = nil
		}
		return
	}
	p.verdict = v
	_ = p.down.stream.SetDeadline(longAgo)
	_ = p.up.stream.SetDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

func local(c filter.Cause) bool {
	return c == filter.LocalClose || c == filter.IdleTimeout || c == filter.DurationReached
}

// over reports whether there is a verdict.
func (p *pair) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verdict.Cause != 0
}

// left ends the pair because the peer of e is gone, or was the last to end.
func (p *pair) left(e *end, how fate) {
	c := filter.DownstreamClosed
	switch {
	case e == &p.up && how == reset:
		c = filter.UpstreamReset
	case e == &p.up:
		c = filter.UpstreamClosed
	case how == reset:
		c = filter.DownstreamReset
	}
	p.end(verdict{Ending: filter.Ending{Cause: c}})
}

// finish ends a pair whose flows have stopped.
func (p *pair) finish() {
	p.close()
	p.mu.Lock()
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	for i := range p.flows {
		p.flows[i].resume() // what was paused is told in pairs
	}
	p.endFlush()
	p.group.remove(p)

	p.report.Lock()
	p.tell()
	p.settled = true
	p.report.Unlock()
	p.announce()
	p.group.running.Done()
}

// Settle implements filter.Pump.
func (p *pair) Settle() {
	p.report.Lock()
	defer p.report.Unlock()
	if !p.settled {
		p.tell()
	}
}

func (p *pair) tell() {
	up, down := p.flows[filter.FromDownstream].moved.Load(), p.flows[filter.FromUpstream].moved.Load()
	dup, ddown := up-p.told[0], down-p.told[1]
	if dup == 0 && ddown == 0 {
		return
	}
	p.told = [2]uint64{up, down}
	for h := p.hop; h != nil; h = h.Outer() {
		h.Moved(dup, ddown)
	}
}

// announce tells every hop how the pair ended as it looks from there: the hops inside
// of the one whose reason it was see their downstream close, those outside their
// upstream.
func (p *pair) announce() {
	v := p.verdict
	e := v.Ending
	if v.at != nil {
		e = filter.Ending{Cause: filter.DownstreamClosed}
	}
	for h := p.hop; h != nil; {
		outer := h.Outer() // h may be reused after Ended
		switch {
		case v.at != nil && h == v.at:
			h.Ended(v.Ending)
			e = filter.Ending{Cause: filter.UpstreamClosed}
		default:
			h.Ended(e)
		}
		h = outer
	}
}
