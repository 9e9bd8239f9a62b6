package script

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

// functions are what the configuration templates may call. Each writes one
// piece of Envoy configuration in flow style on one line, so that the lines of
// a rendered file are those of its template.
//
//	at NAME                     an address: 127.0.0.1 and the port of NAME
//	inner LISTENER [ENDPOINT]   an internal address
//	internal [KB]               the bootstrap extension, with buffer_size_kb KB
//	filter TYPE [YAML]          a filter (or log, or socket) of a type below envoy.extensions
//	tcp CLUSTER [YAML...]       a tcp_proxy filter; its stat_prefix is CLUSTER
//	log NAME [FORMAT]           access_log: lines go to $WORK/NAME.log
//	chain FILTER...             filter_chains with one chain
//	cluster NAME [ADDR|YAML...] a static cluster with one endpoint for each address
//	upstream [KIND:NAME...]     transport_socket: internal_upstream over raw_buffer
//	                            that passes metadata NAME of KIND (host, cluster, route, request)
//	hcm PREFIX [YAML...]        an HTTP connection manager; with a router unless YAML has http_filters
//	to CLUSTER [YAML...]        route_config: everything goes to CLUSTER, with more for the route
//	routes ROUTE...             route_config: one virtual host with these routes
//	filters FILTER...           http_filters: these, and the router after them
//	httpfilters                 http_filters: the router alone
//	httplog NAME [FORMAT]       access_log of a connection manager
//	h2                          typed_extension_protocol_options: HTTP/2 to the cluster
//	hops                        1 2 .. $HOPS
//	hop I                       "hopI"; "up" after the last
//	first                       hop 1
//	hash CERT, spki CERT        what pins a certificate of the command cert
//	from FILE                   a config source: the file below $WORK, as put places it
//	secret VERSION NAME YAML           what the file of a secret has: the secret, as YAML
//	delivery VERSION TYPE RESOURCE...  what such a file has: resources, as {...}, of a type below envoy.config
//	words TEXT                  its words, to range over
//	last I YAML                 YAML where I is the last hop, nothing elsewhere
func (s *session) functions() template.FuncMap {
	return template.FuncMap{
		"at":          s.at,
		"inner":       inner,
		"internal":    internal,
		"filter":      filter,
		"tcp":         tcp,
		"log":         s.accessLog,
		"chain":       chain,
		"cluster":     cluster,
		"upstream":    upstream,
		"hcm":         hcm,
		"to":          routeTo,
		"routes":      routes,
		"filters":     httpFilters,
		"httpfilters": func() string { return httpFilters() },
		"httplog":     s.httpLog,
		"h2":          func() string { return explicitHTTP2 },
		"hops":        s.hopNumbers,
		"hop":         s.hop,
		"first":       func() string { return s.hop(1) },
		"last":        s.lastOnly,
		"from":        s.from,
		"delivery":    delivery,
		"secret":      secret,
		"words":       strings.Fields,
		"hash":        func(cert string) (string, error) { return s.certText(cert, "hash") },
		"x5c":         s.x5c,
		"spki":        func(cert string) (string, error) { return s.certText(cert, "spki") },
		"add":         func(a, b int) int { return a + b },
	}
}

func (s *session) at(name string) (string, error) {
	port, err := s.ports.get(name)
	return fmt.Sprintf("{socket_address: {address: 127.0.0.1, port_value: %d}}", port), err
}

func inner(listener string, endpoint ...string) string {
	id := ""
	if len(endpoint) > 0 {
		id = ", endpoint_id: " + quote(endpoint[0])
	}
	return fmt.Sprintf("{envoy_internal_address: {server_listener_name: %s%s}}", quote(listener), id)
}

func internal(kb ...int) string {
	const name, typ = "envoy.bootstrap.internal_listener", "bootstrap.internal_listener.v3.InternalListener"
	extra := ""
	if len(kb) > 0 {
		extra = fmt.Sprintf("buffer_size_kb: %d", kb[0])
	}
	return "bootstrap_extensions: [" + named(name, typ, extra) + "]"
}

var afterDot = regexp.MustCompile(`([^.]+)\.v3\.[A-Za-z]+$`)

// filter names the extension after the package of its type, which Envoy, unlike
// its type URL, does not look at.
func filter(typ string, yaml ...string) (string, error) {
	m := afterDot.FindStringSubmatch(typ)
	if m == nil {
		return "", fmt.Errorf("%q does not look like filters.network.echo.v3.Echo", typ)
	}
	return named("envoy."+m[1], typ, strings.Join(yaml, ", ")), nil
}

func named(name, typ, yaml string) string {
	if yaml != "" {
		yaml = ", " + yaml
	}
	return fmt.Sprintf(`{name: %s, typed_config: {"@type": type.googleapis.com/envoy.extensions.%s%s}}`, name, typ, yaml)
}

func tcp(cluster string, yaml ...string) string {
	all := []string{"stat_prefix: " + quote(cluster), "cluster: " + quote(cluster)}
	for _, y := range yaml {
		if y != "" {
			all = append(all, y)
		}
	}
	return named("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", strings.Join(all, ", "))
}

