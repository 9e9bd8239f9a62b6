package upstream

import (
	"io"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// securing returns what a transport makes of connections; nil: nothing. There is one for all
// hosts, for sessions and statistics are the cluster's.
func (c *Cluster) securing(t *plan.Transport) filter.UpstreamTransport {
	f, ok := t.Socket.(extension.UpstreamFactory)
	if !ok {
		return nil
	}
	if u, ok := c.secures[t]; ok {
		return u
	}
	if c.secures == nil {
		c.secures = make(map[*plan.Transport]filter.UpstreamTransport)
	}
	u := f.NewUpstream(&extension.UpstreamEnv{Stats: c.stats.scope, Secrets: c.set.opts.Secrets})
	c.secures[t] = u
	return u
}

// insecure closes what securing has made. The caller holds changing.
func (c *Cluster) insecure() {
	for _, u := range c.secures {
		if x, ok := u.(io.Closer); ok {
			x.Close()
		}
	}
}

// wrap puts the transport between a stream that was dialled, which it closes when that
// fails, and those who use it. Who waits is told so before.
func (a *dialling) wrap(s filter.Stream, waiting func() <-chan struct{}) (filter.Stream, error) {
	if a.host.secure == nil || s == nil {
		return s, nil
	}
	o := filter.TransportOptions{Host: &a.host.Host}
	if a.asks != nil {
		o = *a.asks
		o.Host = &a.host.Host
	}
	t, err := a.host.secure.Wrap(s, &o, a.deadline, waiting())
	if err != nil {
		s.Close()
		return nil, &handshakeError{err}
	}
	return t, nil
}

// A handshakeError is a transport that could not be put between: the host was reached.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// tlsOf returns what is known of a connection's TLS; nil: it has none, or was handed over.
func tlsOf(s filter.Stream) *filter.TLS {
	if s == nil {
		return nil
	}
	return filter.TLSOf(s)
}
