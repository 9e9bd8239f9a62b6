package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

// envoyConfig is for Envoy and ginnel alike: a socket listener, hops internal
// listeners behind it, each with a tcp_proxy, and the backend. Timers and limits are
// on, as they are in production, and statistics always are. The circuit breaker's
// default of 1024 connections is raised for the idle ones.
const envoyConfig = `admin:
  address: {socket_address: {address: 127.0.0.1, port_value: {{.Admin}}}}
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener
static_resources:
  listeners:
{{- range .Hops}}
  - name: hop{{.Number}}
    {{- if .Number}}
    internal_listener: {}
    {{- else}}
    address: {socket_address: {address: 127.0.0.1, port_value: {{$.Listen}}}}
    {{- end}}
    per_connection_buffer_limit_bytes: 1048576
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: hop{{.Number}}
          cluster: {{.Next}}
          idle_timeout: 3600s
          max_downstream_connection_duration: 7200s
{{- end}}
  clusters:
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

var envoyTemplate = template.Must(template.New("envoy").Parse(envoyConfig))

type hop struct {
	Number int
	Next   string // its cluster, and the listener behind that
	Last   bool
}

// envoyYAML is the configuration with that many internal hops.
func envoyYAML(p place, hops int) (string, error) {
	v := struct {
		Admin, Listen, Backend, Conns int
		Hops                          []hop
	}{Admin: p.admin, Listen: p.listen, Backend: p.backend, Conns: p.conns}
	for i := range hops + 1 {
		v.Hops = append(v.Hops, hop{i, "hop" + strconv.Itoa(i+1), i == hops})
	}
	var text strings.Builder
	err := envoyTemplate.Execute(&text, v)
	return text.String(), err
}

// envoyLike runs Envoy or ginnel, whose flags are the same.
func envoyLike(bin string, hops int, args ...string) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		text, err := envoyYAML(p, hops)
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
