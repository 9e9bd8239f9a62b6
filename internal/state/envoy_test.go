package state_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

func ip(s string) filter.IPAddr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }

func metadata(t testing.TB, text string) *corev3.Metadata {
	t.Helper()
	m := &corev3.Metadata{}
	if err := protojson.Unmarshal([]byte(`{"filter_metadata":`+text+`}`), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func object(t testing.TB, factory, text string) filter.Object {
	t.Helper()
	o, ok := state.NewFactories()[factory](text)
	if !ok {
		t.Fatalf("%s does not take %q", factory, text)
	}
	return o
}

// outerInfo, innerInfo and refusedInfo are the connections of the recording, see
// testdata/envoy-1.40.0/README.md.
func outerInfo(t testing.TB) *filter.Info {
	i := &filter.Info{
		ID:       0,
		ChainID:  0xc4a1,
		Listener: &filter.ListenerInfo{Name: "outer", Metadata: metadata(t, `{"lm":{"k":"listener md"}}`)},
		Chain:    &filter.ChainInfo{Name: "chain1", Metadata: metadata(t, `{"fm":{"k":"chain md"}}`)},
		Start:    time.Date(2026, 11, 21, 2, 57, 33, 14894000, time.UTC),
		Duration: 23739 * time.Microsecond,
		Local:    ip("127.0.0.1:10001"),
		Remote:   ip("127.0.0.1:50001"),
		Received: 5, Sent: 8,
		UpClose: filter.CloseNormal, UpAttempts: 1,
		Up: filter.Upstream{
			Host:   &filter.Host{Addr: filter.InternalAddr{Listener: "inner", Endpoint: "ep1"}, Metadata: metadata(t, `{"ns":{}}`)},
			Local:  filter.InternalClient,
			Remote: filter.InternalAddr{Listener: "inner", Endpoint: "ep1"},
			ID:     1,
			Begun:  396 * time.Microsecond, Ready: 396*time.Microsecond + 92439,
			Received: 8, Sent: 5,
			ClusterInfo: &filter.ClusterInfo{Name: "inner_c"},
		},
	}
	i.State.Set(filter.Entry{Name: "k.str", Object: object(t, "envoy.string", "string value"), Sharing: filter.SharedOnce})
	i.State.Set(filter.Entry{Name: "k.hs", Object: object(t, "envoy.hashable_string", `hash "value"`), Sharing: filter.SharedTransitive})
	i.State.Set(filter.Entry{Name: state.OriginalLocalKey, Object: object(t, state.OriginalLocalKey, "[2001:db8::1]:8443"), Sharing: filter.SharedTransitive})
	i.More().UpState = i.State.Shared()
	return i
}

func innerInfo(t testing.TB) *filter.Info {
	outer := outerInfo(t)
	i := &filter.Info{
		ID: 2, ChainID: outer.ChainID, Parent: outer, Depth: 1,
		Listener: &filter.ListenerInfo{Name: "inner"},
		Chain:    &filter.ChainInfo{},
		Start:    time.Date(2026, 11, 21, 2, 57, 33, 15145000, time.UTC),
		Duration: 22891 * time.Microsecond,
		Local:    filter.InternalAddr{Listener: "inner", Endpoint: "ep1"},
		Remote:   filter.InternalClient,
		Received: 5, Sent: 8,
		UpClose: filter.CloseNormal, UpAttempts: 1,
		Up: filter.Upstream{
			Host:  &filter.Host{Addr: ip("127.0.0.1:10003"), Hostname: "be.example:99", Metadata: metadata(t, `{"hm":{"k":"host md"}}`)},
			Local: ip("127.0.0.1:40001"), Remote: ip("127.0.0.1:10003"),
			ID:    3,
			Begun: 132 * time.Microsecond, Ready: 132*time.Microsecond + 69314,
			Received: 8, Sent: 5,
			ClusterInfo: &filter.ClusterInfo{Name: "backend", StatName: "alt-backend", Metadata: metadata(t, `{"cm":{"k":"cluster md"}}`)},
		},
	}
	i.RestoreLocal(ip("[2001:db8::1]:8443"))
	i.State.Import(outer.State.Shared())
	i.MergeMetadata(metadata(t, `{"ns":{"s":"str value","n":42,"l":["a",1,null,true],"o":{"k":"v","a":1.5,"t":true},
		"b":true,"z":null,"f":0.1,"q":"qu\"ote\\ \n\u00e9","big":12345678901234567890,"e":""}}`).FilterMetadata)
	i.More().UpState = i.State.Shared()
	return i
}

func refusedInfo(testing.TB) *filter.Info {
	i := &filter.Info{
		ID:         4,
		Listener:   &filter.ListenerInfo{Name: "refuse"},
		Chain:      &filter.ChainInfo{},
		Start:      time.Date(2026, 11, 21, 2, 57, 33, 36078000, time.UTC),
		Duration:   317 * time.Microsecond,
		Local:      ip("127.0.0.1:10002"),
		Remote:     ip("127.0.0.1:50002"),
		Up:         filter.Upstream{ClusterInfo: &filter.ClusterInfo{Name: "dead"}, Host: &filter.Host{Addr: ip("127.0.0.1:10004")}},
		UpAttempts: 1,
		UpClose:    filter.CloseNormal,
		Flags:      filter.UpstreamConnectionFailure | filter.UpstreamRetryLimitExceeded,
	}
	i.More().DownReason = "tcp_initializion_failure:0"
	i.More().UpFailure = "delayed_connect_error: Connection refused"
	return i
}

func recorded(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "envoy-1.40.0", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEnvoyLines prints the connections of a recording of the real Envoy with the
// same formats and wants the same bytes.
func TestEnvoyLines(t *testing.T) {
	t.Setenv("FOOENV", "foovalue")
	zone := time.Local
	time.Local = time.FixedZone("EST", -5*60*60) //nolint:reassign // the recording's zone
	defer func() { time.Local = zone }()

	var fields structpb.Struct
	if err := protojson.Unmarshal([]byte(recorded(t, "json.format")), &fields); err != nil {
		t.Fatal(err)
	}
	connections := []struct {
		name string
		info *filter.Info
		t    filter.AccessLogType
	}{
		{"outer", outerInfo(t), filter.TCPConnectionEnd},
		{"outer_listener", outerInfo(t), filter.NotSet},
		{"inner", innerInfo(t), filter.TCPConnectionEnd},
		{"refused", refusedInfo(t), filter.TCPConnectionEnd},
	}
	for _, omit := range []string{"", ".omit"} {
		o := state.Options{OmitEmpty: omit != ""}
		text, err := state.Compile(recorded(t, "text.format"), o)
		if err != nil {
			t.Fatal(err)
		}
		object, err := state.CompileJSON(&fields, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range connections {
			compare(t, c.name+omit+".txt", "\n", text.Append(nil, c.info, c.t))
			compare(t, c.name+omit+".json", `,"`, object.Append(nil, c.info, c.t))
		}
	}
	line, err := state.Compile(state.DefaultFormat, state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range connections {
		compare(t, c.name+".default", "\n", line.Append(nil, c.info, c.t))
	}
}

// compare reports the pieces that differ, not two whole lines.
func compare(t *testing.T, name, separator string, got []byte) {
	t.Helper()
	want := recorded(t, name)
	if string(got) == want {
		return
	}
	w, g := strings.Split(want, separator), strings.Split(string(got), separator)
	for i := range max(len(w), len(g)) {
		switch {
		case i >= len(w):
			t.Errorf("%s: too much: %q", name, g[i])
		case i >= len(g):
			t.Errorf("%s: missing: %q", name, w[i])
		case w[i] != g[i]:
			t.Errorf("%s: got %q, Envoy prints %q", name, g[i], w[i])
		}
	}
}
