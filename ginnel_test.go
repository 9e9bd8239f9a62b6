package ginnel

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
)

func TestLife(t *testing.T) {
	var p Proxy
	if _, err := p.Dial(t.Context(), "internal", "x"); err == nil {
		t.Error("a proxy that was not started dials")
	}
	if err := p.Close(); err != nil {
		t.Errorf("closing what never started: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(ctx); err == nil {
		t.Error("started twice")
	}
	cancel()
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMaxHopsHasABound(t *testing.T) {
	p := &Proxy{MaxHops: 1 << 16}
	if err := p.Start(t.Context()); err == nil || err.Error() != "limit of 65536 internal hops: 65535 is the most" {
		t.Errorf("start: %v", err)
	}
	p = &Proxy{MaxHops: 1<<16 - 1}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Close()
}

func TestValidateNamesThePlace(t *testing.T) {
	p := &Proxy{Bootstrap: parse(t, "{}")}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	p.Bootstrap = parse(t, chainYAML(1, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}))
	p.Bootstrap.StaticResources.Clusters[0].Name = ""
	if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "static_resources.clusters[0].name") {
		t.Errorf("got %v", err)
	}
}

func TestDialRefused(t *testing.T) {
	p := run(t, &Proxy{})
	_, err := p.Dial(t.Context(), "internal", "nobody")
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, inproc.ErrNoListener) {
		t.Errorf("got %v", err)
	}
}

func TestListenTwice(t *testing.T) {
	p := run(t, &Proxy{})
	l, err := p.Listen("internal", "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Listen("internal", "a"); err == nil {
		t.Error("one name was taken twice")
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after close: %v", err)
	}
	again, err := p.Listen("internal", "a")
	if err != nil {
		t.Errorf("the name was not given back: %v", err)
	} else {
		again.Close()
	}
	if _, err := p.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("listened on another network")
	}
}

// A name of the configuration is taken, though it is one of a socket: with both of them no
// other configuration could be applied.
func TestListenTaken(t *testing.T) {
	p := run(t, &Proxy{Bootstrap: parse(t, chainYAML(1, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}))})
	for _, name := range []string{"street", "hop_1"} {
		if _, err := p.Listen("internal", name); err == nil {
			t.Errorf("the name of %s was taken", name)
		}
	}
}

// TestListenerEndsConnections: closing the listener ends what it accepted, and what
// nobody has accepted yet.
func TestListenerEndsConnections(t *testing.T) {
	p := run(t, &Proxy{})
	l, err := p.Listen("internal", "a")
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Dial(t.Context(), "internal", "a")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l.Close()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}
}

// TestThroughConfiguredListener dials a configured listener and is reached by a
// configured cluster; state and the path of hops come along.
func TestThroughConfiguredListener(t *testing.T) {
	everyWay(t, func(t *testing.T, w way) {
		p := run(t, w.use(&Proxy{Bootstrap: parse(t, `
static_resources:
  listeners:
  - name: passage
    internal_listener: {}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: passage
          cluster: app
  clusters:
  - name: app
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {envoy_internal_address: {server_listener_name: app, endpoint_id: e}}}
          metadata: {filter_metadata: {host: {color: green}}}
    transport_socket:
      name: envoy.transport_sockets.internal_upstream
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport
        passthrough_metadata: [{kind: {host: {}}, name: host}, {kind: {request: {}}, name: tenant}]
        transport_socket:
          name: envoy.transport_sockets.raw_buffer
          typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
`)}))
		l, err := p.Listen("internal", "app")
		if err != nil {
			t.Fatal(err)
		}
		tenant, _ := structpb.NewStruct(map[string]any{"name": "blue"})
		mutable := &box{"before"}
		ctx := WithPassthrough(t.Context(), &filter.Passthrough{
			Metadata: filter.Metadata{"tenant": tenant},
			State: []filter.Entry{
				{Name: "who", Object: text("me"), Sharing: filter.SharedTransitive},
				{Name: "box", Object: mutable, Sharing: filter.SharedTransitive},
				{Name: "once", Object: text("gone"), Sharing: filter.SharedOnce},
			},
		})
		c, err := p.Dial(ctx, "internal", "passage")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		info, ok := ConnInfo(s)
		if !ok {
			t.Fatal("no info")
		}
		if got := strings.Join(info.Path(), ">"); got != "passage>app" {
			t.Errorf("path %s", got)
		}
		if got := info.Metadata["host"].GetFields()["color"].GetStringValue(); got != "green" {
			t.Errorf("host metadata %q", got)
		}
		if got := info.Metadata["tenant"].GetFields()["name"].GetStringValue(); got != "blue" {
			t.Errorf("request metadata %q", got)
		}
		if who, ok := filter.Get[text](&info.State, "who"); !ok || who != "me" {
			t.Errorf("filter state %q", who)
		}
		// IL-82: the object itself travels, so what one side changes the other sees.
		if b, ok := filter.Get[*box](&info.State, "box"); !ok {
			t.Error("the mutable object did not arrive")
		} else if b.s = "after"; mutable.s != "after" {
			t.Error("a copy of the mutable object arrived")
		}
		if _, ok := info.State.Get("once"); ok {
			t.Error("what is shared once crossed two hops")
		}
		io.WriteString(c, "ping")
		c.(interface{ CloseWrite() error }).CloseWrite()
		if b, err := io.ReadAll(s); string(b) != "ping" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		io.WriteString(s, "pong")
		s.Close()
		if b, err := io.ReadAll(c); string(b) != "pong" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
	})
}

type text string

func (s text) Serialize() (string, bool) { return string(s), true }

type box struct{ s string }

func (b *box) Serialize() (string, bool) { return b.s, true }
