package upstream

import (
	"net"
	"sync"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/lb"
)

// Connect implements filter.Cluster. Its errors are those of package filter.
func (c *Cluster) Connect(r *filter.ConnectRequest) error {
	r.Info.Up.ClusterInfo = &c.info
	if c.stats.breakers[0].full() {
		c.stats.overflow.Add(1)
		return filter.ErrOverflow
	}
	if err := c.resolveConnection(r); err != nil {
		return err
	}
	h := c.named(r.Info, int(r.Info.UpAttempts))
	if h == nil {
		h = c.pick(r.Info, lb.Request{Hash: r.Hash, Match: r.Match})
	}
	if h == nil {
		return filter.ErrNoHost
	}
	c.tell(r.Info, h)
	a := attempts.Get().(*attempt)
	*a = attempt{r: r, dialling: dialling{
		host: h, asker: r.Hop, info: r.Info, route: r.Route, shared: r.Info.State.Shared(),
		stream: r.Stream, outer: r.Outer, dialler: a, source: r.Info.Rest().Source,
	}}
	a.note()
	if h.secure != nil {
		a.asks = h.asksOf(r.Info)
	}
	if err := a.reserve(); err != nil {
		return err
	}
	stream, to, err := a.dialAll()
	switch {
	case err != nil:
		return a.failed(err, to)
	case stream != nil:
		a.connected(stream, to)
		if a.dial == nil {
			a.free()
		}
	case a.dial == &a.own:
		// It was handed over: Accepted has done the rest, and the request may be
		// over. Only now is it certain that nobody holds the dial any more, unless
		// an address before this one refused it.
		a.free()
	}
	return nil
}

func (a *attempt) free() {
	*a = attempt{}
	attempts.Put(a)
}

// attempts saves each connection, and each hop of a handed-over one, the making of
// one. Who dialled a pipe does without: its server may still look at the dial.
var attempts = sync.Pool{New: func() any { return new(attempt) }}

// An attempt is one Connect that has a host.
type attempt struct {
	dialling
	r *filter.ConnectRequest // not to be touched after a hand-over
}

// note writes down that the host is tried.
func (a *attempt) note() {
	tries(a.r.Info, a.host)
	set := a.host.cluster.set
	a.begun = set.now()
	a.r.Info.Up.Begun = a.begun - a.r.Info.Start.Sub(set.epoch)
}

// tries writes down that a host is tried.
func tries(i *filter.Info, h *host) {
	up := &i.Up
	i.UpAttempts++
	if tried := i.Rest().UpTried; tried != nil || up.Host != nil {
		if tried == nil {
			tried = []*filter.Host{up.Host}
		}
		i.More().UpTried = append(tried, &h.Host)
	}
	up.Host, up.Local, up.Remote, up.ID = &h.Host, nil, nil, 0
}

// disown logs the host as tried, but not as the upstream host (Envoy, when nothing
// came back from it).
func disown(i *filter.Info, h *host) {
	if x := i.More(); x.UpTried == nil {
		x.UpTried = []*filter.Host{&h.Host}
	}
	i.Up.Host = nil
}

// reserve takes what the attempt needs of the circuit breakers.
func (a *attempt) reserve() error {
	s := a.host.cluster.stats
	b := s.breakers[0]
	if err := b.queue(); err != nil {
		s.pendingOverflow.Add(1)
		disown(a.r.Info, a.host)
		a.r.Info.More().UpFailure = ""
		return err
	}
	s.pendingTotal.Add(1)
	a.pending(1)
	if err := a.awaitSlot(); err != nil {
		a.pending(-1)
		s.canceled.Add(1)
		b.unqueue(false)
		disown(a.r.Info, a.host)
		return err
	}
	if err := b.begin(); err != nil {
		s.overflow.Add(1)
		a.pending(-1)
		b.unqueue(false)
		a.host.slots.release()
		return err
	}
	s.opened(a.host)
	return nil
}

// pending moves the numbers of requests that wait for a connection.
func (a *attempt) pending(by int64) {
	a.host.cluster.stats.pendingActive.Add(by)
	a.host.requests.pending.Add(uint64(by))
}

// awaitSlot waits until the host may have another connection.
func (a *attempt) awaitSlot() error {
	if a.host.slots.take() {
		return nil
	}
	a.host.cluster.stats.overflow.Add(1) // Envoy counts it, and lets the request wait
	err := a.host.slots.await(a.waiting(), a.asker.Deadline())
	a.begun = a.host.cluster.set.now()
	return err
}

// Accepted is called by the in-process network. With a pipe there is nothing to do
// yet: its end comes back from the dial.
func (a *attempt) Accepted() {
	if a.dial.Outer != nil {
		a.connected(nil, a.to)
	}
}

// connected settles the attempt and gives the connection to the hop. stream is nil
// when it was handed over.
func (a *attempt) connected(stream filter.Stream, to net.Addr) {
	c, h, r := a.host.cluster, a.host, a.r
	s, now := c.stats, c.set.now()
	s.connectMillis.Record(uint64((now - a.begun).Milliseconds()))
	a.pending(-1)
	if h.outlier != nil {
		h.outlier.Connected(true)
	}
	s.requests.Add(1)
	s.requestsActive.Add(1)
	s.breakers[0].connected()
	h.requests.total.Add(1)
	h.Requests.Add(1)

	up := &r.Info.Up
	if up.Remote = to; stream == nil || r.Info.Shown {
		up.Local = localAddr(stream)
	}
	if t := tlsOf(stream); t != nil {
		r.Info.More().UpTLS = t
	}
	up.ID = c.set.ids.Add(1)
	up.Ready = up.Begun + now - a.begun
	if a.shared != nil {
		r.Info.More().UpState = a.shared
	}
	r.Hop.Connected(&conn{stream: stream, host: h, begun: a.begun})
}

// localAddr is this side's address; nil for an unnamed Unix socket, which Envoy
// prints as -.
func localAddr(s filter.Stream) net.Addr {
	if s == nil {
		return filter.InternalClient
	}
	l := s.LocalAddr()
	if u, ok := l.(filter.UnixAddr); ok && (u.Path == "" || u.Path == "@") {
		return nil
	}
	return l
}

// failed settles the attempt; to is the address tried last.
func (a *attempt) failed(err error, to net.Addr) error {
	h := a.host
	o := judge(err, to, h.cluster.sockets[0].Source, a.expires)
	s := h.cluster.stats
	a.pending(-1)
	s.breakers[0].unqueue(true)
	s.ended(h, o.local, h.cluster.set.now()-a.begun)
	if o.canceled {
		s.canceled.Add(1)
		disown(a.r.Info, a.host)
		return o.err
	}
	s.failed(h, o)
	h.failed(o.err)
	s.ejected.Add(1)
	if o.reason != "" || a.r.Info.Extra != nil {
		a.r.Info.More().UpFailure = o.reason
	}
	return o.err
}

// failed counts a connection that could not be made.
func (s *stats) failed(h *host, o outcome) {
	s.connectFail.Add(1)
	h.ConnectFail.Add(1)
	if o.timeout {
		s.connectTimeout.Add(1)
	}
	if o.bind {
		s.bind.Add(1)
	}
}
