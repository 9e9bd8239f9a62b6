package ginnel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/origin"
)

// A tunnelShape is a way through a proxy that has a tunnel in its middle: internal
// listeners before it and behind it, and between its two ends a socket or an internal
// listener.
type tunnelShape struct {
	h2, internal bool
	hops         int  // before the tunnel, and as many behind it
	http         bool // a connection manager, in an internal listener, leads to the backend
}

func (s tunnelShape) String() string {
	return fmt.Sprintf("h2=%v,internal=%v,hops=%d", s.h2, s.internal, s.hops)
}

const (
	explicitHTTP2 = `typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}`
	tcpType       = `"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`
	hcmType       = `"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`
	routerFilter  = `http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]`
	connectRoute  = `{match: {connect_matcher: {}}, route: {cluster: %s, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}`
)

func hcm(prefix, route string) string {
	return fmt.Sprintf(`{%s, stat_prefix: %s, upgrade_configs: [{upgrade_type: CONNECT}], route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [%s]}]}, %s}`,
		hcmType, prefix, route, routerFilter)
}

func tcp(cluster, more string) string {
	return fmt.Sprintf("{%s, stat_prefix: %s, cluster: %s%s}", tcpType, cluster, cluster, more)
}

// A yamlProxy collects listeners and clusters.
type yamlProxy struct{ listeners, clusters strings.Builder }

func (y *yamlProxy) listener(name, where, filter string) {
	fmt.Fprintf(&y.listeners, "  - {name: %s, %s, filter_chains: [{filters: [{name: f, typed_config: %s}]}]}\n", name, where, filter)
}

const (
	onSocket   = "address: {socket_address: {address: 127.0.0.1, port_value: 0}}"
	internally = "internal_listener: {}"
)

func (y *yamlProxy) cluster(name, address, more string) {
	if more != "" {
		more = ", " + more
	}
	fmt.Fprintf(&y.clusters, "  - {name: %[1]s, load_assignment: {cluster_name: %[1]s, endpoints: [{lb_endpoints: [{endpoint: {address: {%[2]s}}}]}]}%[3]s}\n", name, address, more)
}

func (y *yamlProxy) String() string {
	return "static_resources:\n  listeners:\n" + y.listeners.String() + "  clusters:\n" + y.clusters.String() +
		"bootstrap_extensions: [{name: i, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}]\n"
}

func listenerAddress(name string) string {
	return "envoy_internal_address: {server_listener_name: " + name + "}"
}

func socketAddress(a net.Addr) string {
	host, port, _ := net.SplitHostPort(a.String())
	return fmt.Sprintf("socket_address: {address: %s, port_value: %s}", host, port)
}

// hops adds n internal listeners, and returns the address of the first of them; the last
// one leads to address.
func (y *yamlProxy) hops(prefix string, n int, address string) string {
	for i := n; i > 0; i-- {
		name := fmt.Sprintf("%s_%d", prefix, i)
		y.cluster("to_"+name, address, "")
		y.listener(name, internally, tcp("to_"+name, ""))
		address = listenerAddress(name)
	}
	return address
}

// start runs the two ends of the tunnel, in one proxy or two. The way in is the listener
// "street" of p.
func (s tunnelShape) start(t *testing.T, backend net.Addr, w way) (p *Proxy, stop func()) {
	t.Helper()
	stopFar := func() {}
	var y yamlProxy
	options, link := "", onSocket
	if s.h2 {
		options = explicitHTTP2
	}
	if s.internal {
		link = internally
	}
	far := &y
	if !s.internal {
		far = &yamlProxy{}
	}
	target := socketAddress(backend)
	if s.http {
		far.cluster("origin", target, "")
		far.listener("decap", internally, hcm("decap", "{match: {prefix: /}, route: {cluster: origin}}"))
		target = listenerAddress("decap")
	}
	far.cluster("target", far.hops("behind", s.hops, target), "")
	far.listener("terminate", link, hcm("terminate", fmt.Sprintf(connectRoute, "target")))
	terminate := listenerAddress("terminate")
	if !s.internal {
		p := run(t, w.use(&Proxy{Bootstrap: parse(t, far.String())}))
		terminate, stopFar = socketAddress(p.Addr("terminate")), func() { p.Close() }
	}
	y.cluster("tunnel", terminate, options)
	y.listener("encap", internally, tcp("tunnel", `, tunneling_config: {hostname: "host.example:443"}`))
	first := y.hops("before", s.hops, listenerAddress("encap"))
	y.cluster("first", first, "")
	y.listener("street", onSocket, tcp("first", ""))
	p = run(t, w.use(&Proxy{Bootstrap: parse(t, y.String())}))
	return p, func() { p.Close(); stopFar() }
}

