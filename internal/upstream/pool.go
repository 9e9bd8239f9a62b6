package upstream

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

// errGone is the answer of a pool that has just been given up: there is, or will be,
// another one.
var errGone = errors.New("the pool is gone")

// A pool is the HTTP connections to a host that may serve each other's requests. It is
// there while it has connections or requests that wait for one.
//
// Its lock may be held while methods of clients are called, but not those of exchanges, nor
// Close while there are any: from within these a client may call back.
type pool struct {
	host       *host
	key        poolKey
	breaker    *breaker
	perMember  uint32
	preconnect float64
	asks       *filter.TransportOptions // of the transport; nil: nothing

	mu         sync.Mutex
	births     memberList // all members, the oldest first
	ready      memberList // those with room; the one used last is the last
	connecting int
	active     int       // requests
	waiting    []*waiter // in the order they came
	origin     *origin   // of the newest request that made a connection; nil: none is made
	draining   bool      // no connection is kept without a request
	dialled    bool      // it has had a connection
	gone       bool
	told       struct{ streams, provided int } // to the cluster's forecast
	assumed    int                             // requests at once on a connection of which nothing is known yet
	timer      *time.Timer                     // nil until first needed
	wakes      time.Duration
}

// A waiter is a request that waits for a connection.
type waiter struct{ result chan result } // takes one

// A result is what became of a waiter.
type result struct {
	stream *exchange
	err    error
	reason string // of the transport
}

func newPool(h *host, key poolKey, b *breaker) *pool {
	cfg := &h.cluster.plan.HTTP
	p := &pool{host: h, key: key, breaker: b, preconnect: max(cfg.PerHostPreconnect, 1)}
	if p.perMember = cfg.MaxRequests; key.unique {
		p.perMember, p.preconnect = 1, 1 // nobody else could use the connection, or one beside it
	}
	p.assume(key.protocol)
	p.births.link, p.ready.link = birthLink, readyLink
	return p
}

// assume sets what is expected of connections that are being made. Of one that negotiates
// it is HTTP/2 at first, so that all wait for the first answer.
func (p *pool) assume(v httpmsg.Protocol) {
	if p.assumed = 1; v != httpmsg.HTTP2 {
		return
	}
	p.assumed = int(p.host.cluster.plan.HTTP.HTTP2.MaxStreams)
	if p.assumed == 0 {
		p.assumed = defaultStreams
	}
	if p.perMember > 0 {
		p.assumed = min(p.assumed, int(p.perMember))
	}
}

// defaultStreams is max_concurrent_streams where nothing is configured.
const defaultStreams = 1024

// open returns a stream, on a connection that is there or when it is the turn of this
// request.
func (p *pool) open(o *order) (*exchange, error) {
	p.mu.Lock()
	if p.gone {
		p.unlock()
		return nil, errGone
	}
	s, err := p.take()
	if s != nil || err != nil {
		if s != nil && p.preconnect > 1 && p.short() {
			p.origin = newOrigin(o)
			p.grow()
		}
		p.tidy()
		p.unlock()
		return s, err
	}
	w, err := p.queue(o)
	p.tidy()
	p.unlock()
	if err != nil {
		disown(o.r.Info, p.host)
		return nil, err
	}
	return p.await(w, o)
}

// take begins an exchange on the connection used last. Neither a stream nor an error:
// none has room.
func (p *pool) take() (*exchange, error) {
	stats := p.host.cluster.stats
	for m := p.ready.last; m != nil; m = p.ready.last {
		if !p.breaker.acquire(&p.breaker.requests) {
			stats.http.activeOverflow.Add(1)
			return nil, filter.ErrRequestOverflow
		}
		x := m.client.Open()
		if x == nil { // it will say when that changes
			p.breaker.release(&p.breaker.requests)
			p.ready.remove(m)
			continue
		}
		p.begin(m)
		return &exchange{Exchange: x, member: m}, nil
	}
	return nil, nil
}

// begin counts an exchange of m.
func (p *pool) begin(m *member) {
	stats := p.host.cluster.stats
	m.active++
	p.active++
	m.served++
	stats.requests.Add(1)
	stats.requestsActive.Add(1)
	p.host.requests.total.Add(1)
	p.host.Requests.Add(1)
	switch {
	case p.perMember > 0 && m.served >= uint64(p.perMember):
		stats.http.maxRequests.Add(1)
		m.retire()
	case m.protocol != httpmsg.HTTP2:
		p.ready.remove(m)
	}
}

// queue lets a request wait, and makes a connection for it if none is under way.
func (p *pool) queue(o *order) (*waiter, error) {
	stats := p.host.cluster.stats
	if err := p.breaker.queue(); err != nil {
		stats.pendingOverflow.Add(1)
		return nil, err
	}
	stats.pendingTotal.Add(1)
	p.pending(1)
	w := &waiter{make(chan result, 1)}
	p.waiting = append(p.waiting, w)
	p.origin = newOrigin(o)
	p.grow()
	return w, nil
}

// pending moves the numbers of requests that wait for a connection.
func (p *pool) pending(by int64) {
	p.host.cluster.stats.pendingActive.Add(by)
	p.host.requests.pending.Add(uint64(by))
}

