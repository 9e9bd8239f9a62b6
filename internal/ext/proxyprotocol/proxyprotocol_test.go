package proxyprotocol_test

import (
	"errors"
	"io"
	"maps"
	"net/netip"
	"os"
	"testing"

	proxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/proxyprotocol"
	"github.com/ginnel/ginnel/internal/proxyproto"
	"github.com/ginnel/ginnel/internal/stats/teststats"
	"github.com/ginnel/ginnel/internal/testcompile"
)

func compile(t *testing.T, text string) (filter.ListenerFilterFactory, []extension.Issue) {
	t.Helper()
	return testcompile.JSON(t, proxyprotocol.Register, extension.ListenerFilter, &proxyv3.ProxyProtocol{}, text)
}

// arriving is bytes that come one by one, and then an end.
type arriving struct {
	bytes     string
	seen      int
	end       error
	discarded int
}

func (a *arriving) Peek(n int) ([]byte, error) {
	if n > len(a.bytes) {
		return []byte(a.bytes), a.end
	}
	a.seen = max(a.seen, n)
	return []byte(a.bytes[:a.seen]), nil
}

func (a *arriving) Discard(n int) error   { a.discarded += n; return nil }
func (a *arriving) Stream() filter.Stream { return nil }

func v2(t *testing.T, h proxyproto.Header) string {
	t.Helper()
	b, all := h.Append2(nil)
	if !all {
		t.Fatal("the TLVs do not fit")
	}
	return string(b)
}

