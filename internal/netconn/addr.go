package netconn

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/ginnel/ginnel/filter"
	"golang.org/x/sys/unix"
)

// fromSockaddr returns sa as a filter.IPAddr or filter.UnixAddr. A v4-mapped address
// becomes the IPv4 address that it is.
func fromSockaddr(sa unix.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return filter.IPAddr{AddrPort: netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))}
	case *unix.SockaddrInet6:
		return ip6(sa.Addr, uint16(sa.Port), sa.ZoneId)
	case *unix.SockaddrUnix:
		return filter.UnixAddr{Path: sa.Name}
	}
	return filter.UnixAddr{}
}

func ip6(addr [16]byte, port uint16, zone uint32) filter.IPAddr {
	ip := netip.AddrFrom16(addr).Unmap()
	if zone != 0 && ip.Is6() {
		ip = ip.WithZone(zoneName(zone))
	}
	return filter.IPAddr{AddrPort: netip.AddrPortFrom(ip, port)}
}

func fromNetip(ap netip.AddrPort) filter.IPAddr {
	return filter.IPAddr{AddrPort: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}
}

// toSockaddr returns a for the kernel. The family is that of the socket it is for; an
// address of another one gets the error that bind(2) has for it.
func toSockaddr(a net.Addr, family int) (unix.Sockaddr, error) {
	if u, ok := a.(filter.UnixAddr); ok {
		return &unix.SockaddrUnix{Name: u.Path}, nil // a leading @ is understood
	}
	ap, ok := filter.IP(a)
	if !ok || !ap.IsValid() {
		return nil, fmt.Errorf("%v is not the address of a socket", a)
	}
	ip := ap.Addr()
	switch {
	case family == unix.AF_INET && !ip.Unmap().Is4():
		return nil, unix.EAFNOSUPPORT
	case family == unix.AF_INET:
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ip.Unmap().As4()}, nil
	case ip.Is4():
		return nil, unix.EINVAL
	}
	zone, err := zoneID(ip.Zone())
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), ZoneId: zone, Addr: ip.As16()}, nil
}

// family returns the address family of sockets for a.
func family(a net.Addr) (int, error) {
	if u, ok := a.(filter.UnixAddr); ok {
		if u.Path == "" {
			return 0, fmt.Errorf("the path of a Unix socket is empty")
		}
		return unix.AF_UNIX, nil
	}
	ap, ok := filter.IP(a)
	switch {
	case !ok || !ap.Addr().IsValid():
		return 0, fmt.Errorf("%v is not the address of a socket", a)
	case ap.Addr().Is4() || ap.Addr().Is4In6():
		return unix.AF_INET, nil
	}
	return unix.AF_INET6, nil
}

func zoneName(id uint32) string {
	if ifi, err := net.InterfaceByIndex(int(id)); err == nil {
		return ifi.Name
	}
	return fmt.Sprint(id)
}

func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index), nil
	}
	var id uint32
	if _, err := fmt.Sscan(zone, &id); err != nil {
		return 0, fmt.Errorf("no network interface %q", zone)
	}
	return id, nil
}
