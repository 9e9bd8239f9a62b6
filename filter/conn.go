package filter

import (
	"net"
	"sync"
	"time"
)

// A Stream is the bytes of a connection: a socket, or one end of an in-process
// pipe. It has three distinct ends: CloseWrite ends one direction, Close ends both
// after what was written has been delivered, Reset aborts at once.
type Stream interface {
	net.Conn
	CloseWrite() error
	Reset() error
}

// A Farewell is a Stream that tells its peer why it was closed, as connections within the
// process can: a hop that accepted, and then could not be connected, tells the dialler.
type Farewell interface {
	// CloseFor is Close with a reason; nil: none.
	CloseFor(why error) error
	// Why returns what the peer has closed the connection for; nil: it has not, or has
	// not said.
	Why() error
}

// CloseFor closes s, and tells its peer why if there is a way to.
func CloseFor(s Stream, why error) error {
	if f, ok := s.(Farewell); ok {
		return f.CloseFor(why)
	}
	return s.Close()
}

// Why returns what the peer of s has closed the connection for; nil: it is not known.
func Why(s Stream) error {
	if f, ok := s.(Farewell); ok {
		return f.Why()
	}
	return nil
}

// A Conn is a connection that a listener accepted, on its way through a filter
// chain.
type Conn struct {
	Stream Stream // owned by who serves the Conn
	Info   Info
	// Outer is the hop that handed Stream over; nil when the Stream is this
	// connection's own. With an Outer the Stream is only borrowed until Accept.
	Outer Outer

	host ConnHost
}

// A connState is how far a Conn has come. It stands in Info: a byte behind an Info
// costs eight.
type connState uint8

const (
	accepted connState = 1 << iota
	ended
)

// A ConnHost is the listener behind a Conn.
type ConnHost interface {
	Accepted(*Conn)
	// Blocks may be called again and again; see Conn.Blocks.
	Blocks(*Conn)
	Ended(*Conn)
	// Own names what ends the connection when the listener must (removal, shutdown).
	// It reports false when the listener wants the connection ended right now.
	Own(*Conn, Closer) bool
	// Closing returns why the listener wants its connections ended; "": it does not.
	Closing(*Conn) string
	// DrainClose is asked of Conn.DrainClose.
	DrainClose(*Conn) bool
	// Replace puts s, which lies upon the connection's stream, in place of that.
	Replace(c *Conn, s Stream)
}

// A Closer ends what serves a connection, for a local reason.
type Closer interface{ CloseLocal(reason string) }

// A Drainer is a Closer of a connection that can end in order, as one of HTTP between
// requests. Drain asks for that, of who has not asked Conn.DrainClose in time, to begin at
// some moment within a time: not all at once, for each client comes back by another
// connection. It does not block, and may be called several times, already from within Own.
type Drainer interface {
	Closer
	Drain(within time.Duration)
}

// A DrainWatcher is a Closer that is told before Conn.DrainClose begins to say yes. It does
// not block.
type DrainWatcher interface {
	Closer
	DrainBegins()
}

// Init prepares c for a filter chain; for listeners.
func (c *Conn) Init(h ConnHost) { c.host = h }

// Accept tells the dialler of an internal connection that it is connected. Who
// serves a connection calls it before blocking for the first time; to end before
// that is a refusal, which the dialler sees as a failed connect. Further calls do
// nothing. A socket is connected anyway, but see Blocks.
func (c *Conn) Accept() {
	c.Blocks()
	c.Connected()
}

// Connected is Accept where nothing is going to block any more.
func (c *Conn) Connected() {
	if !c.Accepted() {
		c.Info.state |= accepted
		c.host.Accepted(c)
	}
}

// Blocks tells that this goroutine is about to wait, as Accept does, but leaves it
// open whether the connection is accepted. Connections of passive chains are set up
// by the event loop that accepted them: it goes on in another goroutine then.
func (c *Conn) Blocks() { c.host.Blocks(c) }

// Accepted reports whether Accept was called.
func (c *Conn) Accepted() bool { return c.Info.state&accepted != 0 }

// End settles the connection: its listener writes logs and statistics. How
// it came to its close must be in Info. The Stream is closed by whoever owns it. Further
// calls do nothing.
func (c *Conn) End() {
	if c.Info.state&ended == 0 {
		c.Info.state |= ended
		if f := c.Info.Rest().onEnd; f != nil {
			f()
		}
		c.host.Ended(c)
	}
}

// DrainClose reports whether the connection is to end now, in order, for what serves it is on
// its way out: a removed listener or filter chain, a proxy that drains. Who can end a
// connection in order asks whenever it could, as with each response of HTTP: so they do not
// all end at the same time. It is asked once the connection has a filter chain.
func (c *Conn) DrainClose() bool { return c.host.DrainClose(c) }

// OnEnd has f called when the connection ends, before its listener settles it. The last
// one is called first. f must not block.
func (c *Conn) OnEnd(f func()) {
	x := c.Info.More()
	if after := x.onEnd; after != nil {
		x.onEnd = func() { f(); after() }
		return
	}
	x.onEnd = f
}

