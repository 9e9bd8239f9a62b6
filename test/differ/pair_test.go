package differ

import (
	"bufio"
	"bytes"
	"context"
	bits "encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/oracle"
	"github.com/ginnel/ginnel/test/proxy"
)

// The documents' pair of samples (configs/encapsulate_http_in_http2_connect.yaml and
// configs/terminate_http_in_http2_connect.yaml), with ports of its own, more than one kind
// of route, and a second way in whose requests are HTTP/2 inside the tunnel.
const (
	encapListeners = `
  - name: out
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains: [{filters: [{name: hcm, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
      stat_prefix: ingress_http, upgrade_configs: [{upgrade_type: websocket}],
      route_config: {virtual_hosts: [{name: local_service, domains: ["*"], routes: [
        {match: {prefix: /, headers: [{name: content-type, string_match: {prefix: application/grpc}}]}, route: {cluster: encap_cluster_h2, timeout: 0s}},
        {match: {prefix: /}, route: {cluster: encap_cluster, timeout: 0s}}]}]},
      http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}]}]
  - name: encap
    internal_listener: {}
    filter_chains: [{filters: [{name: tcp, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
      stat_prefix: encap, cluster: cluster_0, tunneling_config: {hostname: "host.com:443"}}}]}]`
	encapClusters = `
  - name: encap_cluster
    circuit_breakers: {thresholds: [{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}]}
    load_assignment: {cluster_name: e, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: encap}}}}]}]}
  - name: encap_cluster_h2
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}
    load_assignment: {cluster_name: e, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: encap}}}}]}]}
  - name: cluster_0
    circuit_breakers: {thresholds: [{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}]}
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}
    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {TERMINATE}}}]}]}`
	terminateListeners = `
  - name: terminate
    address: {AT}
    filter_chains: [{filters: [{name: hcm, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
      stat_prefix: terminate, http2_protocol_options: {allow_connect: true}, upgrade_configs: [{upgrade_type: CONNECT}],
      route_config: {virtual_hosts: [{name: local_service, domains: ["*"], routes: [
        {match: {connect_matcher: {}}, route: {cluster: decap_cluster, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}]}]},
      http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}]}]
  - name: decap
    internal_listener: {}
    filter_chains: [{filters: [{name: hcm, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
      stat_prefix: decap, upgrade_configs: [{upgrade_type: websocket}],
      route_config: {virtual_hosts: [{name: local_service, domains: ["*"], routes: [
        {match: {path: /}, direct_response: {status: 200, body: {inline_string: "Hello, world!\n"}}},
        {match: {prefix: /}, route: {cluster: backend, timeout: 0s}}]}]},
      http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}]}]`
	terminateClusters = `
  - name: decap_cluster
    circuit_breakers: {thresholds: [{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}]}
    load_assignment: {cluster_name: d, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: decap}}}}]}]}
  - name: backend
    circuit_breakers: {thresholds: [{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}]}
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, use_downstream_protocol_config: {http_protocol_options: {}, http2_protocol_options: {}}}}
    load_assignment: {cluster_name: b, endpoints: [{lb_endpoints: [{endpoint: {address: {BACKEND}}}]}]}`
	internalListeners = `
bootstrap_extensions: [{name: envoy.bootstrap.internal_listener, typed_config: {
  "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}]`
)

func bootstrap(listeners, clusters string) string {
	return "static_resources:\n  listeners:" + listeners + "\n  clusters:" + clusters + internalListeners
}

func socketAddress(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return fmt.Sprintf("socket_address: {address: %s, port_value: %s}", host, port)
}

// A pair is both ends of the tunnel: two processes, or one.
type pair struct {
	outer, inner *proxy.Proxy
	addr         string // of the way in
	backend      *backend
}

