package compile

import (
	"net/netip"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

func TestDisabling(t *testing.T) {
	const yes, no = `{"any_match": true}`, `{"not_match": {"any_match": true}}`
	for _, c := range []struct {
		rule string
		port uint16 // 0: not an IP address
		want bool
	}{
		{yes, 1, true}, {yes, 0, true}, {no, 1, false},
		{`{"not_match": ` + no + `}`, 1, true},
		{`{"or_match": {"rules": [` + no + `,` + yes + `]}}`, 1, true},
		{`{"or_match": {"rules": [` + no + `,` + no + `]}}`, 1, false},
		{`{"and_match": {"rules": [` + yes + `,` + yes + `]}}`, 1, true},
		{`{"and_match": {"rules": [` + yes + `,` + no + `]}}`, 1, false},
		{`{"destination_port_range": {"start": 10, "end": 12}}`, 9, false},
		{`{"destination_port_range": {"start": 10, "end": 12}}`, 10, true},
		{`{"destination_port_range": {"start": 10, "end": 12}}`, 11, true},
		{`{"destination_port_range": {"start": 10, "end": 12}}`, 12, false},
		{`{"destination_port_range": {"start": -5, "end": 70000}}`, 65535, true},
		{`{"destination_port_range": {"start": -5, "end": 70000}}`, 0, true},
		{`{"destination_port_range": {"start": 12, "end": 10}}`, 11, false},
	} {
		m := new(listenerv3.ListenerFilterChainMatchPredicate)
		if err := protojson.Unmarshal([]byte(c.rule), m); err != nil {
			t.Fatal(err)
		}
		info := &filter.Info{Local: filter.InternalAddr{Listener: "in"}}
		if c.port > 0 {
			info.Local = filter.IPAddr{AddrPort: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), c.port)}
		}
		if got := disabling(extension.NewScope(new(extension.Report), nil, nil), m)(info); got != c.want {
			t.Errorf("%s of port %d: %v", c.rule, c.port, got)
		}
	}
}
