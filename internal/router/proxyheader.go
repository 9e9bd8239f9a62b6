package router

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/ginnel/ginnel/filter"
)

// proxyHeader is the PROXY header, of version 1 or 2, that tells a host the addresses of
// the client's connection.
func proxyHeader(version int, i *filter.Info) []byte {
	from, ok := filter.IP(i.Remote)
	to, both := filter.IP(i.Local)
	if !ok || !both {
		from = netip.AddrPort{} // neither of them says anything
	} else {
		from, to = alike(from, to)
	}
	if version == 1 {
		return proxyText(from, to)
	}
	return proxyBinary(from, to)
}

// alike makes two addresses of one family: a header has room for one.
func alike(a, b netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	x, y := a.Addr().Unmap().WithZone(""), b.Addr().Unmap().WithZone("")
	if x.Is4() != y.Is4() {
		x, y = netip.AddrFrom16(x.As16()), netip.AddrFrom16(y.As16())
	}
	return netip.AddrPortFrom(x, a.Port()), netip.AddrPortFrom(y, b.Port())
}

func proxyText(from, to netip.AddrPort) []byte {
	if !from.IsValid() {
		return []byte("PROXY UNKNOWN\r\n")
	}
	family := "TCP6"
	if from.Addr().Is4() {
		family = "TCP4"
	}
	return fmt.Appendf(nil, "PROXY %s %s %s %d %d\r\n", family, from.Addr(), to.Addr(), from.Port(), to.Port())
}

func proxyBinary(from, to netip.AddrPort) []byte {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n")
	if !from.IsValid() {
		return append(b, 0x20, 0, 0, 0) // LOCAL
	}
	family := byte(0x21)
	if from.Addr().Is4() {
		family = 0x11
	}
	a, z := from.Addr().AsSlice(), to.Addr().AsSlice()
	b = append(b, 0x21, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(a)+len(z)+4))
	b = append(append(b, a...), z...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, from.Port()), to.Port())
}
