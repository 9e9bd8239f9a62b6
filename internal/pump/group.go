// Package pump moves bytes between two streams that belong to a chain of hops, and
// tells the hops of everything, above all how it ended.
//
// # Ends
//
// A half close is passed on behind the bytes that came before it; the other
// direction goes on. When both directions have ended, both streams are closed, and
// the side that ended last counts as the one that closed the connection (Envoy 1.40
// does the same: downstream first, then upstream is upstream_cx_destroy_remote, the
// other order is _local).
//
// A peer that is gone as a whole ends the pair without waiting for the other
// direction: what it sent before is delivered, then the other stream is closed in
// good order. So does the peer of a pipe that was closed, and one of a socket whose
// FIN was followed by a reset; a FIN alone never tells (nor does it in Envoy). If
// that side is found gone when it is written to, what it sent before is still read
// and delivered; what comes for it meanwhile is thrown away.
//
// A reset is passed on as a reset, but only after the bytes that came before it have
// left: the pump waits until the other side's system has acknowledged them, as long
// as that makes progress.
//
// A hop that closes for a reason of its own, an idle timeout and a deadline close
// both streams at once.
//
// # Counts
//
// Bytes count when they were written to the other side, the same number for every
// hop. (Envoy counts what it has read and then could not write, too.)
package pump

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A Group is the pumps of a proxy; it implements filter.Pumps. The zero value is
// ready; it must not be copied.
type Group struct {
	// FlushTimeout is how long bytes may make no progress towards a side before a
	// reset of the other one is passed on regardless, or a connection that its peer
	// has closed is let go. 0: one second. Set before the first Start.
	FlushTimeout time.Duration
	// Loops is the number of event loops that move the bytes between sockets, on
	// Linux. 0: none; then, and between all other streams, goroutines do. Set before
	// the first Start.
	Loops int

	once    sync.Once
	epoch   time.Time // beginning of the group's time
	loops   loops
	buffers buffers
	shards  [shards]shard
	next    atomic.Uint32 // shard of the next pump
	active  atomic.Int64
	running tally
	closing atomic.Pointer[string]

	settling sync.Mutex
	scratch  []*pair // of Settle
}

var _ filter.Pumps = (*Group)(nil)

const shards = 16

type shard struct {
	mu   sync.Mutex
	head *pair
	_    [48]byte
}

// Start implements filter.Pumps. The streams must honour deadlines; sockets of
// netconn and pipes move without a copy more than needed, others by Read and Write
// with a buffer held.
func (g *Group) Start(down, up filter.Stream, hop filter.Outer, first func() error) filter.Pump {
	g.begin()
	if p := g.startLooped(down, up, hop, first); p != nil {
		return p
	}
	p := newPair(g, down, up, hop, first)
	g.running.add()
	g.add(p)
	for h := hop; h != nil; h = h.Outer() {
		h.Serves(p)
	}
	if reason := g.closing.Load(); reason != nil {
		p.CloseLocal(nil, *reason)
	}
	p.watch()
	p.begin()
	return p
}

// Open starts the event loops, if there are to be any; else the first Start does. The
// error is the system's: no descriptors are left.
func (g *Group) Open() error {
	g.begin()
	return g.loops.open(g)
}

func (g *Group) begin() { g.once.Do(func() { g.epoch = time.Now() }) }

// now is the group's time.
func (g *Group) now() time.Duration { return time.Since(g.epoch) }

// Active returns the number of running pumps.
func (g *Group) Active() int { return int(g.active.Load()) }

// BuffersInUse returns the number of pooled buffers that are not in the pool.
func (g *Group) BuffersInUse() int { return int(g.buffers.inUse.Load()) }

// Settle reports the bytes moved so far of all pumps to their observers.
func (g *Group) Settle() {
	g.settling.Lock()
	defer g.settling.Unlock()
	g.each(func(p *pair) { p.Settle() })
	g.loops.settle()
}

// Close ends all pumps, and those to come, for a local reason of every hop. It does
// not wait.
func (g *Group) Close(reason string) {
	g.closing.Store(&reason)
	g.settling.Lock()
	defer g.settling.Unlock()
	g.each(func(p *pair) { p.CloseLocal(nil, reason) })
	g.loops.close(reason)
}

// Wait returns when no pump runs and all observers were told. Then nothing of the
// group is left until the next Start; what it watched is watched no more.
func (g *Group) Wait() {
	g.running.wait()
	g.loops.stop(g)
}

// each calls f without a shard's lock: f calls observers. g.settling is held.
func (g *Group) each(f func(*pair)) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		for p := s.head; p != nil; p = p.next {
			g.scratch = append(g.scratch, p)
		}
		s.mu.Unlock()
		for j, p := range g.scratch {
			f(p)
			g.scratch[j] = nil
		}
		g.scratch = g.scratch[:0]
	}
}

func (g *Group) add(p *pair) {
	g.active.Add(1)
	p.shard = &g.shards[g.next.Add(1)%shards]
	s := p.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.next = s.head; p.next != nil {
		p.next.prev = p
	}
	s.head = p
}

func (g *Group) remove(p *pair) {
	s := p.shard
	s.mu.Lock()
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		s.head = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.next, p.prev = nil, nil
	s.mu.Unlock()
	g.active.Add(-1)
}

func (g *Group) flushTimeout() time.Duration {
	if g.FlushTimeout > 0 {
		return g.FlushTimeout
	}
	return time.Second
}
