package listener

import (
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/netconn"
)

// A conn is one connection of a listener, from accept to its end.
type conn struct {
	filter.Conn
	dial *inproc.Dial  // of an internal connection until it is accepted
	turn *netconn.Turn // of the loop whose goroutine sets the connection up, until it is connected

	// Guarded by the listener's mu.
	chain      *chain // the listener's none until one is chosen; always of the same listener
	closer     filter.Closer
	prev, next *conn
}

var lastID atomic.Uint64

// NextID returns the id of another connection, unique in the process.
func NextID() uint64 { return lastID.Add(1) }

func (l *Listener) newConn(s filter.Stream) *conn {
	c := &conn{chain: &l.none}
	c.Init(c)
	c.Stream = s
	c.Info.ID = NextID()
	c.Info.Worker = uint16(c.Info.ID % uint64(len(l.stats.workers)))
	c.Info.Listener = &l.plan.Info
	c.Info.Start = time.Now()
	c.Info.Shown = len(l.logs) > 0
	return c
}

// listener is for who sets the connection up or serves it: the chain changes once.
func (c *conn) listener() *Listener { return c.chain.listener }

// closing is why the connection is to end; "": it is not. The listener's mu is held.
func (c *conn) closing() string {
	if why := c.chain.listener.closing; why != "" {
		return why
	}
	return c.chain.closing
}

// CloseLocal implements filter.Closer until somebody owns the connection: a
// borrowed stream is not ours to close, its dialler is ended itself.
func (c *conn) CloseLocal(string) {
	if c.Outer == nil {
		c.Stream.Close()
	}
}

// fromSocket returns the connection of an accepted socket.
func (l *Listener) fromSocket(s filter.Stream) *conn {
	c := l.newConn(s)
	c.Info.ChainID = chainBase + c.Info.ID
	c.Info.Local, c.Info.Remote = s.LocalAddr(), s.RemoteAddr()
	if u, ok := c.Info.Remote.(filter.UnixAddr); ok && (u.Path == "" || u.Path == "@") {
		c.Info.Remote = c.Info.Local // a peer without a name goes by ours (Envoy)
	}
	return c
}

// fromDial returns the connection of an internal dial, with what came along: the
// state is there before any listener filter looks.
func (l *Listener) fromDial(d *inproc.Dial) *conn {
	c := l.newConn(d.Stream)
	c.dial, c.Outer = d, d.Outer
	i := &c.Info
	i.Local, i.Remote = d.Local, filter.InternalClient
	if i.Local == nil {
		i.Local = d.Addr
	}
	if from := d.From; from != nil {
		i.Parent, i.ChainID, i.Depth = from, from.ChainID, from.Depth+1
	} else {
		i.ChainID = chainBase + i.ID
	}
	i.MergeMetadata(d.Passthrough.Metadata)
	i.State.Import(d.Passthrough.State)
	return c
}

// Accepted implements filter.ConnHost.
func (c *conn) Accepted(*filter.Conn) {
	c.turn = nil
	if d := c.dial; d != nil {
		c.dial = nil
		d.Accept()
	}
}

// Blocks implements filter.ConnHost. What is handed over is set up in the goroutine of
// the hops outside of it.
func (c *conn) Blocks(*filter.Conn) {
	if c.turn != nil {
		c.turn.Leave()
		c.turn = nil
	} else if o, ok := c.Outer.(interface{ Blocks() }); ok {
		o.Blocks()
	}
}

// Own implements filter.ConnHost.
func (c *conn) Own(_ *filter.Conn, x filter.Closer) bool {
	l := c.listener()
	l.mu.Lock()
	c.closer = x
	closing, drains := c.closing() != "", l.drains
	l.mu.Unlock()
	if d, ok := x.(filter.Drainer); ok && drains && !closing {
		d.Drain(0)
	}
	return !closing
}

// DrainClose implements filter.ConnHost.
func (c *conn) DrainClose(*filter.Conn) bool {
	l := c.listener()
	return l.leaving.Decide() || c.chain.drain.Decide() || l.drainClose != nil && l.drainClose(&l.plan.Info)
}

// Closing implements filter.ConnHost.
func (c *conn) Closing(*filter.Conn) string {
	l := c.listener()
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.closing()
}

// Replace implements filter.ConnHost.
func (c *conn) Replace(_ *filter.Conn, s filter.Stream) {
	l := c.listener()
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Stream = s
}

// Ended implements filter.ConnHost.
func (c *conn) Ended(*filter.Conn) {
	l := c.listener()
	c.Info.Duration = time.Since(c.Info.Start)
	l.stats.ended(c)
	for _, log := range l.logs {
		log.Log(&c.Info, filter.NotSet)
	}
	l.leave(c)
}