// answer takes w out of the line and tells it what became of it.
func (p *pool) answer(w *waiter, r result) {
	i := slices.Index(p.waiting, w)
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.breaker.unqueue(false)
	p.pending(-1)
	w.result <- r
	p.forget()
}

// forget drops what only connections to be made are for.
func (p *pool) forget() {
	if p.connecting == 0 && len(p.waiting) == 0 {
		p.origin = nil
	}
}

// serve gives what waits to connections with room, and makes more for the rest.
func (p *pool) serve() {
	for len(p.waiting) > 0 {
		s, err := p.take()
		if s == nil && err == nil {
			p.grow()
			return
		}
		p.answer(p.waiting[0], result{stream: s, err: err})
	}
}

// fail ends all waiting: one connection that cannot be made stands for all (Envoy), for
// who waits may do better elsewhere.
func (p *pool) fail(r result) {
	for len(p.waiting) > 0 {
		if r.err == filter.ErrCanceled {
			p.host.cluster.stats.canceled.Add(1)
		} else {
			p.host.cluster.stats.ejected.Add(1)
		}
		p.answer(p.waiting[0], r)
	}
}

// await waits for the turn of w.
func (p *pool) await(w *waiter, o *order) (*exchange, error) {
	select {
	case r := <-w.result: // the connection was refused at once
		return o.got(r)
	default:
	}
	o.asked = p.host.cluster.set.now()
	var cancel <-chan struct{}
	if o.r.Waiting != nil {
		cancel = o.r.Waiting()
	}
	var late <-chan time.Time
	if d := o.r.Deadline; !d.IsZero() {
		t := time.NewTimer(time.Until(d))
		defer t.Stop()
		late = t.C
	}
	r, ok := w.wait(cancel, late)
	if o.r.Waited != nil {
		o.r.Waited()
	}
	if ok {
		return o.got(r)
	}
	p.abandon(w)
	disown(o.r.Info, p.host)
	return nil, filter.ErrCanceled
}

// wait waits for the result; false: it was given up.
func (w *waiter) wait(cancel <-chan struct{}, late <-chan time.Time) (result, bool) {
	select {
	case r := <-w.result:
		return r, true
	case <-cancel:
	case <-late:
	}
	return result{}, false
}

// got settles the end of a wait.
func (o *order) got(r result) (*exchange, error) {
	if i := o.r.Info; r.reason != "" || i.Extra != nil {
		i.More().UpFailure = r.reason
	}
	return r.stream, r.err
}

// abandon takes back a request that waits, and what it may just have got.
func (p *pool) abandon(w *waiter) {
	p.mu.Lock()
	p.host.cluster.stats.canceled.Add(1)
	if slices.Contains(p.waiting, w) {
		p.answer(w, result{})
		p.tidy()
	}
	p.unlock()
	if r := <-w.result; r.stream != nil {
		r.stream.Release()
	}
}

// negotiates reports whether each connection has the version that its host chose; the
// key then says HTTP/2.
func (p *pool) negotiates() bool { return p.host.cluster.plan.HTTP.Version == plan.Negotiated }

// counts counts a connection by its version.
func (p *pool) counts(v httpmsg.Protocol) {
	if stats := &p.host.cluster.stats.http; v == httpmsg.HTTP2 {
		stats.http2.Add(1)
	} else {
		stats.http1.Add(1)
	}
}

// admit takes what a connection needs of the circuit breakers.
func (p *pool) admit() bool {
	if !p.host.slots.take() {
		return false
	}
	if !p.breaker.acquire(&p.breaker.connections) {
		p.host.slots.release()
		return false
	}
	return true
}

// spare closes a connection that has no request. It waits for no lock; false: there is
// none, or the pool is busy.
func (p *pool) spare() bool {
	if !p.mu.TryLock() {
		return false
	}
	defer p.unlock()
	for m := range p.ready.all {
		if m.active == 0 {
			m.close()
			return true
		}
	}
	return false
}

// tidy gives up a pool that has nothing any more: others of its identity may never come.
func (p *pool) tidy() {
	p.forget()
	if p.gone || p.births.n > 0 || len(p.waiting) > 0 {
		return
	}
	p.gone = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.host.pools.remove(p)
}

// drain lets no connection be kept without a request from now on.
func (p *pool) drain() {
	p.mu.Lock()
	p.draining = true
	p.unlock()
	p.renew()
}

// renew lets the connections that there are end with their requests.
func (p *pool) renew() {
	p.mu.Lock()
	defer p.unlock()
	for m := range p.births.all {
		if m.client != nil && !m.closed {
			m.retire()
		}
	}
}

// close ends all connections and all that waits.
func (p *pool) close() {
	p.mu.Lock()
	p.draining = true
	p.fail(result{err: filter.ErrCanceled})
	var ending []httpmsg.Client
	for m := range p.births.all {
		if c := m.part(); c != nil {
			ending = append(ending, c)
		}
	}
	p.tidy()
	p.unlock()
	for _, c := range ending {
		c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	}
}

// settle counts the bytes of all connections so far.
func (p *pool) settle() {
	p.mu.Lock()
	defer p.unlock()
	for m := range p.births.all {
		if m.client != nil {
			m.settle()
		}
	}
}