// TestPair sends what HTTP is used for through GETs in CONNECT.
func TestPair(t *testing.T) {
	ginnel := proxy.Build(t)
	t.Run("one process", func(t *testing.T) { testPair(t, onePair(t, ginnel)) })
	t.Run("ginnel to ginnel", func(t *testing.T) { testPair(t, twoPair(t, ginnel, ginnel)) })
	envoy, err := oracle.Find(*from, t.TempDir())
	if errors.Is(err, oracle.ErrNone) {
		t.Skipf("%v: no pairs with it", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Run("ginnel to Envoy", func(t *testing.T) { testPair(t, twoPair(t, ginnel, envoy)) })
	t.Run("Envoy to ginnel", func(t *testing.T) { testPair(t, twoPair(t, envoy, ginnel)) })
}

func onePair(t *testing.T, bin string) *pair {
	b := newBackend(t)
	link := "pipe: {path: '" + t.TempDir() + "/link'}"
	listeners := encapListeners + strings.ReplaceAll(terminateListeners, "AT", link)
	clusters := strings.ReplaceAll(encapClusters, "TERMINATE", link) + strings.ReplaceAll(terminateClusters, "BACKEND", socketAddress(b.addr))
	p := proxy.Start(t, bin, bootstrap(listeners, clusters))
	return &pair{outer: p, inner: p, addr: p.Addr("out"), backend: b}
}

func twoPair(t *testing.T, outer, inner string) *pair {
	b := newBackend(t)
	in := proxy.Start(t, inner, bootstrap(strings.ReplaceAll(terminateListeners, "AT", socketAddress("127.0.0.1:0")),
		strings.ReplaceAll(terminateClusters, "BACKEND", socketAddress(b.addr))))
	out := proxy.Start(t, outer, bootstrap(encapListeners, strings.ReplaceAll(encapClusters, "TERMINATE", socketAddress(in.Addr("terminate")))))
	return &pair{outer: out, inner: in, addr: out.Addr("out"), backend: b}
}

func testPair(t *testing.T, p *pair) {
	for _, h2 := range []bool{false, true} {
		client := newClient(t, h2)
		name := map[bool]string{false: "HTTP1", true: "HTTP2"}[h2]
		t.Run("hello/"+name, func(t *testing.T) { p.hello(t, client) })
		t.Run("echo/"+name, func(t *testing.T) { p.echo(t, client, 1<<20) })
		t.Run("parallel/"+name, func(t *testing.T) { p.parallel(t, client) })
		t.Run("abort/"+name, func(t *testing.T) { p.abort(t, client) })
	}
	t.Run("websocket", p.websocket)
	t.Run("gRPC", p.grpc)
	t.Run("nothing left", p.settled)
}

func newClient(t *testing.T, h2 bool) *http.Client {
	tr := transport(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

func transport(h2 bool) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	return &http.Transport{Protocols: &protocols, MaxIdleConnsPerHost: 100}
}

func (p *pair) hello(t *testing.T, c *http.Client) {
	resp, err := c.Get("http://" + p.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(b) != "Hello, world!\n" {
		t.Errorf("%s, %q, %v", resp.Status, b, err)
	}
}

// echo sends a body that comes back while it is sent.
func (p *pair) echo(t *testing.T, c *http.Client, size int) {
	sent := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(sent)
	resp, err := c.Post("http://"+p.addr+"/echo", "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back as they were sent: %v, %v", len(got), size, bytes.Equal(got, sent), err)
	}
}

func (p *pair) parallel(t *testing.T, c *http.Client) {
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { p.echo(t, c, 40<<10) })
	}
	wg.Wait()
}

// abort has clients leave: while they wait, while they send and while they read.
func (p *pair) abort(t *testing.T, c *http.Client) {
	var wg sync.WaitGroup
	for i := range 30 {
		ctx, cancel := context.WithCancel(context.Background())
		wg.Go(func() {
			defer cancel()
			path, body := "/hang", io.Reader(nil)
			switch i % 3 {
			case 1:
				path, body = "/hang", endless{}
			case 2:
				path = "/endless"
			}
			r, err := http.NewRequestWithContext(ctx, "POST", "http://"+p.addr+path, body)
			if err != nil {
				t.Error(err)
				return
			}
			time.AfterFunc(100*time.Millisecond, cancel)
			resp, err := c.Do(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		})
	}
	wg.Wait()
	p.idle(t)
}

// idleWithin is far more than it takes, and less than any timer that would end what was
// forgotten.
const idleWithin = 4 * time.Second

// idle waits until nobody serves a request any more.
func (p *pair) idle(t *testing.T) {
	t.Helper()
	proxy.Poll(t, idleWithin, func() error {
		out, err := p.outer.Stats()
		if err != nil {
			return err
		}
		in, err := p.inner.Stats()
		if err != nil {
			return err
		}
		tunnels := out["cluster.encap_cluster.upstream_cx_active"] + out["cluster.encap_cluster_h2.upstream_cx_active"]
		for name, got := range map[string][2]int{
			"requests at the backend":       {int(p.backend.active.Load()), 0},
			"requests at the way in":        {out["http.ingress_http.downstream_rq_active"], 0},
			"requests to the encapsulator":  {out["cluster.encap_cluster.upstream_rq_active"] + out["cluster.encap_cluster_h2.upstream_rq_active"], 0},
			"streams of CONNECT, outside":   {out["cluster.cluster_0.upstream_rq_active"], tunnels},
			"streams of CONNECT, inside":    {in["http.terminate.downstream_rq_active"], tunnels},
			"connections out of CONNECT":    {in["cluster.decap_cluster.upstream_cx_active"], tunnels},
			"connections that were carried": {in["http.decap.downstream_cx_active"], tunnels},
			"requests that were carried":    {in["http.decap.downstream_rq_active"], 0},
			"requests to the backend":       {in["cluster.backend.upstream_rq_active"], 0},
		} {
			if got[0] != got[1] {
				return fmt.Errorf("%s: %d, want %d", name, got[0], got[1])
			}
		}
		return nil
	})
}

func (p *pair) settled(t *testing.T) { p.idle(t) }

// websocket upgrades a connection, exchanges bytes, and leaves.
func (p *pair) websocket(t *testing.T) {
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "GET /websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%+v, %v", resp, err)
	}
	sent := make([]byte, 300<<10)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(sent)
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() { _, _ = c.Write(sent) })
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("what came back is what was sent: %v, %v", bytes.Equal(got, sent), err)
	}
	writer.Wait()
	c.Close()
	p.idle(t)
}

