package compile

import (
	"net"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

func addr(a *corev3.Address) plan.Address {
	if pp := a.GetPipe(); pp != nil {
		return plan.Address{Path: pp.Path, Mode: pp.Mode}
	}
	sa := a.GetSocketAddress()
	ip, _ := netip.ParseAddr(sa.GetAddress())
	return plan.Address{Addr: netip.AddrPortFrom(ip, uint16(sa.GetPortValue())), V4Compat: sa.GetIpv4Compat(), ReusePort: true}
}

func naddr(a *corev3.Address) net.Addr {
	if in := a.GetEnvoyInternalAddress(); in != nil {
		return filter.InternalAddr{Listener: in.GetServerListenerName(), Endpoint: in.EndpointId}
	}
	p := addr(a)
	if p.Path != "" {
		return filter.UnixAddr{Path: p.Path}
	}
	return filter.IPAddr{AddrPort: p.Addr}
}
