package listener

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
)

// A Socket is a bound socket and what it was made for.
type Socket struct {
	addr    net.Addr // as configured
	options netconn.ListenOptions
	socket  *netconn.Listener
}

// AnyPort reports whether the system chose the port.
func (s Socket) AnyPort() bool {
	ip, ok := s.addr.(filter.IPAddr)
	return ok && ip.AddrPort.Port() == 0
}

// Sockets returns the listener's sockets, for one that takes its place.
func (l *Listener) Sockets() []Socket {
	var out []Socket
	for i, s := range l.sockets {
		addr, o := l.address(i)
		out = append(out, Socket{addr, o, s})
	}
	return out
}

// Shares returns an address that both listeners have; nil: none.
func (l *Listener) Shares(with *Listener) net.Addr {
	for _, x := range l.Sockets() {
		for _, y := range with.Sockets() {
			if x.addr == y.addr && x.options.Namespace == y.options.Namespace && !x.AnyPort() {
				return x.addr
			}
		}
	}
	return nil
}

// bind takes the listener's addresses, with sockets that there are where they fit. On
// an error none is kept.
func (l *Listener) bind(there []Socket) error {
	if l.plan.Internal || !l.plan.Bind {
		return nil
	}
	there = slices.Clone(there)
	for i := range l.plan.Addresses {
		addr, o := l.address(i)
		s, err := l.socket(&there, addr, o)
		if err != nil {
			l.closeSockets()
			return err
		}
		l.sockets = append(l.sockets, s)
	}
	return nil
}

// socket returns a socket for an address: the first one of there that fits, or a new one.
func (l *Listener) socket(there *[]Socket, addr net.Addr, o netconn.ListenOptions) (*netconn.Listener, error) {
	at := slices.IndexFunc(*there, func(s Socket) bool { return s.addr == addr && netconn.Fits(s.options, o) })
	if at < 0 {
		ours := slices.ContainsFunc(*there, func(s Socket) bool { return s.addr == addr })
		if !ours && !o.NoReusePort && o.Namespace == "" && netconn.InUse(addr) {
			l.env.Log.Warn(fmt.Sprintf("somebody listens on '%v' already, perhaps another copy of this proxy: the system will split the connections between the two, unless enable_reuse_port is false", addr),
				"logger", "config", "listener", l.plan.Info.Name)
		}
		return netconn.Bind(addr, o)
	}
	s := (*there)[at].socket
	*there = slices.Delete(*there, at, at+1)
	return s.Duplicate(o.Backlog)
}

func (l *Listener) address(i int) (net.Addr, netconn.ListenOptions) {
	p := &l.plan.Addresses[i]
	o := netconn.ListenOptions{
		NoReusePort: !p.ReusePort, Backlog: p.Backlog,
		IPv4Compat: p.V4Compat, Mode: os.FileMode(p.Mode), KeepAlive: keepAlive(p.Keepalive),
		Transparent: p.Transparent, FreeBind: p.FreeBind, FastOpen: p.FastOpen, Multipath: p.Multipath,
		Options: p.Options, Namespace: p.Namespace,
	}
	if p.Path != "" {
		return filter.UnixAddr{Path: p.Path}, o
	}
	return filter.IPAddr{AddrPort: p.Addr}, o
}

func keepAlive(k *plan.Keepalive) *netconn.KeepAlive {
	if k == nil {
		return nil
	}
	return &netconn.KeepAlive{Probes: k.Probes, Idle: k.Time, Interval: k.Interval}
}

// Start lets connections in and accepts them.
func (l *Listener) Start() error {
	if err := l.Listen(); err != nil {
		return err
	}
	l.Accept()
	return nil
}

// Listen lets connections in; they wait until they are accepted.
func (l *Listener) Listen() error {
	for _, s := range l.sockets {
		if err := s.Listen(); err != nil {
			return err
		}
	}
	return nil
}

// Accept begins to accept connections; Listen was called before.
func (l *Listener) Accept() {
	if l.table != nil && !l.plan.Internal {
		l.table.add(l)
	}
	for _, s := range l.sockets {
		s.SetBatch(netconn.Batch{Most: l.plan.AcceptMost, Took: l.took})
		if err := l.acceptBy(s); err != nil {
			l.accepting.Go(func() { l.accept(s) })
		}
	}
}