// grpc makes a bidirectional call: each message is answered before the next one is sent,
// and the status comes in the trailers.
func (p *pair) grpc(t *testing.T) {
	client := newClient(t, true)
	out, in := io.Pipe()
	r, err := http.NewRequest("POST", "http://"+p.addr+"/pkg.Service/Echo", out)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("content-type", "application/grpc")
	r.Header.Set("te", "trailers")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 50 {
		sent := message(i * 400)
		if _, err := in.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	in.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%d bytes after the last message, %v", len(rest), err)
	}
	if s := resp.Trailer.Get("grpc-status"); s != "0" {
		t.Errorf("grpc-status %q", s)
	}
	p.grpcRefused(t, client)
}

// grpcRefused makes a call that ends with its head.
func (p *pair) grpcRefused(t *testing.T, client *http.Client) {
	r, err := http.NewRequest("POST", "http://"+p.addr+"/pkg.Service/Unknown", bytes.NewReader(message(3)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("content-type", "application/grpc")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if s := resp.Header.Get("grpc-status"); s != "12" {
		t.Errorf("grpc-status %q of an unknown method", s)
	}
}

// message is one of gRPC with n bytes.
func message(n int) []byte {
	b := make([]byte, 5+n)
	bits.BigEndian.PutUint32(b[1:], uint32(n))
	for i := range n {
		b[5+i] = byte(i)
	}
	return b
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A backend is the service behind the tunnel.
type backend struct {
	addr   string
	active atomic.Int32 // requests under way
}

func newBackend(t *testing.T) *backend {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{addr: l.Addr().String()}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: http.HandlerFunc(b.serve), Protocols: &protocols}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return b
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	b.active.Add(1)
	defer b.active.Add(-1)
	flow := http.NewResponseController(w)
	switch r.URL.Path {
	case "/websocket":
		b.websocket(w, r)
	case "/hang":
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	case "/endless":
		_, _ = io.Copy(w, endless{})
	case "/echo":
		_ = flow.EnableFullDuplex()
		_, _ = io.Copy(flushing{w, flow}, r.Body)
	case "/pkg.Service/Echo":
		w.Header().Set("content-type", "application/grpc")
		w.Header().Set("trailer", "grpc-status")
		w.WriteHeader(200)
		_ = flow.Flush()
		_, _ = io.Copy(flushing{w, flow}, r.Body)
		w.Header().Set("grpc-status", "0")
	default:
		w.Header().Set("content-type", "application/grpc")
		w.Header().Set("grpc-status", "12")
	}
}

func (b *backend) websocket(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil || r.Header.Get("upgrade") != "websocket" {
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
	_, _ = io.Copy(c, rw)
}

// flushing sends every piece at once.
type flushing struct {
	io.Writer
	flow *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.flow.Flush()
	}
	return n, err
}
