package listener

import (
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/drain"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Change is another version of a listener, ready to take the place of the one that
// serves. Exactly one of Apply and Drop is called.
type Change struct {
	listener  *Listener
	old, next *version
}

// Prepare builds what p has other than the listener, which notices nothing. p differs
// from the listener's plan in its filter chains alone. Changes are made one after the
// other.
func (l *Listener) Prepare(p *plan.Listener) (*Change, error) {
	old := l.now.Load()
	next, err := l.version(p, old)
	if err != nil {
		return nil, listenerError(p, err)
	}
	return &Change{l, old, next}, nil
}

// Apply lets connections from now on find their chain in the new version. Chains that
// it does not have leave: their connections go on until they are told to end.
func (c *Change) Apply() *Leaving {
	c.listener.now.Store(c.next)
	release(c.old.env)
	return &Leaving{c.listener, c.old.without(c.next)}
}

// Drop forgets the change.
func (c *Change) Drop() { c.next.discard(c.old) }

// Leaving is filter chains that no connection chooses any more.
type Leaving struct {
	listener *Listener
	chains   []*chain
}

// Chains is their number.
func (x *Leaving) Chains() int { return len(x.chains) }

// Leave begins the drain: what of the connections asks is told to end.
func (x *Leaving) Leave(p drain.Policy) {
	drainBegins(x.mark(func(*chain) {}))
	for _, c := range x.chains {
		c.drain.Begin(p)
	}
}

// Drain asks the connections to end in order: each begins to within a time.
func (x *Leaving) Drain(within time.Duration) {
	for _, c := range x.mark(func(*chain) {}) {
		if d, ok := c.(filter.Drainer); ok {
			d.Drain(within)
		}
	}
}

// Wait returns when no connection is left, but for such as were about to choose a chain
// when it was removed. Leave was called before.
func (x *Leaving) Wait() {
	l := x.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range x.chains {
		for c.open > 0 {
			l.empty.Wait()
		}
	}
}

// Close ends the connections that are left, for a reason, and waits until they have
// ended; then nothing is left of the chains.
func (x *Leaving) Close(reason string) {
	for _, c := range x.mark(func(c *chain) { c.closing = reason }) {
		c.CloseLocal(reason)
	}
	x.Wait()
	for _, c := range x.chains {
		c.release()
	}
}

// mark changes the chains and returns what ends their connections. Who becomes the
// owner of another one after that sees the mark.
func (x *Leaving) mark(f func(*chain)) []filter.Closer {
	l := x.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	leaves, open := make(map[*chain]bool), 0
	for _, c := range x.chains {
		f(c)
		leaves[c] = true
		open += c.open
	}
	if open == 0 {
		return nil
	}
	var all []filter.Closer
	for c := l.open.next; c != &l.open && len(all) < open; c = c.next {
		if leaves[c.chain] {
			all = append(all, c.closer)
		}
	}
	return all
}
