// Package listener turns accepted connections into served ones: it runs a
// listener's filters, chooses the filter chain, and keeps track of what is open.
//
// Sockets and in-process dials take the same way; the one who accepts is all that
// differs.
package listener

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/match"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
)

// chainBase makes the ids of chains differ between processes, for logs of several
// of them are read together.
var chainBase = rand.Uint64()

// A Listener serves the connections of one configured listener.
type Listener struct {
	plan    *plan.Listener
	env     *filter.Env
	matcher *match.Chains
	chains  []*chain // in the order of the plan
	others  *chain   // default chain; nil: none
	filters []filter.ListenerFilter
	logs    []filter.AccessLog
	stats   *stats
	sockets []*netconn.Listener
	peeks   bool          // a listener filter looks at the first bytes
	passive bool          // no filter of any chain needs the bytes
	total   *atomic.Int64 // of Options

	limitKey string

	accepting sync.WaitGroup

	mu      sync.Mutex
	open    conn // ring of open connections: open.next is the newest
	count   int
	empty   sync.Cond // no connection is open
	stopped bool      // nothing is accepted any more
	closing string    // why open connections, and those to come, are ended; "": they are not
	drains  bool      // connections, and those to come, are asked to end in their own time
}

// A chain is a filter chain ready to serve.
type chain struct {
	plan      *plan.Chain
	handler   filter.ConnHandler // nil: no filters, connections are closed
	transport filter.Transport   // nil: the bytes stay as they are
}

// Why a connection was refused before a filter chain served it.
var (
	errNoChain   = errors.New("no filter chain matches")
	errNoFilters = errors.New("the filter chain has no filters")
	errClosing   = errors.New("the listener is closing")
)

// New builds a listener: filters are made, sockets are bound, so that conflicts show
// now, but nothing is accepted before Start. env.Stats is the server's root scope.
func New(p *plan.Listener, env *filter.Env, o Options) (*Listener, error) {
	e := *env
	e.Listener = &p.Info
	e.Stats = env.Stats.Scope("") // closed with all that is made from it
	l := &Listener{plan: p, env: &e, total: o.Total, limitKey: limitKey(p.Info.Name)}
	if l.total == nil {
		l.total = new(atomic.Int64)
	}
	l.empty.L = &l.mu
	l.open.next, l.open.prev = &l.open, &l.open
	err := l.bind()
	if err == nil { // the names of statistics have the bound addresses
		e.ListenerStats = e.Stats.Scope(l.statRoot())
		if err = l.build(); err != nil {
			l.closeSockets()
		}
	}
	if err != nil {
		l.Release()
		return nil, fmt.Errorf("listener %q: %w", p.Info.Name, err)
	}
	l.stats = newStats(e.Stats, l.statRoot(), o.Concurrency)
	return l, nil
}

// Release gives the statistics of the listener and its filters back: they are no
// longer listed. It is for a listener that has stopped and has no connection left.
func (l *Listener) Release() { l.env.Stats.Close() }

// Options of a listener that do not come from its configuration.
type Options struct {
	Concurrency int // number of worker_N statistics; 0: 1
	// Total counts the open connections from sockets of all listeners. nil: its own.
	Total *atomic.Int64
}

func (l *Listener) build() error {
	l.passive = true
	for _, f := range l.plan.Filters {
		lf, err := f.NewListenerFilter(l.env)
		if err != nil {
			return err
		}
		l.peeks = l.peeks || f.Peeks()
		l.filters = append(l.filters, lf)
	}
	for _, f := range l.plan.AccessLogs {
		log, err := f.NewAccessLog(l.env)
		if err != nil {
			return err
		}
		l.logs = append(l.logs, log)
	}
	matches := make([]plan.ChainMatch, len(l.plan.Chains))
	for i, p := range l.plan.Chains {
		c, err := l.chain(p)
		if err != nil {
			return err
		}
		l.chains = append(l.chains, c)
		matches[i] = p.Match
	}
	l.matcher = match.New(matches)
	if l.plan.Default == nil {
		return nil
	}
	var err error
	l.others, err = l.chain(l.plan.Default)
	return err
}

