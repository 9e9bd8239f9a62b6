package upstream

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A member is a connection of a pool, from the moment it is dialled until it is closed.
// It is the owner of its client. Fields are guarded by the pool's lock.
type member struct {
	pool   *pool
	links  [links]link
	cancel chan struct{} // closed: no connection is wanted any more

	// Fixed once it is connected.
	protocol      httpmsg.Protocol
	client        httpmsg.Client  // nil before
	stream        filter.Farewell // under it; nil: not within the process
	tls           *filter.TLS     // nil: there is none
	local, remote net.Addr
	id            uint64
	born, took    time.Duration // in the set's time; how long it took to connect

	expires time.Duration // when it is too old; 0: never
	idle    time.Duration // since when it has no request
	active  int           // requests
	served  uint64        // those that have ended, too

	canceled bool
	retired  bool // takes no request any more
	cut      bool // a request was under way when it ended, or was broken off
	byUs     bool // with closed: this side did
	told     bool // the server wants no more requests, or HTTP/1 is about to be closed
	ours     bool // it is this side that closes
	closed   bool

	received, sent uint64 // bytes that have been counted

	releasing atomic.Int32 // exchanges that are being released: who does looks for room itself
}

var (
	_ httpmsg.ClientOwner = (*member)(nil)
	_ asker               = (*member)(nil)
)

// An origin is what a connection takes from the request that it is made for.
type origin struct {
	info   *filter.Info // of the downstream connection, or a copy
	route  *corev3.Metadata
	shared []filter.Entry
	source *filter.Source
}

func newOrigin(o *order) *origin {
	c, i := o.connection(), o.r.Info
	if c == i || i.Metadata != nil { // the request's own will change, and be used again
		c = &filter.Info{
			ID: c.ID, ChainID: c.ChainID, Parent: c.Parent, Listener: c.Listener, Start: c.Start, Depth: c.Depth,
			Metadata: maps.Clone(i.Metadata),
		}
	}
	return &origin{c, o.r.Route, o.shared, i.Rest().Source}
}

// A call is a dialling for a pool.
type call struct{ dialling }

// Accepted implements inproc.Dialler: there is always a pipe.
func (*call) Accepted() {}

// Waiting implements asker.
func (m *member) Waiting() <-chan struct{} { return m.cancel }

// Deadline implements asker: who waits has limits of its own.
func (m *member) Deadline() time.Time { return time.Time{} }

// Blocks implements asker.
func (m *member) Blocks() {}

// connect makes the connection; it is the member's goroutine.
func (m *member) connect(o *origin) {
	p := m.pool
	c := &call{dialling{
		host: p.host, asker: m, info: o.info, route: o.route, shared: o.shared,
		begun: m.born, waited: true, cancel: m.cancel, source: o.source, asks: p.asks,
	}}
	c.dialler = c
	s, to, err := c.dialAll()
	if err != nil {
		p.refused(m, judge(err, to, p.host.cluster.sockets[0].Source, c.expires))
		return
	}
	m.protocol = p.spoken(s)
	client, err := p.host.cluster.set.opts.client(m, s)
	if err != nil {
		s.Close()
		p.refused(m, failed(err, err.Error(), true))
		return
	}
	if w, ok := s.(filter.Farewell); ok {
		m.stream = w
	}
	m.tls = filter.TLSOf(s)
	p.connected(m, client, localAddr(s), to)
}

// spoken is the version of a new connection.
func (p *pool) spoken(s filter.Stream) httpmsg.Protocol {
	if !p.negotiates() {
		return p.key.protocol
	}
	v := httpmsg.HTTP11
	if t := filter.TLSOf(s); t != nil && t.Protocol == offers[1] {
		v = httpmsg.HTTP2
	}
	p.counts(v)
	return v
}

// refused settles a connection that could not be made.
func (p *pool) refused(m *member, o outcome) {
	p.mu.Lock()
	defer p.unlock()
	stats := p.host.cluster.stats
	p.connecting--
	p.leave(m, o.local)
	if o.canceled {
		p.fail(result{err: filter.ErrCanceled})
	} else {
		stats.failed(p.host, o)
		p.fail(result{err: o.err, reason: o.reason})
	}
	p.tidy()
}

// leave settles the statistics of a connection that is no more.
func (p *pool) leave(m *member, local bool) {
	set, stats := p.host.cluster.set, p.host.cluster.stats
	m.closed = true
	p.ready.remove(m)
	p.births.remove(m)
	p.breaker.release(&p.breaker.connections)
	stats.ended(p.host, local, set.now()-m.born)
	set.live.wg.Done()
}

// terminated is the failure of a connection that ended as soon as it was made.
const terminated = "connection_termination"

