package listener

import (
	"errors"
	"os"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// secure puts what the chain's transport socket makes of it in place of the stream. It
// waits for the client, so an internal connection is accepted before, and the chain's
// filters see nothing of a connection whose handshake fails.
func (l *Listener) secure(c *conn, chain *chain) error {
	if chain.transport == nil {
		return nil
	}
	c.Accept()
	raw := c.Stream
	if !c.Conn.Own(handshake{raw}) {
		return l.insecure(c, errClosing)
	}
	var deadline time.Time
	if t := chain.plan.ConnectTimeout; t > 0 {
		deadline = time.Now().Add(t)
	}
	s, err := chain.transport.Wrap(raw, &c.Info, deadline)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.stats.transportTimeout.Add(1)
			x := c.Info.More()
			x.DownReason, x.Termination = "transport_socket_timeout", "transport socket timeout was reached"
		}
		return l.insecure(c, err)
	}
	l.mu.Lock()
	c.Stream = s
	l.mu.Unlock()
	return nil
}

// insecure ends a connection whose handshake has failed.
func (l *Listener) insecure(c *conn, err error) error {
	if why := l.closingReason(); why != "" && c.Info.Rest().DownReason == "" {
		c.Info.More().DownReason = why
	}
	c.End()
	c.Stream.Close()
	return err
}

func (l *Listener) closingReason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closing
}

// A handshake is what a listener ends while it is under way.
type handshake struct{ stream filter.Stream }

// CloseLocal implements filter.Closer.
func (h handshake) CloseLocal(string) { h.stream.Close() }

// wire is the stream that arrived, below whatever the transport socket has made of it.
// listener.mu is held.
func (c *conn) wire() filter.Stream {
	if s, ok := c.Stream.(filter.Layer); ok {
		return s.Below()
	}
	return c.Stream
}
