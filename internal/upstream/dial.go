package upstream

import (
	"net"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
)

// stagger is how long a host's next address waits for the one before it (Envoy,
// RFC 8305 would have 250 ms).
const stagger = 300 * time.Millisecond

// A dialling is the making of one connection to a host.
type dialling struct {
	host  *host
	at    *place // where to; nil: where the host is
	via   *via   // nil: the host's
	asker asker
	info  *filter.Info // of who the connection is for
	route *corev3.Metadata

	stream  filter.Stream // offered for hand-over; nil: only a pipe will do
	outer   filter.Outer
	dialler inproc.Dialler // what embeds the dialling

	begun     time.Duration // in the set's time
	deadline  time.Time     // zero: none
	expires   bool          // the deadline is the asker's
	waited    bool
	uncounted bool // of a health check: it is nobody's connection, and no request's
	cancel    <-chan struct{}
	shared    []filter.Entry           // the filter state that goes with the connection
	source    *filter.Source           // of a socket; nil: as the cluster says
	asks      *filter.TransportOptions // of the transport; nil: nothing

	dial *inproc.Dial // in use
	own  inproc.Dial  // the first one
	to   net.Addr     // what dial leads to
}

// An asker is who a connection is made for, as filter.Hop says it.
type asker interface {
	Waiting() (cancel <-chan struct{})
	Deadline() time.Time
	Blocks()
}

// limit sets the time that there is: the cluster's or the asker's, whichever ends
// first. What is handed over takes none.
func (a *dialling) limit() {
	a.deadline, a.expires = a.asker.Deadline(), true
	if d := a.host.cluster.plan.ConnectTimeout; d > 0 {
		if own := a.host.cluster.set.epoch.Add(a.begun + d); a.deadline.IsZero() || own.Before(a.deadline) {
			a.deadline, a.expires = own, false
		}
	}
}

// waiting tells the asker that the dialling is about to block, once.
func (a *dialling) waiting() <-chan struct{} {
	if !a.waited {
		a.waited = true
		a.cancel = a.asker.Waiting()
	}
	return a.cancel
}

// Blocks is called by the in-process network before it waits.
func (a *dialling) Blocks() {
	a.limit()
	a.dial.Deadline = a.deadline
	a.asker.Blocks()
}

// dialAll connects to the host by one of its addresses. A nil stream without an
// error was handed over. The address is the one reached, or tried last.
func (a *dialling) dialAll() (filter.Stream, net.Addr, error) {
	if a.at == nil {
		a.at = &a.host.place
	}
	if a.via == nil {
		a.via = &a.host.via
	}
	if len(a.at.more) == 0 {
		s, err := a.dialOne(a.at.addr)
		return s, a.at.addr, err
	}
	return newRace(a).run()
}

func (a *dialling) dialOne(to net.Addr) (filter.Stream, error) {
	meta := a.passing()
	if in, ok := to.(filter.InternalAddr); ok {
		a.to = to
		s, err := a.dialInternal(in, meta)
		if err != nil || a.via.secure == nil {
			return s, err
		}
		a.limit()
		a.asker.Blocks()
		return a.wrap(s, a.waiting)
	}
	a.limit()
	return a.dialSocket(to, a.waiting, a.asker.Blocks)
}

// passing returns the metadata that goes with a connection, and counts what is
// missing: for sockets too, which pass nothing (Envoy).
func (a *dialling) passing() filter.Metadata {
	meta, missing := a.via.pass.metadata(a.info, a.route)
	if missing > 0 && !a.uncounted {
		a.host.cluster.noMetadata.Add(missing)
	}
	return meta
}

func (a *dialling) dialSocket(to net.Addr, waiting func() <-chan struct{}, blocks func()) (filter.Stream, error) {
	o := a.host.cluster.socketTo(to)
	if _, ok := filter.IP(to); ok && a.source != nil {
		o.Source, o.Mark, o.Transparent = a.source.Addr, a.source.Mark, true
	}
	o.Blocks = blocks
	s, err := a.host.cluster.set.opts.dial(to, a.deadline, waiting, o)
	if err != nil || a.via.secure == nil {
		return s, err
	}
	if blocks != nil {
		blocks()
	}
	return a.wrap(s, waiting)
}

func (a *dialling) dialInternal(to filter.InternalAddr, meta filter.Metadata) (filter.Stream, error) {
	n := a.host.cluster.set.opts.Network
	if n == nil {
		return nil, &inproc.RefusedError{Addr: to, Reason: errNoNetwork}
	}
	d := a.newDial()
	d.Addr, d.Local, d.From, d.Dialler = to, a.to, a.info, a.dialler
	if a.uncounted {
		d.From, d.By = nil, "a health check"
	}
	d.Cancel = a.cancel // Waiting would say accepted before the inner hop has
	if a.via.pass.on {
		d.Passthrough = filter.Passthrough{Metadata: meta, State: a.shared}
	}
	if t := a.via.transport.Socket; t == nil || t.Transparent() {
		d.Stream, d.Outer = a.stream, a.outer
	}
	stream, err := n.Connect(d)
	if err != nil {
		return nil, fromAnotherHop(err)
	}
	return stream, nil
}

// newDial makes a dial; the listener that refused an earlier one may
// still look at that.
func (a *dialling) newDial() *inproc.Dial {
	if a.dial == nil {
		a.dial = &a.own
	} else {
		a.dial = new(inproc.Dial)
	}
	return a.dial
}
