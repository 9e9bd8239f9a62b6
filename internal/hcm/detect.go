package hcm

import (
	"net/netip"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// A detector finds the address of the client where a proxy before this one says it
// (original_ip_detection_extensions). The zero value looks into x-forwarded-for.
type detector struct {
	header  string // that the address stands in, lower case; "": x-forwarded-for
	trusted bool   // what header says may be an internal address
	reject  int    // answers a request without such an address; 0: it goes on

	hops    uint32         // addresses at the end of x-forwarded-for to pass over
	proxies []netip.Prefix // whose addresses are passed over, in place of hops; nil: hops
	appends bool           // the peer is added to x-forwarded-for, whatever is found
}

// detect asks one detector after the other. peer is what remains.
func (s *stream) detect(h *httpmsg.Header, peer netip.Addr) (origin, *httpmsg.Response) {
	o := &s.conn.service.config.Request
	list, usual := o.detectors, [1]detector{{hops: o.trustedHops}}
	if len(list) == 0 {
		list = usual[:]
	}
	for i := range list {
		d := &list[i]
		addr, sure := d.find(h, peer)
		if !addr.IsValid() && d.reject != 0 {
			s.conn.service.stats.rqNoAddress.Add(1)
			return origin{}, s.Reply(filter.LocalReply{Status: d.reject, Details: "rejecting_because_detection_failed"})
		}
		if d.appends {
			forwarded, _ := joinForwarded(h)
			s.appendForwarded(h, forwarded)
		}
		if addr.IsValid() {
			s.info.RestoreRemote(filter.IPAddr{AddrPort: netip.AddrPortFrom(addr, 0)})
			return origin{addr: addr, internal: sure && o.internal.has(addr, nil)}, nil
		}
	}
	return origin{addr: peer}, nil
}

// find returns the address that the headers name, and whether it may be internal. The zero
// address: they name none.
func (d *detector) find(h *httpmsg.Header, peer netip.Addr) (netip.Addr, bool) {
	if d.header != "" {
		return parseAddr(h.Get(d.header)), d.trusted
	}
	forwarded, has := joinForwarded(h)
	switch {
	case !has:
		return netip.Addr{}, false
	case d.proxies != nil:
		if !within(d.proxies, peer) {
			return netip.Addr{}, false
		}
		return untrustedOf(forwarded, d.proxies)
	}
	addr, alone := trusted(forwarded, d.hops)
	return addr, alone && d.hops == 0
}

// untrustedOf returns the last address of x-forwarded-for that is not one of the proxies',
// or the first one, and whether it stands alone.
func untrustedOf(forwarded string, proxies []netip.Prefix) (addr netip.Addr, alone bool) {
	rest := forwarded
	for {
		i := strings.LastIndexByte(rest, ',')
		addr = parseAddr(rest[i+1:])
		if i < 0 || !addr.IsValid() || !within(proxies, addr) {
			return addr, i < 0 && len(rest) == len(forwarded)
		}
		rest = rest[:i]
	}
}

// parseAddr reads an IP address; the zero one: it is none.
func parseAddr(text string) netip.Addr {
	addr, err := netip.ParseAddr(strings.Trim(text, " \t"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

func within(ranges []netip.Prefix, a netip.Addr) bool {
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