// TestInspect: what becomes of connections, and the statistics, as the real Envoy has
// them (recorded by hand).
func TestInspect(t *testing.T) {
	header := proxyproto.Header{Source: netip.MustParseAddrPort("10.1.2.3:11"), Destination: netip.MustParseAddrPort("10.9.8.7:22")}
	two := v2(t, header)
	const one = "PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n"
	const old = "downstream_cx_proxy_proto_error"
	for _, c := range []struct {
		name, config, in string
		end              error
		denied           bool
		err              error // what is returned else
		local, remote    string
		stats            map[string]int64
	}{
		{name: "v1", in: one + "hi", local: "5.6.7.8:22", remote: "1.2.3.4:11", stats: map[string]int64{"proxy_proto.versions.v1.found": 1}},
		{name: "v2", in: two + "hi", local: "10.9.8.7:22", remote: "10.1.2.3:11", stats: map[string]int64{"proxy_proto.versions.v2.found": 1}},
		{name: "complete with the end", in: two, end: io.EOF, local: "10.9.8.7:22", remote: "10.1.2.3:11", stats: map[string]int64{"proxy_proto.versions.v2.found": 1}},
		{name: "LOCAL", in: v2(t, proxyproto.Header{Local: true}), stats: map[string]int64{"proxy_proto.versions.v2.found": 1}},
		{name: "UNKNOWN", in: "PROXY UNKNOWN\r\n", stats: map[string]int64{"proxy_proto.versions.v1.found": 1}},
		{name: "none", in: "0123456789abcdef", denied: true, stats: map[string]int64{"proxy_proto.not_found_disallowed": 1, old: 1}},
		{name: "malformed", in: "PROXY what\r\n", denied: true, stats: map[string]int64{"proxy_proto.versions.v1.error": 1, old: 1}},
		{name: "cut off", in: two[:20], end: io.EOF, err: io.EOF},
		{name: "silent", end: os.ErrDeadlineExceeded, err: os.ErrDeadlineExceeded},
		{name: "prefix", config: `{"stat_prefix": "p"}`, in: one, local: "5.6.7.8:22", remote: "1.2.3.4:11", stats: map[string]int64{"proxy_proto.p.versions.v1.found": 1}},
		{name: "optional", config: `{"allow_requests_without_proxy_protocol": true}`, in: "hi", stats: map[string]int64{"proxy_proto.not_found_allowed": 1}},
		{name: "optional, but begun", config: `{"allow_requests_without_proxy_protocol": true}`, in: "PRO", end: os.ErrDeadlineExceeded, err: os.ErrDeadlineExceeded},
		{name: "optional, and another word", config: `{"allow_requests_without_proxy_protocol": true}`, in: "PROXY\r\nhi", stats: map[string]int64{"proxy_proto.not_found_allowed": 1}},
		{name: "another word", in: "PROXY\tTCP4 1.2.3.4 5.6.7.8 11 22\r\n", denied: true, stats: map[string]int64{"proxy_proto.not_found_disallowed": 1, old: 1}},
		{name: "optional, and there", config: `{"allow_requests_without_proxy_protocol": true}`, in: one, local: "5.6.7.8:22", remote: "1.2.3.4:11", stats: map[string]int64{"proxy_proto.versions.v1.found": 1}},
		{name: "disallowed 1", config: `{"disallowed_versions": ["V1"]}`, in: one, denied: true, stats: map[string]int64{"proxy_proto.versions.v1.found": 1, "proxy_proto.versions.v1.disallowed": 1}},
		{name: "disallowed 2", config: `{"disallowed_versions": ["V2"]}`, in: two[:16], denied: true, stats: map[string]int64{"proxy_proto.versions.v2.found": 1, "proxy_proto.versions.v2.disallowed": 1}},
		{name: "disallowed is payload", config: `{"disallowed_versions": ["V2"], "allow_requests_without_proxy_protocol": true}`, in: two, stats: map[string]int64{"proxy_proto.not_found_allowed": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.config == "" {
				c.config = "{}"
			}
			factory, issues := compile(t, c.config)
			if len(issues) > 0 {
				t.Fatal(issues)
			}
			counts := teststats.New()
			f, err := factory.NewListenerFilter(&filter.Env{Stats: counts})
			if err != nil || !factory.Peeks() {
				t.Fatal(err)
			}
			at, from := filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:1")}, filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:2")}
			info := &filter.Info{Local: at, Remote: from}
			p := &arriving{bytes: c.in, end: c.end}
			err = f.Inspect(info, p)
			if c.denied != errors.Is(err, filter.ErrDenied) || !c.denied && !errors.Is(err, c.err) {
				t.Errorf("error %v", err)
			}
			local, remote := at.String(), from.String()
			if c.local != "" {
				local, remote = c.local, c.remote
			}
			if info.Local.String() != local || info.Remote.String() != remote || info.LocalRestored() != (c.local != "") || info.DirectRemote() != from {
				t.Errorf("addresses %v, %v; restored %v", info.Local, info.Remote, info.LocalRestored())
			}
			if c.stats == nil {
				c.stats = map[string]int64{}
			}
			counts.Want(t, c.stats)
		})
	}
}

// TestOptionalWaits: where headers are optional, no byte is waited for that is not needed
// to see that there is none.
func TestOptionalWaits(t *testing.T) {
	factory, _ := compile(t, `{"allow_requests_without_proxy_protocol": true}`)
	f, err := factory.NewListenerFilter(&filter.Env{Stats: teststats.New()})
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{"\r\nhi", "\r\n\r\nhi", "PROhi"} {
		p := &arriving{bytes: in + "more of it, much later"}
		if err := f.Inspect(&filter.Info{}, p); err != nil || p.seen != len(in)-1 {
			t.Errorf("%q: waited for %d bytes, %v", in, p.seen, err)
		}
	}
}

// TestConsumed: the header, and nothing else, is taken off the stream.
func TestConsumed(t *testing.T) {
	for in, want := range map[string]int{"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n": 15, "hi": 0} {
		factory, _ := compile(t, `{"allow_requests_without_proxy_protocol": true}`)
		f, err := factory.NewListenerFilter(&filter.Env{Stats: teststats.New()})
		if err != nil {
			t.Fatal(err)
		}
		p := &arriving{bytes: in}
		if err := f.Inspect(&filter.Info{}, p); err != nil || p.discarded != want {
			t.Errorf("%q: %d bytes consumed, %v", in, p.discarded, err)
		}
	}
}