func everyShape(t *testing.T, f func(t *testing.T, s tunnelShape, w way)) {
	everyWay(t, func(t *testing.T, w way) {
		for _, h2 := range []bool{true, false} {
			for _, internal := range []bool{true, false} {
				for _, hops := range []int{0, 1, 3} {
					s := tunnelShape{h2: h2, internal: internal, hops: hops}
					t.Run(s.String(), func(t *testing.T) { f(t, s, w) })
				}
			}
		}
	})
}

// TestTunnelEnds tells the three ends apart, at either end of tunnels.
func TestTunnelEnds(t *testing.T) {
	everyShape(t, func(t *testing.T, s tunnelShape, w way) {
		accepted := make(chan *net.TCPConn)
		backend := acceptAll(t, accepted)
		before := leftovers()
		p, stop := s.start(t, backend, w)
		for _, size := range []int{1, 300 << 10} {
			data := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			for name, story := range tunnelStories {
				for _, upstreamFirst := range []bool{false, true} {
					a, b := net.Conn(dial(t, p)), net.Conn(nil)
					select {
					case c := <-accepted:
						b = c
					case <-time.After(patience):
						t.Fatal("the backend was not connected")
					}
					if upstreamFirst {
						a, b = b, a
					}
					deadline := time.Now().Add(10 * time.Second)
					_ = a.SetDeadline(deadline)
					_ = b.SetDeadline(deadline)
					if err := story(a.(*net.TCPConn), b.(*net.TCPConn), data); err != nil {
						t.Errorf("%s, %d bytes, upstream first: %v: %v", name, size, upstreamFirst, err)
					}
					a.Close()
					b.Close()
				}
			}
		}
		stop()
		backTo(t, before)
	})
}

// acceptAll gives the connections away.
func acceptAll(t *testing.T, to chan<- *net.TCPConn) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case to <- c.(*net.TCPConn):
			case <-done:
				c.Close()
			}
		}
	})
	t.Cleanup(func() {
		close(done)
		l.Close()
		wg.Wait()
	})
	return l.Addr()
}

// tunnelStories are what a and b at the ends of a tunnel do; a acts first.
var tunnelStories = map[string]func(a, b *net.TCPConn, data []byte) error{
	"half closes": func(a, b *net.TCPConn, data []byte) error {
		return errors.Join(passes(a, b, data, (*net.TCPConn).CloseWrite, io.EOF), passes(b, a, data, (*net.TCPConn).CloseWrite, io.EOF))
	},
	"close": func(a, b *net.TCPConn, data []byte) error {
		err := passes(a, b, data, closes, io.EOF)
		return errors.Join(err, refuses(b))
	},
	"reset": func(a, b *net.TCPConn, data []byte) error {
		if err := passes(a, b, data, nil, nil); err != nil {
			return err
		}
		return passes(a, b, nil, resets, syscall.ECONNRESET)
	},
	"reset after half close": func(a, b *net.TCPConn, data []byte) error {
		if err := passes(a, b, data, (*net.TCPConn).CloseWrite, io.EOF); err != nil {
			return err
		}
		return passes(b, a, data, resets, syscall.ECONNRESET)
	},
}

