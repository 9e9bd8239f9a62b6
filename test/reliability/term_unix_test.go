//go:build unix

package reliability

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/origin"
	"github.com/ginnel/ginnel/test/proxy"
)

// TestTerm ends a proxy by SIGTERM while requests and connections flow: it ends at once, its
// TCP clients read the end and no reset, also those behind internal hops, and each request
// that was answered is in the access log (LT-138).
func TestTerm(t *testing.T) {
	h := newHost(t)
	log := filepath.Join(t.TempDir(), "access.log")
	p := proxy.Start(t, proxy.Build(t), termConfig(h.port(), origin.Listen(t, origin.Echo), log))
	var long []net.Conn
	for i := range 100 {
		c, err := net.Dial("tcp", p.Addr([]string{"tcp", "hops"}[i%2]))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		echoed(t, c)
		long = append(long, c)
	}
	var answered atomic.Int64
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() { askUntilTheEnd(p.Addr("http"), &answered) })
	}
	proxy.Poll(t, answerWithin, func() error {
		if answered.Load() < 500 {
			return errors.New("no load yet")
		}
		return nil
	})
	if err := syscall.Kill(p.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for i, c := range long {
		_ = c.SetReadDeadline(time.Now().Add(answerWithin))
		if n, err := c.Read(make([]byte, 1)); n > 0 || err != io.EOF {
			t.Errorf("connection %d: %v in place of the end", i, err)
		}
	}
	clients.Wait()
	proxy.Poll(t, answerWithin, func() error {
		if err := syscall.Kill(p.Pid(), 0); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if lines := int64(strings.Count(string(text), "GET 200\n")); lines < answered.Load() {
		t.Errorf("%d requests were answered, %d are in the log", answered.Load(), lines)
	}
}

// askUntilTheEnd sends requests on one connection, and counts the answers that came whole.
func askUntilTheEnd(addr string, answered *atomic.Int64) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nhost: h\r\n\r\n"); err != nil {
			return
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
			return
		}
		answered.Add(1)
	}
}

func termConfig(host int, echo net.Addr, log string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `bootstrap_extensions: [{name: internal, typed_config: {"@type": %sbootstrap.internal_listener.v3.InternalListener}}]
static_resources:
  listeners:
  - {name: http, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [{name: hcm, typed_config: {
      "@type": %sfilters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: http,
      access_log: [{name: file, typed_config: {"@type": %saccess_loggers.file.v3.FileAccessLog, path: %q, log_format: {text_format_source: {inline_string: "%%REQ(:METHOD)%% %%RESPONSE_CODE%%\n"}}}}],
      route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: host}}]}]},
      http_filters: [{name: router, typed_config: {"@type": %sfilters.http.router.v3.Router}}]}}]}]}
`, extensions, extensions, extensions, log, extensions)
	tcp := func(name, where, cluster string) {
		fmt.Fprintf(&b, `  - {name: %s, %s, filter_chains: [{filters: [{name: tcp, typed_config: {"@type": %sfilters.network.tcp_proxy.v3.TcpProxy, stat_prefix: %s, cluster: %s}}]}]}
`, name, where, extensions, name, cluster)
	}
	const port = "address: {socket_address: {address: 127.0.0.1, port_value: 0}}"
	tcp("tcp", port, "echo")
	tcp("hops", port, "hop")
	tcp("hop", "internal_listener: {}", "echo")
	b.WriteString("  clusters:\n")
	cluster := func(name, address string) {
		fmt.Fprintf(&b, "  - {name: %s, load_assignment: {cluster_name: %s, endpoints: [{lb_endpoints: [{endpoint: {address: {%s}}}]}]}}\n", name, name, address)
	}
	cluster("host", fmt.Sprintf("socket_address: {address: 127.0.0.1, port_value: %d}", host))
	cluster("echo", fmt.Sprintf("socket_address: {address: 127.0.0.1, port_value: %d}", echo.(*net.TCPAddr).Port))
	cluster("hop", "envoy_internal_address: {server_listener_name: hop}")
	return b.String()
}
