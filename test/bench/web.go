package main

import "text/template"

// webConfig is for Envoy and ginnel alike: a connection manager with a route to the
// backend; behind it, for each hop, an internal listener with another one. With Encap
// the request goes into a CONNECT over HTTP/2 to a second listener of the same process,
// which ends it in an internal listener with a connection manager, as in the documents
// of internal listeners. Access logs are off; statistics always are on.
const webConfig = `{{define "hcm"}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {{.}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
{{- end}}
{{- template "begin" .}}
{{- range .Hops}}
  {{- template "hop" .}}
    {{- template "hcm" .Next}}
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: {{if and .Last $.Encap}}encap{{else}}{{.Next}}{{end}}}}]}
{{- end}}
{{- if .Encap}}
  - name: encap
    internal_listener: {}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: encap
          cluster: tunnel
          tunneling_config: {hostname: "bench.example:443"}
  - name: terminate
    address: {pipe: {path: "{{.Dir}}/tunnel"}}
    {{- template "hcm" "terminate"}}
          upgrade_configs: [{upgrade_type: CONNECT}]
          http2_protocol_options: {allow_connect: true}
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {connect_matcher: {}}, route: {cluster: decap, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}]}
  - name: decap
    internal_listener: {}
    {{- template "hcm" "decap"}}
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: {{.Origin}}}}]}
{{- end}}
  clusters:
{{- range .Hops}}
  - name: {{.Next}}
    connect_timeout: 5s
    load_assignment:
      cluster_name: {{.Next}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {{if .Last}}{socket_address: {address: 127.0.0.1, port_value: {{$.Backend}}}}{{else}}{envoy_internal_address: {server_listener_name: {{.Next}}}}{{end}}}}]}]
{{- end}}
{{- if .Encap}}
  - name: encap
    load_assignment:
      cluster_name: encap
      endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: encap}}}}]}]
  - name: decap
    load_assignment:
      cluster_name: decap
      endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: decap}}}}]}]
  - name: tunnel
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: tunnel
      endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: "{{.Dir}}/tunnel"}}}}]}]
{{- end}}
`

const haproxyWebConfig = `global
    nbthread {{.CPUs}}
    maxconn {{.Conns}}
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend bench
    bind 127.0.0.1:{{.Listen}}
    default_backend origin
backend origin
    server backend 127.0.0.1:{{.Backend}}
`

const nginxWebConfig = `worker_processes {{.CPUs}};
daemon off;
pid {{.Dir}}/nginx.pid;
error_log stderr;
events { worker_connections {{.Sockets}}; }
http {
    access_log off;
    client_body_temp_path {{.Dir}}/body;
    proxy_temp_path {{.Dir}}/proxy;
    fastcgi_temp_path {{.Dir}}/fastcgi;
    uwsgi_temp_path {{.Dir}}/uwsgi;
    scgi_temp_path {{.Dir}}/scgi;
    keepalive_requests 1000000000;
    upstream origin { server 127.0.0.1:{{.Backend}}; keepalive 256; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:{{.Listen}} {{if .HTTP2}}http2 {{end}}backlog=4096;
        location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 32 16k; }
    }
}
`

var (
	haproxyWeb = template.Must(template.New("haproxy").Parse(haproxyWebConfig))
	nginxWeb   = template.Must(template.New("nginx").Parse(nginxWebConfig))
)

// webPeer runs HAProxy or nginx as a proxy of HTTP.
func webPeer(t *template.Template, w web, line func(p place, file string) []string) func(place) ([]string, error) {
	return func(p place) ([]string, error) {
		v := p.peer()
		v.HTTP2 = w.http2
		file, err := p.fill(t, v)
		return line(p, file), err
	}
}
