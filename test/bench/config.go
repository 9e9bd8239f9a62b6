package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

// chainParts begin the configurations of Envoy and ginnel: the admin server, and a
// listener, at a socket or an internal one.
const chainParts = `{{define "begin"}}admin:
  address: {socket_address: {address: 127.0.0.1, port_value: {{.Admin}}}}
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener
static_resources:
  listeners:
{{- end}}
{{define "hop"}}
  - name: hop{{.Number}}
    {{- if .Listen}}
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Listen}}}}
    {{- else}}
    internal_listener: {}
    {{- end}}
{{- end}}
`

// tcpConfig is for Envoy and ginnel alike: a socket listener, hops internal
// listeners behind it, each with a tcp_proxy, and the backend. Timers and limits are
// on, as they are in production, and statistics always are. The circuit breaker's
// default of 1024 connections is raised for the idle ones.
const tcpConfig = `{{template "begin" .}}
{{- range .Hops}}
  {{- template "hop" .}}
    per_connection_buffer_limit_bytes: 1048576
    filter_chains:
    - {{if and .Listen $.Certs}}transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}
            tls_certificates: [{certificate_chain: {filename: "{{$.Certs}}/server.pem"}, private_key: {filename: "{{$.Certs}}/server.key"}}]
            validation_context: {trusted_ca: {filename: "{{$.Certs}}/ca.pem"}}
      {{end}}filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: hop{{.Number}}
          cluster: {{.Next}}
          idle_timeout: 3600s
          max_downstream_connection_duration: 7200s
{{- end}}
{{- range .More}}
  - name: {{.Name}}
    address: {socket_address: {address: {{.Address}}, port_value: {{$.Listen}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {{.Name}}
          cluster: {{$.Origin}}
{{- end}}
  clusters:
{{- range .MoreClusters}}
  - name: {{.Name}}
    connect_timeout: 5s
    load_assignment:
      cluster_name: {{.Name}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{.Address}}, port_value: {{$.Backend}}}}}}]}]
{{- end}}
{{- range .Hops}}
  - name: {{.Next}}
    connect_timeout: 5s
    per_connection_buffer_limit_bytes: 1048576
    circuit_breakers: {thresholds: [{max_connections: {{$.Conns}}, max_pending_requests: {{$.Conns}}}]}
    {{- if .Last}}
    load_assignment:
      cluster_name: {{.Next}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{$.Backend}}}}}}]}]
    {{- else}}
    transport_socket:
      name: envoy.transport_sockets.internal_upstream
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport
        transport_socket:
          name: envoy.transport_sockets.raw_buffer
          typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}
    load_assignment:
      cluster_name: {{.Next}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: {{.Next}}}}}}]}]
    {{- end}}
{{- end}}
`

// tcpForm and webForm are what a chain of proxies of TCP, or of HTTP, is written by.
var (
	parts   = template.Must(template.New("parts").Parse(chainParts))
	tcpForm = template.Must(template.Must(parts.Clone()).New("tcp").Parse(tcpConfig))
	webForm = template.Must(template.Must(parts.Clone()).New("web").Parse(webConfig))
)

// A chain is Envoy or ginnel, whose flags are the same, as a listener at a socket, internal
// listeners behind it, and the backend.
type chain struct {
	form  *template.Template
	hops  int
	encap bool // webForm: within a CONNECT
	tls   bool // tcpForm: the socket is one of TLS

	listeners, clusters int // tcpForm: so many more, which nobody uses
}

// An extra is a listener, or a cluster, that nobody uses.
type extra struct{ Name, Address string }

// extras are n of a kind, each with a loopback address of its own.
func extras(kind string, n int) (all []extra) {
	for i := range n {
		all = append(all, extra{kind + strconv.Itoa(i), fmt.Sprintf("127.9.%d.%d", i/200, 1+i%200)})
	}
	return all
}

type hop struct {
	Number int
	Listen int    // the port; 0: an internal listener
	Next   string // its cluster, and the listener behind that
	Last   bool
}

