package listener

import (
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/drain"
)

// enter takes a connection among the open ones, from the moment it arrives until
// leave, so that it can be ended and waited for whatever it is just doing. It returns
// how many there are.
func (l *Listener) enter(c *conn) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.closer = c
	c.prev, c.next = &l.open, l.open.next
	c.prev.next, c.next.prev = c, c
	c.chain.open++
	if l.balance != nil {
		c.Info.Worker = l.balance.join()
	}
	l.tally(1)
	l.count++
	return l.count
}

// admit gives a connection its chain and counts it, unless the listener is closing.
func (l *Listener) admit(c *conn, chain *chain) error {
	l.mu.Lock()
	if chain.closing != "" && l.closing == "" {
		l.mu.Unlock()
		return errGone
	}
	c.chain.open--
	c.chain, c.Info.Chain = chain, &chain.plan.Info // under the lock for snapshot
	chain.open++
	closing := l.closing != ""
	l.mu.Unlock()
	l.stats.opened(c)
	if closing {
		return errClosing
	}
	return nil
}

// leave takes a connection from the open ones. A second call does nothing.
func (l *Listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.next == nil {
		return
	}
	c.prev.next, c.next.prev = c.next, c.prev
	c.prev, c.next, c.closer = nil, nil, nil
	if l.balance != nil {
		l.balance.leave(c.Info.Worker)
	}
	l.tally(-1)
	c.chain.open--
	if l.count--; l.count == 0 || c.chain.open == 0 && c.chain.drain.Begun() {
		l.empty.Broadcast()
	}
}

// Open returns the number of open connections.
func (l *Listener) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// An OpenConn is what can be told of a connection while it is open.
type OpenConn struct {
	ID, ChainID    uint64
	Path           []string
	Start          time.Time
	Piped          bool // an in-process connection that was not handed over
	Received, Sent uint64
	// BufferedIn waits in the pipe for the listener's side, BufferedOut for the
	// dialler's.
	BufferedIn, BufferedOut uint64
}

// Connections returns what is open, the newest first.
func (l *Listener) Connections() []OpenConn {
	var all []OpenConn
	for _, x := range l.snapshot() {
		all = append(all, x.describe())
	}
	return all
}

// An owned connection is one with what can end it.
type owned struct {
	*conn
	by       filter.Closer
	wire     filter.Stream
	internal bool
}

// snapshot returns the connections that have a chain, for calls without the lock.
func (l *Listener) snapshot() []owned {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []owned
	for c := l.open.next; c != &l.open; c = c.next {
		if c.Info.Chain != nil {
			all = append(all, owned{c, c.closer, c.wire(), l.plan.Internal})
		}
	}
	return all
}

// describe reads only what is fixed, or whose owner guards it.
func (c owned) describe() OpenConn {
	o := OpenConn{
		ID: c.Info.ID, ChainID: c.Info.ChainID, Path: c.Info.Path(), Start: c.Info.Start,
		Piped: c.internal && c.Outer == nil,
	}
	if x, ok := c.by.(interface {
		Bytes() (received, sent uint64)
	}); ok {
		o.Received, o.Sent = x.Bytes()
	}
	if p, ok := c.wire.(interface{ Buffered() (in, out int) }); ok && o.Piped {
		in, out := p.Buffered()
		o.BufferedIn, o.BufferedOut = uint64(in), uint64(out)
	}
	return o
}

// Wait returns when no connection is open.
func (l *Listener) Wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.count > 0 {
		l.empty.Wait()
	}
}

// Doom gives all open connections, and those to come, a reason to end. Those to come
// end at once, the others when CloseConns ends them, or another hop of their chain.
func (l *Listener) Doom(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = reason
}

// CloseConns ends all open connections, and those to come, for a reason. It does
// not wait.
func (l *Listener) CloseConns(reason string) {
	l.Doom(reason)
	for _, x := range l.closers() {
		x.CloseLocal(reason)
	}
}

// closers returns what ends the open connections. Who registers another one after
// Doom is turned away by Own, so none is missed.
func (l *Listener) closers() []filter.Closer {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []filter.Closer
	for c := l.open.next; c != &l.open; c = c.next {
		all = append(all, c.closer)
	}
	return all
}

// Leave begins the drain of a listener that is no more: what of its connections asks is told
// to end.
func (l *Listener) Leave(p drain.Policy) {
	l.DrainBegins()
	l.leaving.Begin(p)
}

// DrainBegins tells the connections that some of them are to end from now on.
func (l *Listener) DrainBegins() { drainBegins(l.closers()) }

func drainBegins(all []filter.Closer) {
	for _, x := range all {
		if w, ok := x.(filter.DrainWatcher); ok {
			w.DrainBegins()
		}
	}
}

// DrainAll asks open connections, and those to come, to end in order now.
func (l *Listener) DrainAll() {
	l.mu.Lock()
	l.drains = true
	l.mu.Unlock()
	l.Drain(0)
}

// Drain asks open connections to end in order: each begins to within a time.
func (l *Listener) Drain(within time.Duration) {
	for _, x := range l.closers() {
		if d, ok := x.(filter.Drainer); ok {
			d.Drain(within)
		}
	}
}
