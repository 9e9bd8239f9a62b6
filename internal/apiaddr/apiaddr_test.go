package apiaddr

import (
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

func TestOf(t *testing.T) {
	if a := Of(filter.InternalAddr{Listener: "l", Endpoint: "e"}).GetEnvoyInternalAddress(); a.GetServerListenerName() != "l" || a.GetEndpointId() != "e" {
		t.Error(a)
	}
	if a := Of(filter.UnixAddr{Path: "/p"}).GetPipe(); a.GetPath() != "/p" {
		t.Error(a)
	}
	if a := Of(filter.IPAddr{AddrPort: netip.MustParseAddrPort("[::1]:9")}).GetSocketAddress(); a.GetAddress() != "::1" || a.GetPortValue() != 9 {
		t.Error(a)
	}
	if a := Of(nil); a != nil {
		t.Error(a)
	}
}