func (c chain) yaml(p place) (string, error) {
	v := struct {
		Dir                           string
		Listen, Admin, Backend, Conns int
		Hops                          []hop
		More, MoreClusters            []extra
		Encap                         bool
		Origin                        string // the cluster of the backend
		Certs                         string // where they are; "": no TLS
	}{Dir: p.dir, Listen: p.listen, Admin: p.admin, More: extras("listener", c.listeners), MoreClusters: extras("cluster", c.clusters),
		Backend: p.backend, Conns: p.conns, Encap: c.encap, Origin: hopName(c.hops + 1)}
	for i := range c.hops + 1 {
		v.Hops = append(v.Hops, hop{Number: i, Next: hopName(i + 1), Last: i == c.hops})
	}
	v.Hops[0].Listen = p.listen
	if c.tls {
		v.Certs = p.certs
	}
	var text strings.Builder
	err := c.form.Execute(&text, v)
	return text.String(), err
}

func hopName(i int) string { return "hop" + strconv.Itoa(i) }

// command runs bin with more arguments.
func (c chain) command(bin string, args ...string) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		text, err := c.yaml(p)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(p.dir, "envoy.yaml")
		line := []string{bin, "-c", file, "--concurrency", strconv.Itoa(numCPU()), "--log-level", "warn", "--disable-hot-restart"}
		return append(line, args...), os.WriteFile(file, []byte(text), 0o600)
	}
}

// haproxyConfig splices always or never: splice-auto does not take up these streams, so
// that it measures as copying.
const haproxyConfig = `global
    nbthread {{.CPUs}}
    maxconn {{.Conns}}
    maxpipes 256
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
{{- if .Splice}}
    option splice-request
    option splice-response
{{- end}}
listen bench
    bind 127.0.0.1:{{.Listen}}
    server backend 127.0.0.1:{{.Backend}}
`

const nginxConfig = `{{if .Module}}load_module {{.Module}};
{{end}}worker_processes {{.CPUs}};
daemon off;
pid {{.Dir}}/nginx.pid;
error_log stderr;
events { worker_connections {{.Sockets}}; }
stream {
    server {
        listen 127.0.0.1:{{.Listen}} backlog=4096;
        proxy_pass 127.0.0.1:{{.Backend}};
        proxy_buffer_size 16k;
        proxy_timeout 1h;
        proxy_half_close on;
    }
}
`

var (
	haproxyTemplate = template.Must(template.New("haproxy").Parse(haproxyConfig))
	nginxTemplate   = template.Must(template.New("nginx").Parse(nginxConfig))
)

// peerConfig is what the templates of HAProxy and nginx know.
type peerConfig struct {
	Dir, Module                           string
	CPUs, Listen, Backend, Conns, Sockets int
	Splice, HTTP2                         bool
}

func (p place) peer() peerConfig {
	return peerConfig{Dir: p.dir, CPUs: numCPU(), Listen: p.listen, Backend: p.backend, Conns: p.conns, Sockets: 2*p.conns + 64}
}

func haproxy(bin string, splice bool) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		v := p.peer()
		v.Splice = splice
		file, err := p.fill(haproxyTemplate, v)
		return []string{bin, "-db", "-f", file}, err
	}
}

// nginx runs nginx; module is the file of its stream module, "" if it is built in.
func nginx(bin, module string) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		v := p.peer()
		v.Module = module
		file, err := p.fill(nginxTemplate, v)
		return []string{bin, "-p", p.dir, "-e", "stderr", "-c", file}, err
	}
}

// fill writes a configuration and returns its path.
func (p place) fill(t *template.Template, v peerConfig) (file string, err error) {
	var text strings.Builder
	if err := t.Execute(&text, v); err != nil {
		return "", err
	}
	file = filepath.Join(p.dir, t.Name()+".conf")
	return file, os.WriteFile(file, []byte(text.String()), 0o600)
}
