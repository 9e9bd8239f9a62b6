package originalsrc_test

import (
	"testing"

	originalsrcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"net/netip"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/originalsrc"
)

func newFilter(t *testing.T, m proto.Message) filter.ListenerFilter {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	registry, report := &extension.Registry{}, &extension.Report{}
	originalsrc.Register(registry)
	resolve := func(a *anypb.Any) (proto.Message, error) { return a.UnmarshalNew() }
	c, ok := extension.Compile(extension.NewScope(report, registry, resolve), extension.ListenerFilter, packed)
	if !ok || len(report.Issues) > 0 {
		t.Fatal(report.Issues)
	}
	f, err := c.NewListenerFilter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The address is the one that other filters have restored, without its port; a client
// without an IP address leaves the choice to the cluster.
func TestSource(t *testing.T) {
	f := newFilter(t, &originalsrcv3.OriginalSrc{Mark: 7, BindPort: true})
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
