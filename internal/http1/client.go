package http1

import (
	"sync"
	"time"

	"github.com/ginnel/ginnel/httpmsg"
)

// A Client is the client's codec on one connection: one exchange at a time, and another
// one only if nothing of those before can be taken for a part of it.
type Client struct {
	link
	o     *ClientOptions
	owner httpmsg.ClientOwner
	ex    exchange
	stop  func() // ends the watch for hang-ups; nil: there is none

	looked bool // for the exchange at hand: nothing had come that nobody asked for
	born   time.Time

	mu       sync.Mutex
	rested   time.Duration // when the last exchange ended, since born; 0: there was none
	busy     bool
	draining bool
	over     bool
	hungUp   bool   // the server has ended its direction, or more
	told     events // what the owner shall hear, or has heard of what is told once
	pending  events
	telling  bool
	last     *httpmsg.ResetError
}

var _ httpmsg.Client = (*Client)(nil)

// meantime is how long a connection may rest without being looked at again: less than a
// stray answer takes, more than the next request of a busy pool.
const meantime = time.Millisecond

// events are calls to the owner.
type events uint8

const (
	changed events = 1 << iota
	drained
	ended
)

// NewClient returns a codec that owns conn. o is not changed any more; nil: all zero.
func NewClient(conn Conn, o *ClientOptions, owner httpmsg.ClientOwner) *Client {
	if o == nil {
		o = &ClientOptions{}
	}
	c := &Client{o: o, owner: owner, born: time.Now()}
	c.link.init(conn, o.BufferBytes)
	c.ex.init(c)
	if o.Hangups != nil {
		stop := o.Hangups.Watch(conn, c.hangup)
		c.mu.Lock()
		c.stop = stop
		over := c.over
		c.mu.Unlock()
		if over {
			stop()
		}
	}
	return c
}

// Protocol implements httpmsg.Client.
func (c *Client) Protocol() httpmsg.Protocol { return httpmsg.HTTP11 }

// Bytes implements httpmsg.Client.
func (c *Client) Bytes() (received, sent uint64) { return c.in.total.Load(), c.out.total.Load() }

// Room implements httpmsg.Client.
func (c *Client) Room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || c.draining || c.over {
		return 0
	}
	return 1
}

// watched reports whether an end of the idle connection is noticed without looking, so
// that it is enough to look for bytes that nobody asked for when the request is sent.
func (c *Client) watched() bool { return c.o.Hangups != nil && c.in.sock != nil }

// Open implements httpmsg.Client. It looks whether the server has closed the idle
// connection, or has sent what nobody asked for.
func (c *Client) Open() httpmsg.Exchange {
	c.mu.Lock()
	if c.busy || c.draining || c.over {
		c.mu.Unlock()
		return nil
	}
	c.busy = true
	// Hang-ups are told, stray bytes are not: what has come in the meantime is looked for,
	// unless there was hardly a meantime: then ask looks, which costs the request.
	look := !c.watched() || c.rested != 0 && time.Since(c.born)-c.rested > meantime
	c.mu.Unlock()
	if c.looked = look && c.in.total.Load() > 0; c.looked && c.in.stirs() {
		go c.end(&httpmsg.ResetError{Reason: httpmsg.ConnectionTermination})
		return nil
	}
	c.ex.begin()
	return &c.ex
}

// Drain implements httpmsg.Client.
func (c *Client) Drain() {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	if c.takeIdle() {
		go c.end(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
}

// Close implements httpmsg.Client.
func (c *Client) Close(why *httpmsg.ResetError) {
	c.abort(why, c.ex.tunnel.Load())
	if c.takeIdle() {
		go c.end(why)
	} else {
		go c.tell(drained|ended, why)
	}
}

// takeIdle takes the connection if nothing is under way on it; nobody else can then.
func (c *Client) takeIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || c.over {
		return false
	}
	c.busy = true
	return true
}

// hangup is called when the server has ended its direction, and when it has ended both.
// An exchange that is under way may have all that it reads already: release looks then.
func (c *Client) hangup() {
	c.mu.Lock()
	c.hungUp = true
	c.mu.Unlock()
	if c.takeIdle() {
		go c.end(&httpmsg.ResetError{Reason: httpmsg.ConnectionTermination})
		return
	}
	c.ex.gone()
}

// lost closes the connection for an exchange that finds it over. The exchange still has
// to be released.
func (c *Client) lost(why *httpmsg.ResetError) {
	c.close()
	c.tell(drained|ended, why)
}

// release ends the exchange at hand. reuse: the connection is as if it were new.
func (c *Client) release(reuse bool, why *httpmsg.ResetError) {
	if reuse {
		c.in.rest()
	}
	c.mu.Lock()
	gone := reuse && c.hungUp
	reuse = reuse && !gone && !c.draining && !c.over
	if reuse {
		c.busy, c.rested = false, time.Since(c.born)
		c.tellLocked(changed, nil)
		return
	}
	c.mu.Unlock()
	switch {
	case gone:
		why = &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}
	case why == nil:
		why = &httpmsg.ResetError{Reason: httpmsg.LocalReset}
	}
	c.end(why)
}

// end closes the connection; whoever calls it has taken the exchange, or ended it.
func (c *Client) end(why *httpmsg.ResetError) {
	c.close()
	c.in.close()
	c.out.close()
	c.mu.Lock()
	c.over = true
	stop := c.stop
	c.stop = nil
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	c.tell(drained|ended, why)
}

// tell calls the owner. Calls that come while another one is under way are made by its
// goroutine, so that they do not overlap, and no lock is held.
func (c *Client) tell(e events, why *httpmsg.ResetError) {
	c.mu.Lock()
	c.tellLocked(e, why)
}

// tellLocked is tell for who holds mu, which it gives back.
func (c *Client) tellLocked(e events, why *httpmsg.ResetError) {
	once := e &^ changed
	c.pending |= e&changed | once&^c.told
	c.told |= once
	if e&ended != 0 && c.last == nil {
		c.last = why
	}
	if c.telling {
		c.mu.Unlock()
		return
	}
	c.telling = true
	for c.pending != 0 {
		p := c.pending
		c.pending = 0
		why := c.last
		c.mu.Unlock()
		if p&drained != 0 {
			c.owner.Draining()
		}
		if p&changed != 0 {
			c.owner.Changed()
		}
		if p&ended != 0 {
			c.owner.Closed(why)
		}
		c.mu.Lock()
	}
	c.telling = false
	c.mu.Unlock()
}
