package upstream

import (
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

func TestSocketTo(t *testing.T) {
	option := []plan.SocketOption{{Level: 1, Name: 9, Int: 1}}
	v4, v6 := netip.MustParseAddrPort("127.0.0.9:0"), netip.MustParseAddrPort("[::1]:0")
	for name, x := range map[string]struct {
		bind    *plan.BindConfig
		to      string
		want    string // the source; "": the system chooses
		options int
	}{
		"nothing":           {nil, "127.0.0.1:1", "", 0},
		"options alone":     {&plan.BindConfig{Options: option}, "127.0.0.1:1", "", 1},
		"the only one":      {&plan.BindConfig{Sources: []plan.BindSource{{Addr: v4}}}, "[::1]:1", "127.0.0.9:0", 0},
		"first, its family": {&plan.BindConfig{Sources: []plan.BindSource{{Addr: v4}, {Addr: v6, Options: option}}}, "127.0.0.1:1", "127.0.0.9:0", 0},
		"second":            {&plan.BindConfig{Sources: []plan.BindSource{{Addr: v4}, {Addr: v6, Options: option}}}, "[::2]:1", "[::1]:0", 1},
		"mapped":            {&plan.BindConfig{Sources: []plan.BindSource{{Addr: v6}, {Addr: v4, Options: option}}}, "[::ffff:127.0.0.1]:1", "127.0.0.9:0", 1},
		"Unix":              {&plan.BindConfig{Sources: []plan.BindSource{{Addr: v4, Options: option}}}, "", "", 0},
	} {
		c := &Cluster{sockets: socketOptions(&plan.Cluster{Bind: x.bind})}
		o := c.socketTo(filter.UnixAddr{Path: "/x"})
		if x.to != "" {
			o = c.socketTo(filter.IPAddr{AddrPort: netip.MustParseAddrPort(x.to)})
		}
		source := ""
		if o.Source != nil {
			source = o.Source.String()
		}
		if source != x.want || len(o.Options) != x.options {
			t.Errorf("%s: from %q with %d options, want %q with %d", name, source, len(o.Options), x.want, x.options)
		}
	}
}
