package state

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
)

// appendAddr adds an address as Envoy prints it, without allocating for those of
// package filter.
func appendAddr(dst []byte, a net.Addr) []byte {
	if ip, ok := filter.IP(a); ok {
		return ip.AppendTo(dst)
	}
	if in, ok := a.(filter.InternalAddr); ok {
		dst = append(append(dst, "envoy://"...), in.Listener...)
		return append(append(dst, '/'), in.Endpoint...)
	}
	return append(dst, a.String()...)
}

func appendAddrNoPort(dst []byte, a net.Addr) []byte {
	if ip, ok := filter.IP(a); ok {
		return ip.Addr().AppendTo(dst)
	}
	return appendAddr(dst, a)
}

// address makes an operator that prints a whole address.
func address(of func(moment) net.Addr) builder {
	return optional(func(dst []byte, m moment) ([]byte, bool) {
		a := of(m)
		if a == nil {
			return dst, false
		}
		return appendAddr(dst, a), true
	})
}

// withoutPort prints the IP address, or with a number of bits as its argument the
// network. What is no IP address prints whole, but nothing when a network is asked.
func withoutPort(of func(moment) net.Addr) builder {
	return func(a args) (operator, error) {
		bits, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(a.text), "+"))
		masked := err == nil // Envoy ignores anything else
		return operator{text: func(dst []byte, m moment) ([]byte, bool) {
			a := of(m)
			switch {
			case a == nil:
				return dst, false
			case masked:
				return appendNetwork(dst, a, bits), true
			}
			return appendAddrNoPort(dst, a), true
		}}, nil
	}
}

func appendNetwork(dst []byte, a net.Addr, bits int) []byte {
	ip, ok := filter.IP(a)
	if !ok || bits < 0 {
		return dst
	}
	p, err := ip.Addr().WithZone("").Prefix(min(bits, ip.Addr().BitLen()))
	if err != nil {
		return dst
	}
	return p.AppendTo(dst)
}

// port prints the port: nothing, and null in JSON, for an address without one.
func port(of func(moment) net.Addr) builder {
	known := func(dst []byte, m moment) ([]byte, bool) {
		if ip, ok := filter.IP(of(m)); ok {
			return strconv.AppendUint(dst, uint64(ip.Port()), 10), true
		}
		return dst, false
	}
	return func(args) (operator, error) {
		return operator{json: known, text: func(dst []byte, m moment) ([]byte, bool) {
			dst, _ = known(dst, m)
			return dst, of(m) != nil
		}}, nil
	}
}

func endpointID(of func(moment) net.Addr) builder {
	return optional(func(dst []byte, m moment) ([]byte, bool) {
		a := of(m)
		return append(dst, filter.EndpointID(a)...), a != nil
	})
}

// hosts prints the chosen host, or all that were tried, joined by commas.
func hosts(tried bool, one func([]byte, *filter.Host) []byte) builder {
	return optional(func(dst []byte, m moment) ([]byte, bool) {
		if all := m.Rest().UpTried; tried && len(all) > 0 {
			for i, h := range all {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = one(dst, h)
			}
			return dst, true
		}
		if m.Up.Host == nil {
			return dst, false
		}
		return one(dst, m.Up.Host), true
	})
}

func hostAddress(dst []byte, h *filter.Host) []byte       { return appendAddr(dst, h.Addr) }
func hostAddressNoPort(dst []byte, h *filter.Host) []byte { return appendAddrNoPort(dst, h.Addr) }

func hostName(dst []byte, h *filter.Host) []byte {
	if h.Hostname == "" {
		return appendAddr(dst, h.Addr)
	}
	return append(dst, h.Hostname...)
}

// hostNameNoPort cuts at the last colon that is not within brackets, whatever
// follows it: an internal address becomes "envoy", as in Envoy.
func hostNameNoPort(dst []byte, h *filter.Host) []byte {
	start := len(dst)
	dst = hostName(dst, h)
	n := string(dst[start:])
	if i := strings.LastIndexByte(n, ':'); i >= 0 && strings.LastIndexByte(n, ']') < i {
		return dst[:start+i]
	}
	return dst
}

// ParseIPPort reads "ip:port" or "[ip]:port" as original destinations are written.
func ParseIPPort(s string) (filter.IPAddr, bool) {
	a, err := netip.ParseAddrPort(s)
	return filter.IPAddr{AddrPort: a}, err == nil
}
