package matcher

import (
	"net"
	"net/netip"
	"reflect"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// TestMappedAddress: an IPv4 address that a PROXY protocol header writes as one of IPv6
// stays so, as for Envoy 1.40.0; as the operating system gives it, it is one of IPv4.
func TestMappedAddress(t *testing.T) {
	for _, c := range []struct {
		addr net.Addr
		want string
	}{
		{filter.IPAddr{AddrPort: netip.MustParseAddrPort("[::ffff:10.1.2.3]:5")}, "::ffff:10.1.2.3"},
		{filter.IPAddr{AddrPort: netip.MustParseAddrPort("[fe80::1%1]:5")}, "fe80::1"},
		{&net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 5}, "10.1.2.3"},
	} {
		read := ipOf(func(i *filter.Info) net.Addr { return i.Remote })
		if got, want := read(&filter.Info{Remote: c.addr}), Address(netip.MustParseAddr(c.want)); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %v, want %v", c.addr, got, want)
		}
	}
}
