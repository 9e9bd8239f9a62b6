package upstream

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

// A probe connects to a host for health checks. These connections are in no pool and no
// count.
type probe struct {
	host *host
	addr net.Addr // nil: the host's
	port uint16   // 0: the host's
	asks *filter.TransportOptions
}

func newProbe(h *host) *probe {
	e := &h.endpoint.Load().Check
	p := &probe{host: h, addr: e.Addr, port: e.Port}
	if p.port == 0 {
		p.port = h.cluster.plan.Check.AltPort
	}
	p.asks = checkAsks(h.cluster.plan.Check)
	return p
}

// place is where the host is asked.
func (p *probe) place() *place {
	to := p.addr
	if to == nil {
		to = p.host.Addr
	}
	if ip, ok := filter.IP(to); ok && p.port != 0 {
		return &place{addr: filter.IPAddr{AddrPort: netip.AddrPortFrom(ip.Addr(), p.port)}}
	}
	if p.addr != nil {
		return &place{addr: p.addr}
	}
	return &p.host.place
}

// via is what a connection goes through; nil: the same as others to the host.
func (p *probe) via() *via {
	h := p.host
	wants := h.cluster.plan.Check.Transport
	if wants == nil {
		return nil
	}
	meta := &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{transportMatch: wants}}
	v := h.cluster.through(transportFor(h.cluster.plan, meta, h.localityMetadata), h.endpoint.Load())
	return &v
}

// checkAsks is what checks ask of the transport: the protocols that are configured for them,
// or else, where the transport has none, that which they speak.
func checkAsks(c *plan.HealthCheck) *filter.TransportOptions {
	o := &filter.TransportOptions{Protocols: c.Protocols}
	switch {
	case c.TCP != nil:
	case c.GRPC != nil || c.HTTP.Protocol == httpmsg.HTTP2:
		o.Fallback = slices.Clone(offers[1:])
	default:
		o.Fallback = slices.Clone(offers[:1])
	}
	return o
}

func (p *probe) dial(ctx context.Context) (filter.Stream, error) {
	c := &call{dialling{
		host: p.host, at: p.place(), via: p.via(), asker: examiner{ctx}, info: &filter.Info{},
		begun: p.host.cluster.set.now(), waited: true, cancel: ctx.Done(), uncounted: true, asks: p.asks,
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
