package upstream

import (
	"net"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/netconn"
)

// stagger is how long a host's next address waits for the one before it (Envoy,
// RFC 8305 would have 250 ms).
const stagger = 300 * time.Millisecond

// dialAll connects to the host by one of its addresses. A nil stream without an
// error was handed over. The address is the one reached, or tried last.
func (a *attempt) dialAll() (filter.Stream, net.Addr, error) {
	if len(a.host.more) == 0 {
		s, err := a.dialOne(a.host.Addr)
		return s, a.host.Addr, err
	}
	return newRace(a).run()
}

func (a *attempt) dialOne(to net.Addr) (filter.Stream, error) {
	meta := a.passing()
	if in, ok := to.(filter.InternalAddr); ok {
		a.to = to
		return a.dialInternal(in, meta)
	}
	a.limit()
	return a.dialSocket(to, a.waiting, a.r.Hop.Blocks)
}

// passing returns the metadata that goes with a connection, and counts what is
// missing: for sockets too, which pass nothing (Envoy).
func (a *attempt) passing() filter.Metadata {
	meta, missing := a.host.pass.metadata(a.r)
	if missing > 0 {
		a.cluster.noMetadata.Add(missing)
	}
	return meta
}

func (a *attempt) dialSocket(to net.Addr, waiting func() <-chan struct{}, blocks func()) (filter.Stream, error) {
	o := a.cluster.socket
	if _, ok := filter.IP(to); !ok { // source address and keep-alive are for IP alone (Envoy)
		o = netconn.DialOptions{}
	}
	o.Blocks = blocks
	return a.cluster.set.opts.dial(to, a.deadline, waiting, o)
}

func (a *attempt) dialInternal(to filter.InternalAddr, meta filter.Metadata) (filter.Stream, error) {
	n := a.cluster.set.opts.Network
	if n == nil {
		return nil, &inproc.RefusedError{Addr: to, Reason: errNoNetwork}
	}
	d := a.newDial()
	d.Addr, d.Local, d.From, d.Dialler = to, a.to, a.r.Info, a
	d.Cancel = a.cancel // Waiting would say accepted before the inner hop has
	if a.host.pass.on {
		d.Passthrough = filter.Passthrough{Metadata: meta, State: a.shared}
	}
	if t := a.host.transport.Socket; t == nil || t.Transparent() {
		d.Stream, d.Outer = a.r.Stream, a.r.Outer
	}
	stream, err := n.Connect(d)
	if err != nil {
		return nil, fromAnotherHop(err)
	}
	return stream, nil
}

// newDial makes the attempt's dial; the listener that refused an earlier one may
// still look at that.
func (a *attempt) newDial() *inproc.Dial {
	if a.dial == nil {
		a.dial = &a.own
	} else {
		a.dial = new(inproc.Dial)
	}
	return a.dial
}

// tryOrder returns the additional addresses in the order in which Envoy tries them
// after the first: families take turns, beginning with another one than the first
// address has. An address that is not IP is of no family, not even its own.
func tryOrder(first net.Addr, more []net.Addr) []net.Addr {
	var same, other []net.Addr
	for _, a := range more {
		if sameFamily(first, a) {
			same = append(same, a)
		} else {
			other = append(other, a)
		}
	}
	out := make([]net.Addr, 0, len(more))
	for len(same)+len(other) > 0 {
		if len(other) > 0 {
			out, other = append(out, other[0]), other[1:]
		}
		if len(same) > 0 {
			out, same = append(out, same[0]), same[1:]
		}
	}
	return out
}

func sameFamily(a, b net.Addr) bool {
	x, ok1 := filter.IP(a)
	y, ok2 := filter.IP(b)
	return ok1 && ok2 && x.Addr().Is4() == y.Addr().Is4()
}
