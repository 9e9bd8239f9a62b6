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
	"github.com/ginnel/ginnel/internal/drain"
	"github.com/ginnel/ginnel/internal/match"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
)

// chainBase makes the ids of chains differ between processes, for logs of several
// of them are read together.
var chainBase = rand.Uint64()

// A Listener serves the connections of one configured listener. What of its
// configuration can be changed in place is in its version, the rest lasts as long as it.
type Listener struct {
	plan    *plan.Listener // that it was made from; Plan is that of now
	env     *filter.Env
	now     atomic.Pointer[version]
	logs    []filter.AccessLog
	stats   *stats
	sockets []*netconn.Listener
	total   *atomic.Int64 // of Options
	none    chain         // that of connections for which none is chosen yet
	table   *Table        // of Options

	limit    *Limit // of Options; nil: none that counts these connections
	limitKey string

	leaving    drain.Drain // of a listener that is no more
	drainClose func(*filter.ListenerInfo) bool

	accepting sync.WaitGroup

	mu      sync.Mutex
	open    conn // ring of open connections: open.next is the newest
	balance balance
	count   int
	empty   sync.Cond // no connection is open, or none of a chain that ends
	stopped bool      // nothing is accepted any more
	heir    *Listener // serves what is accepted after that; nil: there is none
	closing string    // why open connections, and those to come, are ended; "": they are not
	drains  bool      // connections, and those to come, are asked to end now
}

// Why a connection was refused before a filter chain served it.
var (
	errNoChain   = errors.New("no filter chain matches")
	errNoFilters = errors.New("the filter chain has no filters")
	errClosing   = errors.New("the listener is closing")
	errGone      = errors.New("the filter chain was removed") // while it was being chosen
)

// New builds a listener: filters are made, sockets are bound, so that conflicts show
// now, but nothing is accepted before Start. env.Stats is the server's root scope.
func New(p *plan.Listener, env *filter.Env, o Options) (*Listener, error) {
	e := *env
	e.Listener = &p.Info
	e.Stats = env.Stats.Scope("") // closed with all that is made from it
	l := &Listener{
		plan: p, env: &e, total: o.Total, table: o.Table, drainClose: o.DrainClose,
		limit: limitFor(p, o.Limit), limitKey: limitKey(p.Info.Name),
	}
	if l.total == nil {
		l.total = new(atomic.Int64)
	}
	if p.Balance {
		l.balance = newBalance(o.Concurrency)
	}
	l.none.listener = l
	l.empty.L = &l.mu
	l.open.next, l.open.prev = &l.open, &l.open
	err := l.bind(o.Sockets)
	if err == nil { // the names of statistics have the bound addresses
		e.ListenerStats = e.Stats.Scope(l.statRoot())
		if err = l.build(); err != nil {
			l.closeSockets()
		}
	}
	if err != nil {
		l.Release()
		return nil, listenerError(p, err)
	}
	l.stats = newStats(e.Stats, l.statRoot(), o.Concurrency)
	return l, nil
}

// An Error is what is wrong with one listener.
type Error struct {
	Name string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("listener %q: %v", e.Name, e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Listener returns the listener's name.
func (e *Error) Listener() string { return e.Name }

func listenerError(p *plan.Listener, err error) error { return &Error{p.Info.Name, err} }

// Release gives back what the listener and its filters hold: their statistics are no
// longer listed, nothing is asked for any more. It is for a listener that has stopped and has no connection left.
func (l *Listener) Release() {
	if v := l.now.Load(); v != nil {
		for _, c := range v.without(nil) {
			c.release()
		}
	}
	l.env.Stats.Close()
}

// Options of a listener that do not come from its configuration.
type Options struct {
	Concurrency int // number of worker_N statistics; 0: 1
	// Total counts the open connections from sockets of all listeners. nil: its own.
	Total *atomic.Int64
	Limit *Limit // nil: the runtime decides
	// Table is where the listener is found, and finds others, by addresses that connections
	// were going to; nil: nowhere.
	Table *Table
	// DrainClose is asked, beside the drains of the listener and its chains, whether a
	// connection is to end; nil: it is not.
	DrainClose func(*filter.ListenerInfo) bool
	// Sockets are of listeners that end: one that has what an address asks for goes on.
	Sockets []Socket
}

func (l *Listener) build() error {
	for _, f := range l.plan.AccessLogs {
		log, err := f.NewAccessLog(l.env)
		if err != nil {
			return err
		}
		l.logs = append(l.logs, log)
	}
	v, err := l.version(l.plan, nil)
	if err == nil {
		l.now.Store(v)
	}
	return err
}

// Info returns what all connections of l share.
func (l *Listener) Info() *filter.ListenerInfo { return &l.plan.Info }

// Plan returns the configuration that l has now.
func (l *Listener) Plan() *plan.Listener { return l.now.Load().plan }

// serve takes an entered connection through the listener's filters and into the chain
// that matches it, or through those of the listener that it was going to. The chain is
// chosen from the version that there is then, unless the connection was handed over to
// one.
func (l *Listener) serve(c *conn, v *version) error {
	if err := v.inspect(c); err != nil {
		return err
	}
	if to := v.handOff(c); to != nil {
		l, v = to, to.now.Load()
		if err := v.inspect(c); err != nil {
			return err
		}
	}
	chain, err := l.enterChain(c, v)
	switch {
	case err == errNoChain:
		return l.unmatched(c)
	case err != nil:
		return l.turnAway(c, err, "")
	case chain.handler == nil:
		return l.turnAway(c, errNoFilters, "no_filters")
	}
	if err := l.secure(c, chain); err != nil {
		return err
	}
	return chain.handler.ServeConn(&c.Conn)
}

// enterChain chooses the chain of a connection, once more if the chain was removed, and
// has drained, meanwhile.
func (l *Listener) enterChain(c *conn, v *version) (*chain, error) {
	for last := (*version)(nil); ; last = v {
		if now := l.now.Load(); c.Outer == nil || now.TakesOver() {
			v = now
		}
		if v == last { // handed over to what can no longer take it
			return nil, errClosing
		}
		chain := v.choose(&c.Info)
		if chain == nil {
			return nil, errNoChain
		}
		if err := l.admit(c, chain); err != errGone {
			return chain, err
		}
	}
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
	c.listener().leave(c)
}
