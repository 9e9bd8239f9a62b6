package reliability

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/proxy"
)

var changesFor = flag.Duration("changes", 3*time.Second, "how long TestChanges changes the configuration")

const (
	changesPerSecond = 10
	longLived        = 1000
)

// changing is version n of a configuration of which every kind of thing changes: a chain
// beside one that stays, whole listeners on a socket and within the process, a cluster,
// and listeners that come and go.
func changing(n int, echo, host string) string {
	const any = "{prefix_ranges: [{address_prefix: 0.0.0.0, prefix_len: 0}]}"
	var b strings.Builder
	socket := func(name, more, chains string) {
		fmt.Fprintf(&b, "  - {name: %s, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, %s filter_chains: [%s]}\n", name, more, chains)
	}
	tcp := func(prefix, cluster string) string {
		return fmt.Sprintf(`{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: %s, cluster: %s}}`, prefix, cluster)
	}
	hcm := func(prefix, cluster string) string {
		return fmt.Sprintf(`{name: hcm, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: %s, route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: %s}}]}]}, http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}`, prefix, cluster)
	}
	says := fmt.Sprintf(`{name: said, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, response: {inline_string: "%d"}}}`, n)
	chain := func(match, filter string) string {
		return fmt.Sprintf("{filter_chain_match: %s, filters: [%s]}", match, filter)
	}
	local := "{source_prefix_ranges: [{address_prefix: 127.0.0.1, prefix_len: 32}]}"
	far := "{source_prefix_ranges: [{address_prefix: 127.0.0.2, prefix_len: 32}]}"

	b.WriteString("bootstrap_extensions: [{name: i, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}]\nstatic_resources:\n  listeners:\n")
	socket("long", "", chain(local, tcp("long", "in"))+", "+chain(far, says))
	socket("kept", "", chain(far, says)+", "+chain(local, hcm("kept", "host")))
	socket("moved", fmt.Sprintf("stat_prefix: moved%d,", n%3), chain(any, hcm("moved", "changed")))
	socket(fmt.Sprintf("passing%d", n%2), "", chain(any, says))
	fmt.Fprintf(&b, "  - {name: in, internal_listener: {}, filter_chains: [{filters: [%s]}]}\n", tcp("in", "echo"))
	fmt.Fprintf(&b, "  - {name: inner, internal_listener: {}, stat_prefix: inner%d, filter_chains: [{filters: [%s]}]}\n", n%2, tcp(fmt.Sprintf("inner%d", n%5), "host"))
	b.WriteString("  clusters:\n")
	cluster := func(name, more, address string) {
		fmt.Fprintf(&b, "  - {name: %s, type: STATIC, %s load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: %s}}]}]}}\n", name, more, address)
	}
	at := func(addr string) string {
		h, p, _ := net.SplitHostPort(addr)
		return fmt.Sprintf("{socket_address: {address: %s, port_value: %s}}", h, p)
	}
	cluster("echo", "", at(echo))
	cluster("host", "", at(host))
	cluster("in", "", "{envoy_internal_address: {server_listener_name: in}}")
	cluster("changed", fmt.Sprintf("connect_timeout: %ds,", 5+n%7), "{envoy_internal_address: {server_listener_name: inner}}")
	return b.String()
}

// TestChanges: while the configuration changes ten times a second, nothing on a filter
// chain that stays is closed, and no request fails.
func TestChanges(t *testing.T) {
	echo, host := echoes(t), newHost(t)
	config := func(n int) string { return changing(n, echo, fmt.Sprintf("127.0.0.1:%d", host.port())) }
	p := proxy.Start(t, proxy.Build(t), config(0), "--drain-time-s", "2")
	long := make([]net.Conn, min(longLived, descriptors()/8))
	for i := range long {
		c, err := net.Dial("tcp", p.Addr("long"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		long[i] = c
		echoed(t, c)
	}

	over := make(chan struct{})
	var clients sync.WaitGroup
	var requests atomic.Int64
	ask := func(name string, again bool) {
		transport := &http.Transport{DisableKeepAlives: !again}
		defer transport.CloseIdleConnections()
		client := http.Client{Transport: transport, Timeout: answerWithin}
		for {
			select {
			case <-over:
				return
			default:
			}
			if err := get(&client, p.Addr(name)); err != nil {
				t.Errorf("%s after %d requests: %v", name, requests.Load(), err)
				return
			}
			requests.Add(1)
		}
	}
	for range 4 {
		clients.Go(func() { ask("kept", true) })
		clients.Go(func() { ask("moved", false) })
	}
	clients.Go(func() { // the long ones live all the while
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
				if err := echoOnce(long[i%len(long)]); err != nil {
					t.Errorf("connection %d: %v", i%len(long), err)
					return
				}
			}
		}
	})

	changes, tick := 0, time.NewTicker(time.Second/changesPerSecond)
	defer tick.Stop()
	for end := time.Now().Add(*changesFor); time.Now().Before(end) && !t.Failed(); <-tick.C {
		changes++
		if err := p.Post("/config", config(changes)); err != nil {
			t.Errorf("change %d: %v", changes, err)
		}
	}
	close(over)
	clients.Wait()
	for i, c := range long {
		if err := echoOnce(c); err != nil {
			t.Errorf("connection %d at the end: %v", i, err)
		}
	}
	t.Logf("%d changes, %d requests", changes, requests.Load())
	all, err := p.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"tcp.long.downstream_cx_total": len(long), "http.kept.downstream_cx_destroy_local": 0,
		"listener_manager.listener_create_failure": 0, "http.kept.downstream_rq_5xx": 0, "http.moved.downstream_rq_5xx": 0,
		"listener_manager.listener_added": 5 + 1 + changes, "listener_manager.listener_removed": changes,
	} {
		if all[name] != want {
			t.Errorf("%s is %d, not %d", name, all[name], want)
		}
	}
	p.Await(t, "listener_manager.total_filter_chains_draining", 0)
	p.Await(t, "listener_manager.total_listeners_draining", 0)
}

func get(client *http.Client, addr string) error {
	resp, err := client.Get("http://" + addr + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
		return fmt.Errorf("%s: %q, %w", resp.Status, body, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// echoes is a backend that sends back what it gets.
func echoes(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() { ln.Close() }) // the connections end with those of the test
	return ln.Addr().String()
}

func echoed(t *testing.T, c net.Conn) {
	t.Helper()
	if err := echoOnce(c); err != nil {
		t.Fatal(err)
	}
}

func echoOnce(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(answerWithin))
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if line != "hello\n" {
		return fmt.Errorf("%q, %w", line, err)
	}
	return nil
}
