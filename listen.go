package ginnel

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/ginnel/ginnel/filter"
)

// backlog is the number of connections that may wait for Accept; more are refused.
const backlog = 128

// Listen makes a name of the in-process network that the program serves itself. The
// network must be "internal". Each connection is a [Conn]. Closing the listener ends
// the name's reachability and its connections.
func (p *Proxy) Listen(network, name string) (net.Listener, error) {
	if network != "internal" {
		return nil, fmt.Errorf("ginnel: listen %s: only the network \"internal\" is served", network)
	}
	l := &listener{name: name, queue: make(chan *Conn, backlog), closed: make(chan struct{})}
	remove, err := p.HandleConn(name, l)
	if err != nil {
		return nil, err
	}
	l.remove = remove
	return l, nil
}

type listener struct {
	name   string
	queue  chan *Conn
	closed chan struct{}
	once   sync.Once
	remove func()
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "internal", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.remove()
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return Addr{Listener: l.name} }

var errBacklog = errors.New("too many connections wait to be accepted")

// ServeConn implements filter.ConnHandler: the connection waits for Accept and lasts
// until the program closes it, or the proxy does.
func (l *listener) ServeConn(c *filter.Conn) error {
	return filter.ServeBytes(c, func(s *filter.Counted) error {
		gc := &Conn{Counted: s, info: &c.Info, closed: make(chan struct{})}
		select {
		case l.queue <- gc:
		default:
			return errBacklog
		}
		c.Accept()
		select {
		case <-gc.closed:
		case <-s.Done(): // the program may never have accepted it, or never close it
		}
		return nil
	})
}

// A Conn is a connection that arrived over the in-process network.
type Conn struct {
	*filter.Counted
	info   *filter.Info
	once   sync.Once
	closed chan struct{}
}

// Close ends the connection after what was written has been delivered.
func (c *Conn) Close() error {
	err := c.Counted.Close()
	c.once.Do(func() { close(c.closed) })
	return err
}

// Reset aborts the connection.
func (c *Conn) Reset() error {
	err := c.Counted.Reset()
	c.once.Do(func() { close(c.closed) })
	return err
}

// Info returns what is known about the connection: addresses, the metadata and
// filter state that came with it, the path of hops. It must not be changed, nor used
// after Close.
func (c *Conn) Info() *filter.Info { return c.info }

// ConnInfo returns what is known about a connection accepted from [Proxy.Listen].
func ConnInfo(c net.Conn) (*filter.Info, bool) {
	in, ok := c.(*Conn)
	if !ok {
		return nil, false
	}
	return in.info, true
}
