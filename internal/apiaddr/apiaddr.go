// Package apiaddr writes addresses as Envoy's API has them.
package apiaddr

import (
	"net"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
)

// Of returns a as a message; nil: it is none of the kinds that the API knows.
func Of(a net.Addr) *corev3.Address {
	switch a := a.(type) {
	case filter.InternalAddr:
		return &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
			AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: a.Listener},
			EndpointId:           a.Endpoint,
		}}}
	case filter.UnixAddr:
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: a.Path}}}
	}
	ip, ok := filter.IP(a)
	if !ok {
		return nil
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip.Addr().String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(ip.Port())},
	}}}
}
