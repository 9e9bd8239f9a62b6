package originaldst_test

import (
	"cmp"
	"io"
	"net"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/ext/originaldst"
	"github.com/ginnel/ginnel/internal/state"
)

// TestInternal follows reference internal-listeners 3.6, each row seen on Envoy.
func TestInternal(t *testing.T) {
	for _, c := range []struct {
		name          string
		md            map[string]any // of the namespace
		state         map[string]string
		local, remote string // "": unchanged
	}{
		{"nothing", nil, nil, "", ""},
		{"metadata", map[string]any{"local": "10.0.0.1:80"}, nil, "10.0.0.1:80", ""},
		{"metadata v6", map[string]any{"local": "[::1]:1"}, nil, "[::1]:1", ""},
		{"metadata over state", map[string]any{"local": "10.0.0.1:80"}, map[string]string{state.OriginalLocalKey: "10.0.0.2:80"}, "10.0.0.1:80", ""},
		{"a word", map[string]any{"local": "word"}, map[string]string{state.OriginalLocalKey: "10.0.0.2:80"}, "", ""},
		{"no port", map[string]any{"local": "10.0.0.1"}, map[string]string{state.OriginalLocalKey: "10.0.0.2:80"}, "", ""},
		{"host and port", map[string]any{"local": "host:80"}, nil, "", ""},
		{"a number falls back", map[string]any{"local": 80.0}, map[string]string{state.OriginalLocalKey: "10.0.0.2:80"}, "10.0.0.2:80", ""},
		{"another field falls back", map[string]any{"other": "10.0.0.1:80"}, map[string]string{state.OriginalLocalKey: "10.0.0.2:80"}, "10.0.0.2:80", ""},
		{"metadata remote is not read", map[string]any{"remote": "10.0.0.1:80"}, nil, "", ""},
		{"state", nil, map[string]string{state.OriginalLocalKey: "10.0.0.2:80", state.OriginalRemoteKey: "[2001:db8::7]:9"}, "10.0.0.2:80", "[2001:db8::7]:9"},
		{"a bad local leaves the remote", map[string]any{"local": "word"}, map[string]string{state.OriginalRemoteKey: "10.0.0.3:9"}, "", "10.0.0.3:9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			here := filter.InternalAddr{Listener: "in", Endpoint: "e"}
			info := &filter.Info{Local: here, Remote: filter.InternalClient}
			if c.md != nil {
				s, err := structpb.NewStruct(c.md)
				if err != nil {
					t.Fatal(err)
				}
				info.MergeMetadata(filter.Metadata{originaldst.Namespace: s})
			}
			factories := state.NewFactories()
			for k, text := range c.state {
				o, ok := factories[k](text)
				if !ok {
					t.Fatalf("%s does not take %q", k, text)
				}
				info.State.Set(filter.Entry{Name: k, Object: o})
			}
			if err := (originaldst.Factory{}).Inspect(info, nil); err != nil {
				t.Fatal(err)
			}
			local, remote := here.String(), filter.InternalClient.String()
			if c.local != "" {
				local = c.local
			}
			if c.remote != "" {
				remote = c.remote
			}
			if info.Local.String() != local || info.Remote.String() != remote {
				t.Errorf("local %v, remote %v; want %v, %v", info.Local, info.Remote, local, remote)
			}
			if info.LocalRestored() != (c.local != "") {
				t.Errorf("LocalRestored is %v", info.LocalRestored())
			}
			if info.DirectLocal() != here || info.DirectRemote() != filter.InternalClient {
				t.Errorf("direct addresses changed: %v, %v", info.DirectLocal(), info.DirectRemote())
			}
		})
	}
}

// TestSocket: the socket is asked, and filter state alone moves no connection that came
// by one.
func TestSocket(t *testing.T) {
	here := filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:1")}
	for _, want := range []string{"", "127.0.0.1:1", "10.0.0.9:81"} {
		info := &filter.Info{Local: here, Remote: here}
		o, _ := state.NewFactories()[state.OriginalLocalKey]("10.0.0.2:80")
		info.State.Set(filter.Entry{Name: state.OriginalLocalKey, Object: o})
		if err := (originaldst.Factory{}).Inspect(info, accepted{redirected{to: want}}); err != nil {
			t.Fatal(err)
		}
		if got := info.Local.String(); got != cmp.Or(want, here.String()) || info.LocalRestored() != (want != "") || info.DirectLocal() != here {
			t.Errorf("%q: local is %v, restored %v, of %v", want, got, info.LocalRestored(), info.DirectLocal())
		}
	}
}

// accepted is a connection as the filter sees it.
type accepted struct{ stream filter.Stream }

func (accepted) Peek(int) ([]byte, error) { return nil, io.EOF }
func (accepted) Discard(int) error        { return nil }
func (a accepted) Stream() filter.Stream  { return a.stream }

// redirected is a socket that was going somewhere; "": nobody knows.
type redirected struct {
	filter.Stream
	to string
}

func (r redirected) OriginalDst() (net.Addr, bool) {
	if r.to == "" {
		return nil, false
	}
	return filter.IPAddr{AddrPort: netip.MustParseAddrPort(r.to)}, true
}
