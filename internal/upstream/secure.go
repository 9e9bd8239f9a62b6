package upstream

import (
	"io"
	"sync"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A via is what connections to a host go through.
type via struct {
	transport *plan.Transport
	pass      passthrough
	secure    filter.UpstreamTransport  // nil: the bytes stay as they are
	preface   func(*filter.Info) string // what connections begin with; nil: nothing
}

// through returns what connections to an endpoint by a transport go through, and counts that
// it was chosen.
func (c *Cluster) through(t *plan.Transport, e *plan.Endpoint) via {
	c.stats.matched(t.Name)
	if t.Socket == nil {
		return via{transport: t}
	}
	v := via{transport: t, pass: newPassthrough(t.Socket, c.plan.Metadata, e.Metadata), secure: c.securing(t)}
	if p, ok := v.secure.(filter.Prefacer); ok {
		v.preface = p.Preface(e.Metadata)
	}
	return v
}

// securing returns what a transport makes of connections; nil: nothing. There is one for all
// hosts, for sessions and statistics are the cluster's.
func (c *Cluster) securing(t *plan.Transport) filter.UpstreamTransport {
	f, ok := t.Socket.(extension.UpstreamFactory)
	if !ok {
		return nil
	}
	s := &c.secures
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.made[t]; ok {
		return u
	}
	if s.made == nil {
		s.made = make(map[*plan.Transport]filter.UpstreamTransport)
	}
	u := f.NewUpstream(&extension.UpstreamEnv{Stats: c.stats.scope, Secrets: c.set.opts.Secrets, LogFiles: c.set.opts.LogFiles})
	s.made[t] = u
	if s.closed {
		closeTransport(u)
	}
	return u
}

// secures is what securing has made. It has a lock of its own, for hosts that are made as
// they are asked for are made without the cluster's, even after its end.
type secures struct {
	mu     sync.Mutex
	made   map[*plan.Transport]filter.UpstreamTransport
	closed bool
}

func (s *secures) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, u := range s.made {
		closeTransport(u)
	}
}

func closeTransport(u filter.UpstreamTransport) {
	if x, ok := u.(io.Closer); ok {
		x.Close()
	}
}

// wrap puts the transport between a stream that was dialled, which it closes when that
// fails, and those who use it. Who waits is told so before.
func (a *dialling) wrap(s filter.Stream, waiting func() <-chan struct{}) (filter.Stream, error) {
	if a.via.secure == nil || s == nil {
		return s, nil
	}
	o := filter.TransportOptions{Host: &a.host.Host}
	if a.asks != nil {
		o = *a.asks
		o.Host = &a.host.Host
	}
	t, err := a.via.secure.Wrap(s, &o, a.deadline, waiting())
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