// Refuse ends a connection that a filter does not pass on, without waiting for anything:
// for a dialler within the process it is a refusal. The text of why is the local close
// reason. It returns why.
func (c *Conn) Refuse(why error) error {
	c.Info.More().DownReason = why.Error()
	if c.Outer == nil {
		CloseFor(c.Stream, why)
	}
	c.End()
	return why
}

// Own lets the listener end the connection through x; see ConnHost.Own.
func (c *Conn) Own(x Closer) bool { return c.host.Own(c, x) }

// Closing returns why the listener wants the connection ended; "": it does not.
func (c *Conn) Closing() string { return c.host.Closing(c) }

// OnData registers a function that runs once, before the first downstream bytes,
// or their end, pass the terminal filter. An error closes the connection without
// passing anything; its text is the local close reason. f must not block.
func (c *Conn) OnData(f func(*Conn) error) {
	x := c.Info.More()
	before := x.onData
	if before == nil {
		x.onData = f
		return
	}
	x.onData = func(c *Conn) error {
		if err := before(c); err != nil {
			return err
		}
		return f(c)
	}
}

// FirstData runs and forgets the functions of OnData, in their order.
func (c *Conn) FirstData() error {
	if !c.AwaitsData() {
		return nil
	}
	if l := c.guard(); l != nil {
		l.Lock()
		defer l.Unlock()
	}
	f := c.Info.Extra.onData
	c.Info.Extra.onData = nil
	return f(c)
}

// Guard names the lock that who serves the connection holds while it reads Info, as for
// periodic entries: functions that wait for the first bytes run under it. It is for
// connections of which AwaitsData says that there are such.
func (c *Conn) Guard(l sync.Locker) { c.Info.More().guard = l }

// guard returns the lock of Guard; nil: there is none.
func (c *Conn) guard() sync.Locker { return c.Info.Rest().guard }

// AwaitsData reports whether functions of OnData have not run yet.
func (c *Conn) AwaitsData() bool { return c.Info.Rest().onData != nil }

// A ConnHandler serves connections.
type ConnHandler interface {
	// ServeConn takes c over: it calls c.Own, so that the listener can end the
	// connection, and c.Accept before it first waits. It, or what it passes c on to,
	// calls c.End exactly once and closes c.Stream, but for a borrowed stream that
	// it refuses; this may happen after ServeConn has returned, so the caller does
	// not touch c again. An error, or a return without c.Accept, refuses c.
	ServeConn(c *Conn) error
}

// A Network filter wraps the handler that follows it in the chain. Each is built
// once for a filter chain and serves all its connections concurrently.
type Network interface {
	WrapConn(next ConnHandler) ConnHandler
}

// A Terminal filter ends a chain.
type Terminal interface{ ConnHandler }

// A Passive handler or filter neither reads nor writes the bytes itself: it only
// decides, and leaves them to a pump. A chain of passive filters can take over the
// stream of its dialler.
type Passive interface{ Passive() bool }

// An Outer is a hop as the pump sees it: an observer of the bytes between two ends
// that belong to several hops. Its methods never block.
type Outer interface {
	// Outer returns the next hop outwards; nil at the outermost.
	Outer() Outer
	// Limits are read when the pump starts.
	Limits() Limits
	// Serves tells who moves the bytes from now on, before the first one moves: the
	// pump, and before it whoever is still connecting.
	Serves(Pump)
	// Moved counts bytes that passed the hop since the last call: up towards the
	// host, down towards the client. Calls do not overlap.
	Moved(up, down uint64)
	// Flow tells that reading from one side paused or resumed because the other
	// side was full.
	Flow(from Direction, paused bool)
	// Ended is called exactly once, inner to outer, after the last Moved.
	Ended(Ending)
}

// A Direction names a side by who sends.
type Direction uint8

// The two directions.
const (
	FromDownstream Direction = iota
	FromUpstream
)

// Limits bound a pumped connection.
type Limits struct {
	Idle        time.Duration // without bytes in either direction; 0: none
	IdleSince   time.Time     // the idle time before the pump counts from here; zero: from its start
	Deadline    time.Time     // maximum duration; zero: none
	BufferBytes int           // most bytes held for one direction; 0: the pump's own choice
	// How long one side may be full, without a break, so that reading from the other
	// one is paused: Envoy's per_connection_buffer_high_watermark_timeout of the
	// listener and of the cluster. 0: as long as it likes.
	DownstreamHighWatermark, UpstreamHighWatermark time.Duration
}

// An Ending says how a pumped connection ended, as seen from one hop.
type Ending struct {
	Cause Cause
	// Reason is set with LocalClose.
	Reason string
	// Why, with UpstreamClosed, is the error of a hop further in that had accepted and
	// then could not be connected; with LocalClose it is the hop's own. nil: none.
	Why error
}

// A Cause is why a pumped connection ended.
type Cause uint8

// The causes. DownstreamClosed and UpstreamClosed are orderly: both sides had
// ended, or that side was gone as a whole.
const (
	DownstreamClosed Cause = iota + 1
	UpstreamClosed
	DownstreamReset
	UpstreamReset
	IdleTimeout
	DurationReached
	LocalClose
	DownstreamHighWatermarkReached // downstream was full for too long; see Limits
	UpstreamHighWatermarkReached
)

// HighWatermarkReason is the local close reason of a side that was full for too long.
const HighWatermarkReason = "buffer_high_watermark_timeout_reached"