// TestTLVs: metadata keeps the first of a type, and what was there; filter state has the
// last; what is passed on is chosen apart from that.
func TestTLVs(t *testing.T) {
	in := v2(t, proxyproto.Header{
		Source: netip.MustParseAddrPort("10.1.2.3:11"), Destination: netip.MustParseAddrPort("10.9.8.7:22"),
		TLVs: []proxyproto.TLV{
			{Type: 0xea, Value: []byte("value")}, {Type: 0xeb, Value: []byte("\xff\x00bin")}, {Type: 0xec, Value: []byte("a\xff\xc3\xa9")},
			{Type: 0xea, Value: []byte("second")}, {Type: 5},
		},
	})
	const rules = `"rules": [
		{"tlv_type": 234, "on_tlv_present": {"key": "ea"}},
		{"tlv_type": 236, "on_tlv_present": {"key": "ec"}},
		{"tlv_type": 235, "on_tlv_present": {"metadata_namespace": "ns", "key": "eb", "value_string_encoding": "BASE64"}}]`
	inspect := func(config string) *filter.Info {
		factory, issues := compile(t, config)
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		f, err := factory.NewListenerFilter(&filter.Env{Stats: teststats.New()})
		if err != nil {
			t.Fatal(err)
		}
		info := &filter.Info{}
		if err := f.Inspect(info, &arriving{bytes: in}); err != nil {
			t.Fatal(err)
		}
		return info
	}

	info := inspect(`{` + rules + `, "pass_through_tlvs": {"match_type": "INCLUDE", "tlv_type": [5, 235]}}`)
	want := map[string]map[string]any{
		proxyprotocol.Namespace: {"ea": "value", "ec": "a!é"},
		"ns":                    {"eb": "/wBiaW4="},
	}
	for ns, fields := range want {
		if got := info.Metadata[ns].AsMap(); !maps.Equal(got, fields) {
			t.Errorf("metadata %s: %v, want %v", ns, got, fields)
		}
	}
	st, ok := filter.Get[*proxyproto.State](&info.State, proxyproto.StateKey)
	if !ok || len(st.TLVs) != 2 || st.TLVs[0].Type != 0xeb || st.TLVs[1].Type != 5 || st.Source.String() != "10.1.2.3:11" {
		t.Errorf("state %+v", st)
	}

	info = inspect(`{` + rules + `, "tlv_location": "FILTER_STATE"}`)
	o, ok := info.State.Get(proxyprotocol.StateKey)
	if !ok || info.Metadata != nil {
		t.Fatalf("metadata %v", info.Metadata)
	}
	if text, _ := o.Serialize(); text != `{"ea":"second","eb":"/wBiaW4=","ec":"a!é"}` {
		t.Errorf("filter state %s", text)
	}
	if v, ok := o.(filter.Fielded).Field("ea"); !ok || v != "second" {
		t.Errorf("field %q", v)
	}
}

func TestErrors(t *testing.T) {
	for config, path := range map[string]string{
		`{"disallowed_versions": ["V1", "V2"]}`:                               "x.disallowed_versions",
		`{"rules": [{"tlv_type": 256, "on_tlv_present": {"key": "k"}}]}`:      "x.rules[0].tlv_type",
		`{"rules": [{"tlv_type": 1, "on_tlv_present": {}}]}`:                  "x.rules[0].on_tlv_present.key",
		`{"pass_through_tlvs": {"match_type": "INCLUDE", "tlv_type": [256]}}`: "x.pass_through_tlvs.tlv_type[0]",
	} {
		if _, issues := compile(t, config); len(issues) != 1 || issues[0].Path != path {
			t.Errorf("%s: %v", config, issues)
		}
	}
}
