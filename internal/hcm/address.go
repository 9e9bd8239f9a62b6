package hcm

import (
	"net"
	"net/netip"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// origin is where a request comes from.
type origin struct {
	addr     netip.Addr // of the client, as far as it can be trusted; the zero one: no IP address
	internal bool
	edge     bool // this proxy is the first to see it
}

// origin finds the address of the client, and appends to x-forwarded-for. It returns the
// answer to a client that has none.
func (s *stream) origin(h *httpmsg.Header) (origin, *httpmsg.Response) {
	o := &s.conn.service.config.Request
	peer, _ := filter.IP(s.info.Remote)
	addr := peer.Addr().Unmap()
	if !o.useRemoteAddress {
		return s.detect(h, addr)
	}
	forwarded, has := joinForwarded(h)
	if o.trustedHops > 0 {
		if a, _ := trusted(forwarded, o.trustedHops-1); a.IsValid() {
			addr = a
			s.info.RestoreRemote(filter.IPAddr{AddrPort: netip.AddrPortFrom(a, 0)})
		}
	}
	if !o.skipXFFAppend {
		s.appendForwarded(h, forwarded)
	}
	internal := !has && o.internal.has(addr, s.info.DirectRemote())
	return origin{addr: addr, internal: internal, edge: !internal}, nil
}

const forwardedFor = "x-forwarded-for"

// joinForwarded makes one line of all x-forwarded-for.
func joinForwarded(h *httpmsg.Header) (string, bool) {
	i := h.Index(forwardedFor)
	if i < 0 {
		return "", false
	}
	if !(*h)[i+1:].Has(forwardedFor) {
		return (*h)[i].Value, true
	}
	v, _ := h.Joined(forwardedFor)
	h.Set(forwardedFor, v)
	return v, true
}

func (s *stream) appendForwarded(h *httpmsg.Header, before string) {
	peer := s.conn.forwardedPeer()
	if peer == "" {
		return
	}
	if before != "" {
		peer = before + "," + peer
	}
	h.Set(forwardedFor, peer)
}

// forwardedPeer is the client as x-forwarded-for has it: its IP address, for one of
// this machine the machine's own (Envoy). "": it has none.
func (c *conn) forwardedPeer() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peer == "" {
		a, ok := filter.IP(c.filter.Info.Remote)
		if !ok {
			return ""
		}
		addr := a.Addr().Unmap()
		switch {
		case addr == loopback4 || addr == netip.IPv6Loopback(): // no others (Envoy)
			c.peer = c.service.machine()
		case c.service.config.Request.mappedIPv6 && addr.Is4():
			c.peer = "::ffff:" + addr.String()
		default:
			c.peer = addr.WithZone("").String()
		}
	}
	return c.peer
}

var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// trusted returns the address that stands behind a number of others at the end of
// x-forwarded-for, and whether it is the first one. The zero address: there is none.
func trusted(forwarded string, skip uint32) (addr netip.Addr, first bool) {
	for ; skip > 0; skip-- {
		i := strings.LastIndexByte(forwarded, ',')
		if i < 0 {
			return netip.Addr{}, false
		}
		forwarded = forwarded[:i]
	}
	i := strings.LastIndexByte(forwarded, ',')
	addr = parseAddr(forwarded[i+1:])
	return addr, addr.IsValid() && i < 0
}

// has reports whether an address is internal; peer is for those that are no IP address.
func (o *internalAddresses) has(a netip.Addr, peer net.Addr) bool {
	if !a.IsValid() {
		_, unix := peer.(filter.UnixAddr)
		return unix && o.unix
	}
	return within(o.ranges, a)
}
