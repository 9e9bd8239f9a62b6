package reliability

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/proxy"
)

const (
	limitBytes   = 64 << 10 // per_connection_buffer_limit_bytes, and the least window of HTTP/2
	spareBytes   = 16 << 10
	streams      = 50
	answerWithin = 30 * time.Second // of a client that must be served; far more than it takes
)

const extensions = "type.googleapis.com/envoy.extensions."

// config has a listener for each protocol of the host, with the codec by the client.
func config(h *host) string {
	const options = `initial_stream_window_size: 65536, initial_connection_window_size: 16777216`
	one := func(cluster string) string {
		return fmt.Sprintf(`  - {name: %s, per_connection_buffer_limit_bytes: %d, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [{name: hcm, typed_config: {
      "@type": %sfilters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: %s, http2_protocol_options: {%s},
      route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: %s, timeout: 0s}}]}]},
      http_filters: [{name: router, typed_config: {"@type": %sfilters.http.router.v3.Router}}]}}]}]}
`, cluster, limitBytes, extensions, cluster, options, cluster, extensions)
	}
	cluster := func(name, protocol string) string {
		return fmt.Sprintf(`  - {name: %s, per_connection_buffer_limit_bytes: %d, connect_timeout: 5s, circuit_breakers: {thresholds: [{max_connections: 100000, max_requests: 100000, max_pending_requests: 100000}]},
      load_assignment: {cluster_name: %s, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]},
      typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": %supstreams.http.v3.HttpProtocolOptions, explicit_http_config: {%s}}}}
`, name, limitBytes, name, h.port(), extensions, protocol)
	}
	return "static_resources:\n  listeners:\n" + one("one") + one("two") + "  clusters:\n" +
		cluster("one", "http_protocol_options: {}") + cluster("two", "http2_protocol_options: {"+options+"}")
}

// A host answers at once, for ever (/endless), or reads nothing (/stuck).
type host struct {
	ln   net.Listener
	s    *http.Server
	done chan error
	end  chan struct{}
}

func newHost(t *testing.T) *host {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	h := &host{ln: ln, done: make(chan error), end: make(chan struct{})}
	h.s = &http.Server{Protocols: &both, Handler: h}
	go func() { h.done <- h.s.Serve(ln) }()
	t.Cleanup(func() {
		close(h.end)
		h.s.Close()
		<-h.done
	})
	return h
}

func (h *host) port() int { return h.ln.Addr().(*net.TCPAddr).Port }

// ServeHTTP implements http.Handler.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/endless":
		piece := make([]byte, 16<<10)
		for {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	case "/stuck":
		select {
		case <-r.Context().Done():
		case <-h.end:
		}
	default:
		io.WriteString(w, "hello")
	}
}

// served requires that a client of its own is answered.
func served(t *testing.T, addr string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: answerWithin}
	resp, err := client.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
		t.Fatalf("%s: %q, %v", resp.Status, body, err)
	}
}

// heap is what is allocated, after what is not used any more was given back.
func heap(t *testing.T, p *proxy.Proxy) int {
	t.Helper()
	var m struct{ Allocated string }
	for range 2 { // pools let go at the second collection
		p.Admin(t, "/debug/pprof/heap?gc=1")
	}
	if err := json.Unmarshal(p.Admin(t, "/memory"), &m); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(m.Allocated)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
