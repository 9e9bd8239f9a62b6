package originalsrc_test

import (
	"net/netip"
	"testing"

	originalsrcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/originalsrc"
	"github.com/ginnel/ginnel/internal/testcompile"
)

// The address is the one that other filters have restored, without its port; a client
// without an IP address leaves the choice to the cluster.
func TestSource(t *testing.T) {
	c, issues := testcompile.JSON(t, originalsrc.Register, extension.ListenerFilter, &originalsrcv3.OriginalSrc{}, `{"mark": 7, "bind_port": true}`)
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	f, err := c.NewListenerFilter(nil)
	if err != nil {
		t.Fatal(err)
	}
	peer := filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:9")}
	restored := filter.IPAddr{AddrPort: netip.MustParseAddrPort("[2001:db8::1]:80")}
	info := &filter.Info{Remote: peer}
	info.RestoreRemote(restored)
	if err := f.Inspect(info, nil); err != nil {
		t.Fatal(err)
	}
	if s := info.Rest().Source; s == nil || s.Addr.String() != "[2001:db8::1]:0" || s.Mark != 7 {
		t.Errorf("source %+v", s)
	}
	info = &filter.Info{Remote: filter.UnixAddr{Path: "/s"}}
	if err := f.Inspect(info, nil); err != nil || info.Rest().Source != nil {
		t.Errorf("source %+v, %v", info.Rest().Source, err)
	}
}
