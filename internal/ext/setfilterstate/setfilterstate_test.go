package setfilterstate_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/set_filter_state/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/setfilterstate"
	"github.com/ginnel/ginnel/internal/testcompile"
)

// compile compiles a configuration given as JSON and returns what was reported.
func compile[F any](t *testing.T, k extension.Kind[F], m proto.Message, text string) (F, []extension.Issue) {
	t.Helper()
	return testcompile.JSON(t, setfilterstate.Register, k, m, text)
}

func network(t *testing.T, text string) filter.Network {
	t.Helper()
	f, issues := compile(t, extension.NetworkFilter, &networkv3.Config{}, text)
	if len(issues) > 0 {
		t.Fatalf("unexpected: %v", issues)
	}
	n, err := f.NewNetwork(nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// next is the rest of the chain.
type next func(*filter.Conn) error

func (f next) ServeConn(c *filter.Conn) error { return f(c) }

func plain(info *filter.Info, key string) string {
	o, ok := info.State.Get(key)
	if !ok {
		return "(none)"
	}
	s, _ := o.Serialize()
	return s
}

// TestNetwork: the lists apply at their times, each value sees those before it, and
// everything is as the real Envoy did it (recorded by hand, see the values).
func TestNetwork(t *testing.T) {
	n := network(t, `{
		"on_new_connection": [
			{"object_key": "empty", "factory_key": "envoy.string", "format_string": {"text_format_source": {"inline_string": ""}}},
			{"object_key": "skip", "factory_key": "envoy.string", "skip_if_empty": true, "format_string": {"text_format_source": {"inline_string": ""}}},
			{"object_key": "dash", "factory_key": "envoy.string", "skip_if_empty": true, "format_string": {"text_format_source": {"inline_string": "%PROTOCOL%"}}},
			{"object_key": "omit", "factory_key": "envoy.string", "skip_if_empty": true, "format_string": {"omit_empty_values": true, "text_format_source": {"inline_string": "%PROTOCOL%"}}},
			{"object_key": "twice", "factory_key": "envoy.string", "read_only": true, "format_string": {"text_format": "one"}},
			{"object_key": "twice", "factory_key": "envoy.hashable_string", "format_string": {"text_format": "two"}, "shared_with_upstream": "TRANSITIVE"},
			{"object_key": "json", "factory_key": "envoy.string", "format_string": {"json_format": {"p": "%PROTOCOL%", "b": "%BYTES_SENT%"}}},
			{"object_key": "envoy.tcp_proxy.cluster", "format_string": {"text_format": "<%FILTER_STATE(twice:PLAIN)%> %DOWNSTREAM_REMOTE_ADDRESS%"}, "shared_with_upstream": "ONCE"},
			{"object_key": "envoy.tcp_proxy.per_connection_idle_timeout_ms", "format_string": {"text_format": "soon"}}
		],
		"on_downstream_tls_handshake": [
			{"object_key": "tls", "factory_key": "envoy.string", "format_string": {"text_format": "after %FILTER_STATE(dash:PLAIN)%"}}
		],
		"on_downstream_data": [
			{"object_key": "data", "factory_key": "envoy.string", "format_string": {"text_format": "%UPSTREAM_CLUSTER%"}}
		]}`)
	if p, ok := n.(filter.Passive); !ok || !p.Passive() {
		t.Error("the filter must leave the bytes to the pump")
	}
	c := &filter.Conn{Info: filter.Info{Remote: filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:7")}}}
	served := false
	err := n.WrapConn(next(func(c *filter.Conn) error {
		served = true
		want := map[string]string{
			"empty": "", "skip": "(none)", "dash": "-", "omit": "(none)", "twice": "two",
			"json":                    "{\"b\":0,\"p\":null}\n",
			"envoy.tcp_proxy.cluster": "<two> 127.0.0.1:7",
			"envoy.tcp_proxy.per_connection_idle_timeout_ms": "(none)",
			"tls": "after -", "data": "(none)",
		}
		got := make(map[string]string)
		for k := range want {
			got[k] = plain(&c.Info, k)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("at the new connection (-want +got):\n%s", d)
		}
		c.Info.Up.ClusterInfo = &filter.ClusterInfo{Name: "up"}
		return c.FirstData()
	})).ServeConn(c)
	if err != nil || !served {
		t.Fatalf("served %v, %v", served, err)
	}
	if got := plain(&c.Info, "data"); got != "up" {
		t.Errorf("at the first data: %q, want %q", got, "up")
	}
	var shared []string
	for _, e := range c.Info.State.Shared() {
		shared = append(shared, e.Name)
	}
	if d := cmp.Diff([]string{"envoy.tcp_proxy.cluster", "twice"}, shared); d != "" {
		t.Errorf("shared (-want +got):\n%s", d)
	}
}

// TestAwaitsNoData: without on_downstream_data nothing delays the first bytes.
func TestAwaitsNoData(t *testing.T) {
	n := network(t, `{"on_new_connection": [{"object_key": "envoy.string", "format_string": {"text_format": "x"}}]}`)
	c := &filter.Conn{}
	if err := n.WrapConn(next(func(*filter.Conn) error { return nil })).ServeConn(c); err != nil || c.AwaitsData() {
		t.Errorf("awaits data %v, %v", c.AwaitsData(), err)
	}
}

func TestListener(t *testing.T) {
	f, issues := compile(t, extension.ListenerFilter, &listenerv3.Config{},
		`{"on_accept": [{"object_key": "k", "factory_key": "envoy.string", "format_string": {"text_format": "%DOWNSTREAM_LOCAL_ADDRESS%"}}]}`)
	if len(issues) > 0 || f.Peeks() {
		t.Fatalf("issues %v, peeks %v", issues, f.Peeks())
	}
	l, err := f.NewListenerFilter(nil)
	if err != nil {
		t.Fatal(err)
	}
	info := &filter.Info{Local: filter.InternalAddr{Listener: "in"}}
	if err := l.Inspect(info, nil); err != nil {
		t.Fatal(err)
	}
	if got := plain(info, "k"); got != "envoy://in/" {
		t.Errorf("got %q", got)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ value, path, message string }{
		{`{"object_key": "no.such.key", "format_string": {"text_format": "x"}}`,
			"object_key", "'no.such.key' does not have an object factory"},
		{`{"object_key": "k", "factory_key": "nope", "format_string": {"text_format": "x"}}`,
			"factory_key", "'k' does not have an object factory"},
		{`{"object_key": "envoy.string"}`, "format_string", "is required"},
		{`{"format_string": {"text_format": "x"}}`, "object_key", "is required"},
		{`{"object_key": "envoy.string", "format_string": {"text_format": "%NOPE%"}}`,
			"format_string.text_format", "Not supported field in StreamInfo: NOPE"},
		{`{"object_key": "envoy.string", "format_string": {"json_format": {"a": ["%REQ%"]}}}`,
			"format_string.json_format.a[0]", "REQ requires parameters"},
	} {
		_, issues := compile(t, extension.NetworkFilter, &networkv3.Config{}, `{"on_new_connection": [`+c.value+`]}`)
		if len(issues) != 1 || issues[0].Path != "x.on_new_connection[0]."+c.path || issues[0].Message != c.message {
			t.Errorf("%s: %v", c.value, issues)
		}
	}
}
