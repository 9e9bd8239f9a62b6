package transport_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/proxyproto"
	"github.com/ginnel/ginnel/internal/stats/teststats"
	"github.com/ginnel/ginnel/internal/transport"
)

func addr(s string) net.Addr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }

// TestPreface: the client's header before its addresses; without IP addresses of one
// family, that they are not known; extensions that are too long are left out and counted.
func TestPreface(t *testing.T) {
	counts := teststats.New()
	all := proxyproto.CompilePassThrough(nil, nil)
	for _, c := range []struct {
		name          string
		version       int
		local, remote net.Addr
		said          *proxyproto.State
		want          string
	}{
		{"addresses", 1, addr("5.6.7.8:22"), addr("1.2.3.4:11"), nil, "PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\n"},
		{"said", 1, addr("5.6.7.8:22"), addr("1.2.3.4:11"), &proxyproto.State{Source: addr("[::1]:1"), Destination: addr("[::2]:2")}, "PROXY TCP6 ::1 ::2 1 2\r\n"},
		{"internal", 1, filter.InternalAddr{Listener: "in"}, filter.InternalClient, nil, "PROXY UNKNOWN\r\n"},
		{"internal 2", 2, filter.InternalAddr{Listener: "in"}, filter.InternalClient, nil, "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"},
		{"addresses 2", 2, addr("10.9.8.7:2222"), addr("10.1.2.3:1111"), nil, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x09\x08\x07\x04\x57\x08\xae"},
	} {
		info := &filter.Info{Local: c.local, Remote: c.remote}
		if c.said != nil {
			info.State.Set(filter.Entry{Name: proxyproto.StateKey, Object: c.said})
		}
		u := (&transport.ProxyProtocol{Inner: transport.Raw{}, Version: c.version, Pass: all}).NewUpstream(&extension.UpstreamEnv{Stats: counts})
		if got := u.(filter.Prefacer).Preface(nil)(info); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestHostTLVs: a host's own TLVs come before all others, also of their types; metadata of
// another kind is none.
func TestHostTLVs(t *testing.T) {
	for _, c := range []struct {
		own  proto.Message
		want string
	}{
		{&corev3.PerHostConfig{AddedTlvs: []*corev3.TlvEntry{{Type: 1, Value: []byte("h")}, {Type: 1, Value: []byte("i")}}}, "\x01\x00\x01h\x01\x00\x01i\x02\x00\x01s"},
		{&corev3.PerHostConfig{}, "\x01\x00\x01s\x02\x00\x01s"},
		{&structpb.Struct{}, "\x01\x00\x01s\x02\x00\x01s"},
	} {
		own, err := anypb.New(c.own)
		if err != nil {
			t.Fatal(err)
		}
		metadata := &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{"envoy.transport_sockets.proxy_protocol": own}}
		info := &filter.Info{Local: addr("5.6.7.8:22"), Remote: addr("1.2.3.4:11")}
		info.State.Set(filter.Entry{Name: proxyproto.StateKey, Object: &proxyproto.State{
			Source: info.Remote, Destination: info.Local, TLVs: []proxyproto.TLV{{Type: 1, Value: []byte("s")}, {Type: 2, Value: []byte("s")}},
		}})
		pass := proxyproto.CompilePassThrough(extension.NewScope(nil, nil, nil), &corev3.ProxyProtocolPassThroughTLVs{})
		u := (&transport.ProxyProtocol{Inner: transport.Raw{}, Version: 2, Pass: pass}).NewUpstream(&extension.UpstreamEnv{Stats: teststats.New()})
		got := u.(filter.Prefacer).Preface(metadata)(info)
		if at := len(got) - len(c.want); at < 0 || got[at:] != c.want {
			t.Errorf("%v: %q, want the end %q", c.own, got, c.want)
		}
	}
}

// TestWrap: the header is written before anything else, and the stream stays what it is;
// who does not take it is given up when the dialler is.
func TestWrap(t *testing.T) {
	u := (&transport.ProxyProtocol{Inner: transport.Raw{}, Version: 2}).NewUpstream(&extension.UpstreamEnv{Stats: teststats.New()})
	near, far := pipe.New(pipe.Options{LimitBytes: 1 << 10})
	defer near.Close()
	defer far.Close()
	s, err := u.Wrap(near, &filter.TransportOptions{Preface: "hello"}, time.Now().Add(time.Minute), nil)
	if err != nil || s != filter.Stream(near) {
		t.Fatal(s, err)
	}
	got := make([]byte, 9)
	if n, err := far.Read(got); err != nil || string(got[:n]) != "hello" {
		t.Fatalf("%q, %v", got[:n], err)
	}
	cancel := make(chan struct{})
	close(cancel)
	long := &filter.TransportOptions{Preface: strings.Repeat("x", 1<<16)}
	if _, err := u.Wrap(near, long, time.Time{}, cancel); !errors.Is(err, filter.ErrCanceled) {
		t.Errorf("given up: %v", err)
	}
}