// connected puts a connection to use.
func (p *pool) connected(m *member, client httpmsg.Client, local, remote net.Addr) {
	p.mu.Lock()
	defer p.unlock()
	set, now := p.host.cluster.set, p.host.cluster.set.now()
	p.connecting--
	m.client, m.local, m.remote, m.id = client, local, remote, set.ids.Add(1)
	m.took = now - m.born
	p.assume(m.protocol)
	p.host.cluster.stats.connectMillis.Record(uint64(m.took.Milliseconds()))
	if max := p.host.cluster.plan.HTTP.MaxDuration; max > 0 {
		jitter := p.host.cluster.plan.HTTP.MaxDurationJitter / 100
		m.expires = now + max + time.Duration(rand.Float64()*jitter*float64(max))
		p.wake(m.expires)
	}
	switch {
	case m.closed: // before anybody could use it: who waits may do better elsewhere
		p.fail(result{err: &filter.ConnectError{Reason: terminated}, reason: terminated})
		p.lost(m, nil)
		return
	case m.canceled:
		m.close()
	case !m.retired:
		p.ready.push(m)
	}
	p.serve()
	p.forget()
	m.rest()
}

// retire lets a connection end with its requests.
func (m *member) retire() {
	m.retired = true
	m.pool.ready.remove(m)
	if m.active == 0 {
		m.close()
	} else {
		m.client.Drain()
	}
}

// close ends a connection without requests now, or its making: that of one with requests
// may run functions of theirs, which the pool's lock must not be held for.
func (m *member) close() {
	if c := m.part(); c != nil {
		c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
}

// part gives a connection up, or its making. It returns what is to be closed; nil: nothing.
func (m *member) part() httpmsg.Client {
	m.pool.ready.remove(m)
	m.retired = true
	switch {
	case m.ours:
	case m.client != nil:
		m.ours = true
		return m.client
	case !m.canceled:
		m.canceled = true
		close(m.cancel)
	}
	return nil
}

// broken is told that a request was not finished. The connection counts as one that was
// closed with requests if it is over already or, of HTTP/1, will be for that reason.
func (m *member) broken() {
	switch {
	case m.cut:
	case m.closed:
		m.pool.host.cluster.stats.cutOff(m.byUs)
		m.cut = true
	default:
		m.cut = m.protocol != httpmsg.HTTP2
	}
}

// settle counts the bytes since it was last called.
func (m *member) settle() {
	stats := m.pool.host.cluster.stats
	received, sent := m.client.Bytes()
	stats.received.Add(received - m.received)
	stats.sent.Add(sent - m.sent)
	m.received, m.sent = received, sent
}

// rest is told when a request has ended, or none came yet: a connection without
// requests is kept for a time, if at all.
func (m *member) rest() {
	p := m.pool
	switch {
	case m.active > 0 || m.closed:
	case m.retired, p.draining:
		m.close()
	default:
		m.idle = p.host.cluster.set.now()
		if d := p.host.cluster.plan.HTTP.IdleTimeout; d > 0 {
			p.wake(m.idle + d)
		}
	}
}

// Changed implements httpmsg.ClientOwner.
func (m *member) Changed() {
	if m.releasing.Load() > 0 {
		return // Release looks after this
	}
	m.pool.mu.Lock()
	defer m.pool.unlock()
	m.refresh()
	m.pool.serve()
}

// refresh lets a connection take requests again that has room again.
func (m *member) refresh() {
	p := m.pool
	if m.client != nil && !m.retired && !m.closed && !p.ready.has(m) && m.client.Room() > 0 {
		p.ready.push(m)
	}
}

// Draining implements httpmsg.ClientOwner.
func (m *member) Draining() {
	p := m.pool
	p.mu.Lock()
	defer p.unlock()
	if m.retired || m.closed {
		return
	}
	two := m.protocol == httpmsg.HTTP2
	if m.told = m.releasing.Load() == 0; m.told && two { // else the exchange left it so
		p.host.cluster.stats.http.closeNotify.Add(1)
	}
	m.retired = true
	p.ready.remove(m)
	if m.client != nil && (m.active > 0 || two) {
		m.client.Drain()
		m.rest()
	} // else it is being closed, and Closed says so
	p.serve()
}

// Closed implements httpmsg.ClientOwner.
func (m *member) Closed(why *httpmsg.ResetError) {
	m.pool.mu.Lock()
	defer m.pool.unlock()
	if m.client == nil {
		m.closed = true // connected has not been told yet
		return
	}
	m.pool.lost(m, why)
}

// lost settles a connection that was closed.
func (p *pool) lost(m *member, why *httpmsg.ResetError) {
	stats := p.host.cluster.stats
	m.byUs = m.ours
	if why != nil {
		switch why.Reason {
		case httpmsg.ProtocolError:
			stats.http.protocolError.Add(1)
			m.byUs = !errors.Is(why.Err, io.ErrUnexpectedEOF) // the server's, in the middle of a message
		case httpmsg.LocalReset, httpmsg.LocalRefused, httpmsg.LocalConnectionFailure:
			m.byUs = true
		}
	}
	if m.told && m.releasing.Load() > 0 && m.protocol != httpmsg.HTTP2 {
		stats.http.closeNotify.Add(1) // the response that was the last one said so; else it just ended
	}
	stats.http.perConnection.Record(m.served)
	m.settle()
	p.leave(m, m.byUs)
	if m.cut {
		stats.cutOff(m.byUs)
	}
	if len(p.waiting) > 0 {
		p.grow()
	}
	p.tidy()
}