// how is the default access log format: everything a chain of tcp_proxies can
// say about one connection that is the same in every run.
const how = "flags=%RESPONSE_FLAGS% rx=%BYTES_RECEIVED% tx=%BYTES_SENT% cluster=%UPSTREAM_CLUSTER% host=%UPSTREAM_HOST%" +
	" tries=%UPSTREAM_REQUEST_ATTEMPT_COUNT% failure=%UPSTREAM_TRANSPORT_FAILURE_REASON%" +
	" down=%DOWNSTREAM_DETECTED_CLOSE_TYPE% up=%UPSTREAM_DETECTED_CLOSE_TYPE%" +
	" why=%DOWNSTREAM_LOCAL_CLOSE_REASON% upwhy=%UPSTREAM_LOCAL_CLOSE_REASON% details=%CONNECTION_TERMINATION_DETAILS%"

func (s *session) accessLog(name string, format ...string) string {
	f := how
	if len(format) > 0 {
		f = format[0]
	}
	yaml := fmt.Sprintf("path: %s, log_format: {text_format_source: {inline_string: %s}}", quote(s.logFile(name)), quote(f+"\n"))
	return "access_log: [" + named("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", yaml) + "]"
}

func chain(filters ...string) string {
	return "filter_chains: [{filters: [" + strings.Join(filters, ", ") + "]}]"
}

func cluster(name string, parts ...string) string {
	var endpoints, extra []string
	for _, p := range parts {
		if strings.HasPrefix(p, "{") {
			endpoints = append(endpoints, "{endpoint: {address: "+p+"}}")
		} else {
			extra = append(extra, p)
		}
	}
	if len(endpoints) > 0 {
		extra = append([]string{fmt.Sprintf("load_assignment: {cluster_name: %s, endpoints: [{lb_endpoints: [%s]}]}",
			quote(name), strings.Join(endpoints, ", "))}, extra...)
	}
	return fmt.Sprintf("{name: %s, connect_timeout: 5s, %s}", quote(name), strings.Join(extra, ", "))
}

func upstream(sources ...string) string {
	var list []string
	for _, s := range sources {
		kind, name, _ := strings.Cut(s, ":")
		list = append(list, fmt.Sprintf("{kind: {%s: {}}, name: %s}", kind, quote(name)))
	}
	yaml := "transport_socket: " + named("envoy.transport_sockets.raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer", "")
	if len(list) > 0 {
		yaml = "passthrough_metadata: [" + strings.Join(list, ", ") + "], " + yaml
	}
	return "transport_socket: " + named("envoy.transport_sockets.internal_upstream",
		"transport_sockets.internal_upstream.v3.InternalUpstreamTransport", yaml)
}

func (s *session) from(file string) string {
	return fmt.Sprintf("{resource_api_version: V3, path_config_source: {path: %s}}", quote(filepath.Join(s.work, file)))
}

func delivery(version, typ string, resources ...string) string {
	for i, r := range resources {
		resources[i] = fmt.Sprintf(`{"@type": type.googleapis.com/envoy.config.%s, %s`, typ, strings.TrimPrefix(r, "{"))
	}
	return fmt.Sprintf("{version_info: %s, resources: [%s]}", quote(version), strings.Join(resources, ",\n"))
}

// secret is what a file of one secret holds.
func secret(version, name, yaml string) string {
	return fmt.Sprintf(`{version_info: %s, resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: %s, %s}]}`,
		quote(version), quote(name), yaml)
}

// quote writes a YAML scalar; a JSON string is one.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil { // a string always can be marshalled
		return strconv.Quote(s)
	}
	return string(b)
}

func (s *session) hopNumbers() []int {
	n := make([]int, s.hops)
	for i := range n {
		n[i] = i + 1
	}
	return n
}

func (s *session) hop(i int) string {
	if i > s.hops {
		return "up"
	}
	return fmt.Sprintf("hop%d", i)
}

func (s *session) lastOnly(i int, yaml string) string {
	if i != s.hops {
		return ""
	}
	return yaml
}

var placeholder = regexp.MustCompile(`\$PORT_[A-Za-z0-9_]+|\$WORK\b|\$HOPS\b`)

// render executes a configuration template, then fills in ports and folders.
func (s *session) render(name, text string) (string, error) {
	t, err := template.New(name).Funcs(s.functions()).Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, nil); err != nil {
		return "", err
	}
	var failed error
	out := placeholder.ReplaceAllStringFunc(b.String(), func(v string) string {
		switch v {
		case "$WORK":
			return s.work
		case "$HOPS":
			return strconv.Itoa(s.hops)
		}
		port, err := s.ports.get(strings.TrimPrefix(v, "$PORT_"))
		if err != nil {
			failed = err
		}
		return strconv.Itoa(port)
	})
	if strings.Contains(out, "HttpConnectionManager") {
		s.requests = true
		s.outcome.excepted = append(s.outcome.excepted, exception{"stat", lengthOfHeads})
	}
	return out, failed
}

// lengthOfHeads are the stats that the number of digits of a time in a header decides, as
// in x-envoy-upstream-service-time.
var lengthOfHeads = regexp.MustCompile(`_bytes_total$`)