// acceptBy leaves a socket to the pumps' loops, if nothing of the set-up needs bytes, and
// so waits for them. A goroutine takes over from loops that fail to accept.
func (l *Listener) acceptBy(s *netconn.Listener) error {
	w, ok := l.env.Pumps.(netconn.Watcher)
	if !ok || !l.now.Load().TakesOver() {
		return netconn.ErrNoLoops
	}
	return s.AcceptBy(w, l.takeIn, func(error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.stopped { // else somebody may wait already for who accepts
			l.accepting.Go(func() { l.accept(s) })
		}
	})
}

// took counts the connections that were accepted at one event.
func (l *Listener) took(n int) { l.stats.accepted.Record(uint64(n)) }

// takeIn sets up what a loop has accepted, in its turn.
func (l *Listener) takeIn(s *netconn.Socket, t *netconn.Turn) {
	if c := l.take(s); c != nil {
		c.setUp(t)
	}
}

// AcceptRest accepts what waits, without waiting for more: of a listener whose place
// another one has taken, before it is stopped, and then of that one, for who was to be
// woken for a connection may have been the listener that is no more.
func (l *Listener) AcceptRest() {
	for _, s := range l.sockets {
		s.Rest(func(s *netconn.Socket) { l.takeIn(s, nil) })
	}
}

// accept takes in the connections of one listening socket, by loops where these may, else
// here.
func (l *Listener) accept(s *netconn.Listener) {
	failed := func(err error) {
		l.env.Log.Warn("accepting pauses: "+err.Error(), "logger", "conn_handler", "listener", l.plan.Info.Name)
	}
	err := netconn.ErrNoLoops
	if w, ok := l.env.Pumps.(netconn.Watcher); ok && l.now.Load().TakesOver() {
		err = s.ServeBy(w, l.takeIn, failed)
		if err != nil && err != netconn.ErrNoLoops {
			l.env.Log.Error("event loops cannot accept, a goroutine does: "+err.Error(), "logger", "conn_handler", "listener", l.plan.Info.Name)
		}
	}
	if err != nil {
		err = s.Serve(func(s *netconn.Socket) { l.takeIn(s, nil) }, failed)
	}
	if err != nil {
		l.env.Log.Error("accepting ended: "+err.Error(), "logger", "conn_handler", "listener", l.plan.Info.Name)
	}
}

// take enters an accepted connection; nil if there is no room for it.
func (l *Listener) take(s *netconn.Socket) *conn {
	c := l.fromSocket(s)
	full := l.over(l.enter(c))
	heir, ended := l.late()
	switch {
	case heir != nil:
		l.leave(c)
		return heir.take(s)
	case full != nil:
		full.Add(1)
	case !ended:
		l.assign(c)
		return c
	}
	c.drop()
	return nil
}

// late tells who serves what was accepted, or dialled, just when the listener stopped: its
// heir; if there is none the listener itself, unless its connections are being ended.
func (l *Listener) late() (heir *Listener, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heir, l.stopped && l.closing != ""
}

// Stop ends accepting: the addresses are given back. It reports whether there was
// anything to end. Open connections live on.
func (l *Listener) Stop() bool { return l.StopFor(nil) }

// StopFor is Stop where another listener has taken the place: what is just being accepted
// is served by that one.
func (l *Listener) StopFor(heir *Listener) bool {
	if l.table != nil {
		l.table.remove(l)
	}
	l.mu.Lock()
	was := !l.stopped && len(l.sockets) > 0
	l.stopped, l.heir = true, heir
	l.mu.Unlock()
	l.closeSockets()
	l.accepting.Wait()
	return was
}

func (l *Listener) closeSockets() {
	var errs []error
	for _, s := range l.sockets {
		errs = append(errs, s.Close())
	}
	if err := errors.Join(errs...); err != nil {
		l.env.Log.Warn(err.Error(), "logger", "conn_handler")
	}
}

// Addrs returns the bound addresses with their real ports, and those of a listener that
// does not bind as they are configured.
func (l *Listener) Addrs() []net.Addr {
	var out []net.Addr
	if !l.plan.Bind {
		for i := range l.plan.Addresses {
			addr, _ := l.address(i)
			out = append(out, addr)
		}
	}
	for _, s := range l.sockets {
		out = append(out, s.Addr())
	}
	return out
}
