package upstream

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A probe connects to a host for health checks. These connections are in no pool and no
// count.
type probe struct {
	host *host // as it is to be reached for checks
}

func newProbe(h *host) *probe {
	p := &host{cluster: h.cluster, transport: h.transport, secure: h.secure, pass: h.pass, more: h.more}
	p.Host.Addr, p.Hostname = h.Addr, h.Hostname
	e := &h.endpoint.Load().Check
	if e.Addr != nil {
		p.Host.Addr, p.more = e.Addr, nil
	}
	port := e.Port
	if port == 0 {
		port = h.cluster.plan.Check.AltPort
	}
	if at, ok := filter.IP(p.Host.Addr); ok && port != 0 {
		p.Host.Addr, p.more = filter.IPAddr{AddrPort: netip.AddrPortFrom(at.Addr(), port)}, nil
	}
	return &probe{p}
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
		host: p.host, asker: examiner{ctx}, info: &filter.Info{},
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
