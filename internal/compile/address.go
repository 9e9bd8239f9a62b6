package compile

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// address compiles an address that is bound.
func address(s *extension.Scope, a *corev3.Address) (plan.Address, bool) {
	switch x := a.GetAddress().(type) {
	case *corev3.Address_SocketAddress:
		return socketAddress(s.Field("socket_address"), x.SocketAddress)
	case *corev3.Address_Pipe:
		return pipeAddress(s.Field("pipe"), x.Pipe)
	case *corev3.Address_EnvoyInternalAddress:
		s.Field("envoy_internal_address").Errorf("an internal address cannot be bound; expected socket_address or pipe")
	default:
		s.Errorf("one of socket_address and pipe is required")
	}
	return plan.Address{}, false
}

func socketAddress(s *extension.Scope, a *corev3.SocketAddress) (plan.Address, bool) {
	boundFields.Check(s, resolved(s, a))
	ip, ok := parseIP(s.Field("address"), a.GetAddress())
	port := a.GetPortValue()
	if port > 65535 {
		s.Field("port_value").Errorf("%d is not a port", port)
		ok = false
	}
	if a.GetIpv4Compat() && ip.IsValid() && !ip.Is4In6() && ip.WithZone("") != netip.IPv6Unspecified() {
		s.Field("ipv4_compat").Errorf("Only IPv6 address '::' or valid IPv4-mapped IPv6 address can set ipv4_compat: %s",
			netip.AddrPortFrom(ip, uint16(port)))
		ok = false
	}
	return plan.Address{Addr: netip.AddrPortFrom(ip, uint16(port)), V4Compat: a.GetIpv4Compat(), Namespace: a.GetNetworkNamespaceFilepath()}, ok
}

// resolved reports what would have to be looked up, as Envoy words it, and returns
// the address without it.
func resolved(s *extension.Scope, a *corev3.SocketAddress) *corev3.SocketAddress {
	rest := proto.CloneOf(a)
	if a.GetNamedPort() != "" {
		s.Field("named_port").Errorf("IP resolver can't handle port specifier type 4: use port_value")
		rest.PortSpecifier = nil
	}
	if r := a.GetResolverName(); r != "" && r != "envoy.ip" {
		s.Field("resolver_name").Errorf("Unknown address resolver: %s", r)
		rest.ResolverName = ""
	}
	return rest
}

func parseIP(s *extension.Scope, text string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		s.Errorf("malformed IP address: %s", text)
		return netip.Addr{}, false
	}
	return ip, true
}

// maxPipePath is the size of sun_path in sockaddr_un, with its final zero byte.
const maxPipePath = 108

func pipeAddress(s *extension.Scope, a *corev3.Pipe) (plan.Address, bool) {
	pipeFields.Check(s, a)
	path, abstract := a.GetPath(), strings.HasPrefix(a.GetPath(), "@")
	switch {
	case path == "":
		s.Field("path").Errorf("is required")
	case len(path) >= maxPipePath:
		s.Field("path").Errorf("Path %q exceeds maximum UNIX domain socket path size of %d", path, maxPipePath)
	case abstract && a.GetMode() != 0:
		s.Field("mode").Errorf("Cannot set mode for Abstract AF_UNIX sockets")
	default:
		return plan.Address{Path: path, Mode: a.GetMode()}, true
	}
	return plan.Address{}, false
}

// text is an address as Envoy prints it.
func text(a plan.Address) string {
	if a.Path != "" {
		return a.Path
	}
	return a.Addr.String()
}

// keepalive returns nil where keep-alive is off, which an explicit zero in any of
// its fields means (Envoy).
func keepalive(s *extension.Scope, k *corev3.TcpKeepalive) *plan.Keepalive {
	if k == nil {
		return nil
	}
	keepaliveFields.Check(s, k)
	p := &plan.Keepalive{}
	if v := k.GetKeepaliveProbes(); v != nil {
		if p.Probes = int(v.GetValue()); p.Probes == 0 {
			return nil
		}
	}
	if v := k.GetKeepaliveTime(); v != nil {
		if p.Time = time.Duration(v.GetValue()) * time.Second; p.Time == 0 {
			return nil
		}
	}
	if v := k.GetKeepaliveInterval(); v != nil {
		if p.Interval = time.Duration(v.GetValue()) * time.Second; p.Interval == 0 {
			return nil
		}
	}
	return p
}

// internalText is the address of an internal listener as Envoy prints it.
func internalText(name string) string { return fmt.Sprintf("envoy://%s/", name) }
