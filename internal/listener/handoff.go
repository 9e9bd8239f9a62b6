package listener

import (
	"net/netip"
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A Table finds listeners by the address that a connection was going to before it was
// redirected: Envoy's use_original_dst. The zero Table is empty.
type Table struct {
	mu sync.RWMutex
	at map[netip.AddrPort]*Listener
	// compat has the listeners of [::] that take IPv4, too: by port, they stand in where
	// none has 0.0.0.0.
	compat map[uint16]*Listener
}

// add makes l the listener of its addresses, bound or not, in place of who was.
func (t *Table) add(l *Listener) {
	t.each(l, func(a netip.AddrPort, compat bool) {
		t.at[a] = l
		if compat {
			t.compat[a.Port()] = l
		}
	})
}

// remove forgets l where no other listener has taken its place.
func (t *Table) remove(l *Listener) {
	t.each(l, func(a netip.AddrPort, compat bool) {
		if t.at[a] == l {
			delete(t.at, a)
		}
		if compat && t.compat[a.Port()] == l {
			delete(t.compat, a.Port())
		}
	})
}

// each calls f, with the lock held, for the IP addresses of l. One in another network
// namespace says nothing of where connections in this one were going.
func (t *Table) each(l *Listener, f func(a netip.AddrPort, compat bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		t.at, t.compat = make(map[netip.AddrPort]*Listener), make(map[uint16]*Listener)
	}
	for i, addr := range l.Addrs() {
		a, ok := filter.IP(addr)
		if !ok || l.plan.Addresses[i].Namespace != "" {
			continue
		}
		compat := l.plan.Addresses[i].V4Compat
		f(key(a), compat && a.Addr() == netip.IPv6Unspecified())
		if compat && a.Addr().Is4In6() {
			f(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), false)
		}
	}
}

// key is a without its zone. An IPv4 address that is written as IPv6 is one of IPv6 (Envoy).
func key(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// find returns the listener of an address, else that of its port on all addresses of the
// family; nil: there is neither.
func (t *Table) find(a netip.AddrPort) *Listener {
	a = key(a)
	t.mu.RLock()
	defer t.mu.RUnlock()
	if l := t.at[a]; l != nil {
		return l
	}
	if a.Addr().Is6() {
		return t.at[netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())]
	}
	if l := t.at[netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port())]; l != nil {
		return l
	}
	return t.compat[a.Port()]
}

// handOff moves a connection, of which a listener filter has restored where it was going,
// to the listener that it was going to, which is returned; nil: it stays, there being no
// such listener but perhaps this one.
func (v *version) handOff(c *conn) *Listener {
	l := v.listener
	if !v.plan.UseOriginalDst || l.table == nil || !c.Info.LocalRestored() {
		return nil
	}
	a, ok := filter.IP(c.Info.Local)
	if !ok {
		return nil
	}
	for {
		to := l.table.find(a)
		if to == nil || to == l {
			return nil
		}
		if l.move(c, to) {
			return to
		}
	}
}

// move gives a connection to another listener, which begins with it anew; its filter state,
// its metadata and what was found in its first bytes stay with it. It reports false if
// the other one has stopped, and so is no longer found.
func (l *Listener) move(c *conn, to *Listener) bool {
	if !to.expect() {
		return false
	}
	l.leave(c)
	c.chain = &to.none
	c.Info.Listener, c.Info.Start = &to.plan.Info, time.Now()
	c.Info.Shown = c.Info.Shown || len(to.logs) > 0
	to.enter(c)
	to.assign(c)
	to.mu.Lock()
	to.count-- // the one that was expected
	to.mu.Unlock()
	return true
}

// expect counts a connection that is about to enter, so that Wait waits for it.
func (l *Listener) expect() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		l.count++
	}
	return !l.stopped
}
