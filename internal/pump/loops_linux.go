package pump

import (
	"sync"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
)

// loops are the event loops of a group. They run while it has wires, and until Wait.
type loops struct {
	mu   sync.Mutex
	all  []*loop
	next int
}

// startLooped starts a wire if loops serve such streams; nil if not.
func (g *Group) startLooped(down, up filter.Stream, hop filter.Outer, first func() error) filter.Pump {
	if g.Loops <= 0 {
		return nil
	}
	w := newWire(down, up)
	if w == nil {
		return nil
	}
	l := g.claimLoop(w.sides[filter.FromDownstream].sock)
	if l == nil {
		return nil
	}
	w.link = link{group: g, hop: hop, first: first}
	w.loop = l
	w.limits.read(hop, g.epoch, g.now())
	for h := hop; h != nil; h = h.Outer() {
		h.Serves(w)
	}
	l.post(message{w: w})
	if reason := g.closing.Load(); reason != nil {
		w.CloseLocal(nil, *reason)
	}
	return w
}

// claimLoop chooses the loop of a wire, which then counts as running: the home of its
// downstream socket if that was assigned or has not much more to do than others, else
// whoever has least.
func (g *Group) claimLoop(down *netconn.Socket) *loop {
	ls := &g.loops
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.start(g) != nil {
		return nil
	}
	g.running.add()
	g.active.Add(1)
	ls.next = (ls.next + 1) % len(ls.all)
	least := ls.all[ls.next]
	for _, l := range ls.all {
		if l.count < least.count {
			least = l
		}
	}
	if n, ok := down.Home(); ok && n < len(ls.all) {
		if home := ls.all[n]; down.Assigned() || home.count <= least.count+least.count/8+1 {
			least = home
		}
	}
	least.count++
	return least
}

// running returns the loops.
func (ls *loops) running() []*loop {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.all
}

// released counts a wire that has ended.
func (ls *loops) released(l *loop) {
	ls.mu.Lock()
	l.count--
	ls.mu.Unlock()
}

func (ls *loops) open(g *Group) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.start(g)
}

// start begins the loops if they do not run; ls.mu is held.
func (ls *loops) start(g *Group) error {
	if ls.all != nil {
		return nil
	}
	var all []*loop
	for n := range g.Loops {
		l, err := newLoop(g)
		if err != nil {
			for _, l := range all {
				l.stop()
			}
			return err
		}
		l.number = n
		all = append(all, l)
		go l.run()
	}
	ls.all = all
	return nil
}

// stop ends the loops of a group that has no pump left; they begin anew with its next.
// The lock is not held meanwhile: a loop may be about to start a pump.
func (ls *loops) stop(g *Group) {
	ls.mu.Lock()
	var idle []*loop
	if g.running.none() {
		idle, ls.all = ls.all, nil
	}
	ls.mu.Unlock()
	for _, l := range idle {
		l.stop()
	}
}

// each calls f for every loop.
func (ls *loops) each(f func(*loop)) {
	for _, l := range ls.running() {
		f(l)
	}
}

// settle has the hops of all wires told of their bytes.
func (ls *loops) settle() {
	ls.each(func(l *loop) {
		l.mu.Lock()
		wires := append([]*wire(nil), l.wires...)
		l.mu.Unlock()
		for _, w := range wires {
			if w != nil {
				w.Settle()
			}
		}
	})
}

// close ends all wires for a local reason of every hop.
func (ls *loops) close(reason string) {
	v := &verdict{Ending: filter.Ending{Cause: filter.LocalClose, Reason: reason}}
	ls.each(func(l *loop) { l.post(message{v: v}) })
}
