package script

import (
	"strings"
)

const explicitHTTP2 = `typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: ` +
	`{"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}`

func hcm(prefix string, yaml ...string) string {
	all := append([]string{"stat_prefix: " + quote(prefix)}, yaml...)
	if !strings.Contains(strings.Join(yaml, " "), "http_filters:") {
		all = append(all, httpFilters())
	}
	return named("envoy.filters.network.http_connection_manager",
		"filters.network.http_connection_manager.v3.HttpConnectionManager", strings.Join(all, ", "))
}

func httpFilters(before ...string) string {
	all := append(before, named("envoy.filters.http.router", "filters.http.router.v3.Router", ""))
	return "http_filters: [" + strings.Join(all, ", ") + "]"
}

func routeTo(cluster string, yaml ...string) string {
	action := append([]string{"cluster: " + quote(cluster)}, yaml...)
	return routes(`{match: {prefix: "/"}, route: {` + strings.Join(action, ", ") + `}}`)
}

func routes(list ...string) string {
	return `route_config: {name: routes, virtual_hosts: [{name: all, domains: ["*"], routes: [` + strings.Join(list, ", ") + `]}]}`
}

// howHTTP is the default format of a connection manager's log: what is the same in
// every run.
const howHTTP = "%REQ(:METHOD)% %REQ(:AUTHORITY)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% flags=%RESPONSE_FLAGS%" +
	" details=%RESPONSE_CODE_DETAILS% rx=%BYTES_RECEIVED% tx=%BYTES_SENT% route=%ROUTE_NAME% cluster=%UPSTREAM_CLUSTER% host=%UPSTREAM_HOST%" +
	" up=%UPSTREAM_PROTOCOL% tries=%UPSTREAM_REQUEST_ATTEMPT_COUNT% failure=%UPSTREAM_TRANSPORT_FAILURE_REASON%"

func (s *session) httpLog(name string, format ...string) string {
	if len(format) == 0 {
		format = []string{howHTTP}
	}
	return s.accessLog(name, format[0])
}
