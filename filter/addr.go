package filter

import (
	"net"
	"net/netip"
)

// An IPAddr is one end of a TCP connection.
type IPAddr struct{ netip.AddrPort }

// Network returns "tcp".
func (IPAddr) Network() string { return "tcp" }

// A UnixAddr is a Unix domain socket; an abstract one starts with "@".
type UnixAddr struct{ Path string }

// Network returns "unix".
func (UnixAddr) Network() string { return "unix" }

// String returns the path.
func (a UnixAddr) String() string { return a.Path }

// An InternalAddr leads to a listener of the same process. Only Listener takes
// part in the lookup; Endpoint tells hosts of one listener apart.
type InternalAddr struct{ Listener, Endpoint string }

// Network returns "internal".
func (InternalAddr) Network() string { return "internal" }

// String returns the address as Envoy prints it: envoy://listener/endpoint, the
// second slash always there and nothing escaped, so it cannot be parsed back.
func (a InternalAddr) String() string { return "envoy://" + a.Listener + "/" + a.Endpoint }

// InternalClient is the address of every dialling end of an internal connection
// (Envoy: envoy://internal_client_address/).
var InternalClient net.Addr = InternalAddr{Listener: "internal_client_address"}

// IP returns the IP address and port of a, if it has one. An IPv4 address that an IPAddr
// writes as one of IPv6 stays so, as Envoy keeps what a PROXY protocol header says; a
// net.TCPAddr has no such difference.
func IP(a net.Addr) (netip.AddrPort, bool) {
	switch a := a.(type) {
	case IPAddr:
		return a.AddrPort, true
	case *net.TCPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), a != nil
	}
	return netip.AddrPort{}, false
}

// EndpointID returns the endpoint id of an internal address, else "".
func EndpointID(a net.Addr) string {
	if in, ok := a.(InternalAddr); ok {
		return in.Endpoint
	}
	return ""
}