// chain assembles the handler of a filter chain, from its end to its beginning.
func (l *Listener) chain(p *plan.Chain) (*chain, error) {
	c := &chain{plan: p}
	if p.Terminal == nil {
		return c, nil
	}
	if p.Transport != nil {
		var err error
		if c.transport, err = p.Transport.NewTransport(l.env); err != nil {
			return nil, err
		}
		l.passive = false
	}
	t, err := p.Terminal.NewTerminal(l.env)
	if err != nil {
		return nil, err
	}
	l.mustBePassive(t)
	c.handler = t
	for i := len(p.Filters) - 1; i >= 0; i-- {
		n, err := p.Filters[i].NewNetwork(l.env)
		if err != nil {
			return nil, err
		}
		l.mustBePassive(n)
		c.handler = n.WrapConn(c.handler)
	}
	return c, nil
}

func (l *Listener) mustBePassive(x any) {
	p, ok := x.(filter.Passive)
	l.passive = l.passive && ok && p.Passive()
}

// Info returns what all connections of l share.
func (l *Listener) Info() *filter.ListenerInfo { return &l.plan.Info }

// Plan returns the configuration that l was built from.
func (l *Listener) Plan() *plan.Listener { return l.plan }

// TakesOver implements inproc.Listener.
func (l *Listener) TakesOver() bool { return l.passive && !l.peeks }

// BufferBytes implements inproc.Listener.
func (l *Listener) BufferBytes() int { return l.plan.Info.BufferBytes }

// ServeInternal implements inproc.Listener.
func (l *Listener) ServeInternal(d *inproc.Dial) error {
	c := l.fromDial(d)
	l.enter(c)
	return l.serve(c)
}

// serve takes an entered connection through the listener's filters and into the chain that
// matches it.
func (l *Listener) serve(c *conn) error {
	if err := l.inspect(c); err != nil {
		return err
	}
	chain := l.choose(&c.Info)
	if chain == nil {
		return l.unmatched(c)
	}
	if err := l.admit(c, chain); err != nil {
		return l.turnAway(c, err, "")
	}
	if chain.handler == nil {
		return l.turnAway(c, errNoFilters, "no_filters")
	}
	if err := l.secure(c, chain); err != nil {
		return err
	}
	return chain.handler.ServeConn(&c.Conn)
}

func (l *Listener) choose(i *filter.Info) *chain {
	if n := l.matcher.Find(input(i)); n >= 0 {
		return l.chains[n]
	}
	return l.others
}

func input(i *filter.Info) match.Input {
	x := &i.Rest().Inspected
	return match.Input{
		Local: i.Local, Remote: i.Remote, DirectRemote: i.DirectRemote(),
		ServerName:           x.ServerName,
		TransportProtocol:    x.TransportProtocol,
		ApplicationProtocols: x.ApplicationProtocols,
	}
}

// unmatched ends a connection for which there is no chain: it is logged and counted
// as such, but not among the listener's connections (Envoy).
func (l *Listener) unmatched(c *conn) error {
	l.stats.noChain.Add(1)
	c.Info.Raise(filter.NoRouteFound)
	c.Info.More().Details = "filter_chain_not_found"
	for _, log := range l.logs {
		log.Log(&c.Info, filter.NotSet)
	}
	c.drop()
	return errNoChain
}

// turnAway ends an admitted connection before a filter has seen it.
func (l *Listener) turnAway(c *conn, err error, reason string) error {
	if reason != "" {
		c.Info.More().DownReason = reason
	}
	c.End()
	c.drop()
	return err
}

// drop forgets a connection that no chain serves, and closes its stream. A borrowed
// stream stays its dialler's, and so does the end of a pipe that was not accepted.
func (c *conn) drop() {
	if c.dial == nil {
		c.Stream.Close()
	}
	c.listener.leave(c)
}