func closes(c *net.TCPConn) error { return c.Close() }

func resets(c *net.TCPConn) error {
	if err := c.SetLinger(0); err != nil {
		return err
	}
	return c.Close()
}

// passes sends data from a to b, then ends a, and checks that b sees both. A reset may
// take back what the other side has not read.
func passes(a, b *net.TCPConn, data []byte, end func(*net.TCPConn) error, want error) error {
	var writer sync.WaitGroup
	var failed error
	writer.Go(func() {
		if _, failed = a.Write(data); failed == nil && end != nil {
			failed = end(a)
		}
	})
	defer writer.Wait()
	got := make([]byte, len(data))
	n, err := io.ReadFull(b, got)
	if want == syscall.ECONNRESET && errors.Is(err, want) {
		return nil
	}
	if err != nil || !bytes.Equal(got, data) {
		return fmt.Errorf("%d of %d bytes arrived: %w", n, len(data), err)
	}
	if want != nil {
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, want) {
			return fmt.Errorf("the end was %v, want %w", err, want)
		}
	}
	writer.Wait()
	return failed
}

// refuses checks that writes to c fail soon, whose peer has closed.
func refuses(c *net.TCPConn) error {
	for {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
				return nil
			}
			return fmt.Errorf("writes to a peer that has closed: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestTunnelRandomEnds has clients and backends end tunnels in every way at any moment.
func TestTunnelRandomEnds(t *testing.T) {
	n := 1200 // half of these are resets, of which HTTP/2 takes 1000 from a connection
	if testing.Short() {
		n = 400
	}
	for _, w := range []way{{}, {pipes: true, goroutines: true}} {
		for _, s := range []tunnelShape{{h2: true}, {h2: true, internal: true, hops: 1}, {}, {internal: true, hops: 1}} {
			t.Run(fmt.Sprintf("%v,pipes=%v", s, w.pipes), func(t *testing.T) {
				p, _ := s.start(t, origin.Listen(t, anyEnd), w)
				lives(t, p, 200) // HTTP/2 keeps its connection, and goroutines that answer
				manyLives(t, p, n, 8)
			})
		}
	}
}

// TestTunnelLastBytes has 16 MiB answered with "connection: close" behind a CONNECT into
// an internal listener, the shape of HBONE: they arrive whole, whoever reads them.
func TestTunnelLastBytes(t *testing.T) {
	const size = 16 << 20
	piece := bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
	backend := origin.Listen(t, func(c *net.TCPConn) {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		in := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", size)
			for n := 0; n < size; n += len(piece) {
				if _, err := c.Write(piece); err != nil {
					return
				}
			}
		}
	})
	runs := 40
	if testing.Short() {
		runs = 4
	}
	for _, s := range []tunnelShape{
		{h2: true, internal: true, http: true}, {h2: true, http: true}, {http: true}, {h2: true, hops: 1, http: true},
	} {
		t.Run(s.String(), func(t *testing.T) {
			p, _ := s.start(t, backend, way{})
			var clients sync.WaitGroup
			next := make(chan int)
			for range 4 {
				clients.Go(func() {
					for i := range next {
						if err := lastBytes(dial(t, p), size, i%4 == 3); err != nil {
							t.Errorf("run %d: %v", i, err)
						}
					}
				})
			}
			for i := range runs {
				next <- i
			}
			close(next)
			clients.Wait()
		})
	}
}

// lastBytes makes a request that ends its connection. A slow client waits before it
// reads, until nothing can move.
func lastBytes(c *net.TCPConn, size int64, slow bool) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"); err != nil {
		return err
	}
	if slow {
		time.Sleep(50 * time.Millisecond)
	}
	in := bufio.NewReaderSize(c, 64<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != size {
		return fmt.Errorf("%d bytes arrived: %v", n, err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return fmt.Errorf("the connection ended with %v", err)
	}
	return nil
}
