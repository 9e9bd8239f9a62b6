package upstream

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A probe connects to a host for health checks. These connections are in no pool and no
// count.
type probe struct {
	host *host
	addr net.Addr // nil: the host's
	port uint16   // 0: the host's
}

func newProbe(h *host) *probe {
	e := &h.endpoint.Load().Check
	p := &probe{host: h, addr: e.Addr, port: e.Port}
	if p.port == 0 {
		p.port = h.cluster.plan.Check.AltPort
	}
	return p
}

// place is where the host is asked.
func (p *probe) place() *place {
	at := &p.host.place
	if p.addr != nil {
		at = &place{addr: p.addr}
	}
	if ip, ok := filter.IP(at.addr); ok && p.port != 0 {
		at = &place{addr: filter.IPAddr{AddrPort: netip.AddrPortFrom(ip.Addr(), p.port)}}
	}
	return at
}

// asks offers the protocol that a check speaks, where the configuration offers none.
func (p *probe) asks() *filter.TransportOptions {
	check := p.host.cluster.plan.Check
	switch {
	case p.host.secure == nil || check.TCP != nil:
		return nil
	case check.GRPC != nil || check.HTTP.Protocol == httpmsg.HTTP2:
		return &filter.TransportOptions{Fallback: slices.Clone(offers[1:])}
	}
	return &filter.TransportOptions{Fallback: slices.Clone(offers[:1])}
}

func (p *probe) dial(ctx context.Context) (filter.Stream, error) {
	c := &call{dialling{
		host: p.host, at: p.place(), asker: examiner{ctx}, info: &filter.Info{},
		begun: p.host.cluster.set.now(), waited: true, cancel: ctx.Done(), uncounted: true, asks: p.asks(),
	}}
	c.dialler = c
	s, _, err := c.dialAll()
	return s, err
}

// An examiner is who a connection of a probe is made for.
type examiner struct{ ctx context.Context }

// Waiting implements asker.
func (e examiner) Waiting() <-chan struct{} { return e.ctx.Done() }

// Deadline implements asker.
func (e examiner) Deadline() time.Time {
	at, _ := e.ctx.Deadline()
	return at
}

// Blocks implements asker.
func (examiner) Blocks() {}
