package route

import (
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"

	"github.com/ginnel/ginnel/extension"
)

// inHost is a table with one virtual host of these fields.
func inHost(fields string) string {
	return "name: rc\nvirtual_hosts:\n- name: vh\n  domains: [\"*\"]\n" + indent(fields, "  ")
}

// inRoute is a table with one route of these fields.
func inRoute(fields string) string {
	return inHost("routes:\n- name: r\n" + indent(fields, "  "))
}

const route200 = "{match: {prefix: /}, direct_response: {status: 200}}"

// inTree is a table with one virtual host whose matcher leads from x to a route.
func inTree(input, route string) string {
	return inHost("matcher: {matcher_tree: {input: {name: i, typed_config: " + input + "}, exact_match_map: {map: {x: {action: {name: route, typed_config: {\"@type\": type.googleapis.com/envoy.config.route.v3.Route, " + route[1:] + "}}}}}}")
}

// inAction is a table with one route that forwards.
func inAction(fields string) string {
	return inRoute("match: {prefix: /}\nroute:\n" + indent(fields, "  "))
}

func indent(s, by string) string {
	return by + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+by) + "\n"
}

func TestCompileErrors(t *testing.T) {
	const r = "virtual_hosts[0].routes[0]."
	for _, c := range []struct{ config, want string }{
		{`{name: rc, virtual_hosts: [{name: a, domains: ["*"]}, {name: b, domains: ["*"]}]}`,
			"virtual_hosts[1].domains[0]: Only a single wildcard domain is permitted in route rc"},
		{`{name: rc, virtual_hosts: [{name: a, domains: [a.com]}, {name: b, domains: [x.com, A.com]}]}`,
			"virtual_hosts[1].domains[1]: Only unique values for domains are permitted. Duplicate entry of domain a.com in route rc"},
		{`{name: rc, virtual_hosts: [{name: a, domains: ["*.a.com", "*.A.com"]}]}`,
			"virtual_hosts[0].domains[1]: Only unique values for domains are permitted. Duplicate entry of domain *.a.com in route rc"},
		{inHost("virtual_clusters: [{name: v}]"), "virtual_hosts[0].virtual_clusters[0]: virtual clusters must define 'headers'"},
		{inHost("matcher: {}\nroutes: [{match: {prefix: /}, direct_response: {status: 200}}]"),
			"virtual_hosts[0]: cannot set both matcher and routes on virtual host"},
		{inTree(`{"@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: a}`, "{match: {prefix: /}}"),
			"virtual_hosts[0].matcher.matcher_tree.exact_match_map.map[\"x\"].action.typed_config: an action is required"},
		{inTree(`{"@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestTrailerMatchInput, header_name: a}`, route200),
			"virtual_hosts[0].matcher.matcher_tree.input.typed_config: envoy.type.matcher.v3.HttpRequestTrailerMatchInput: a route is chosen by the head of a request, when there are no trailers and no response yet"},
		{inTree(`{"@type": type.googleapis.com/xds.type.matcher.v3.HttpAttributesCelMatchInput}`, route200),
			"virtual_hosts[0].matcher.matcher_tree.input.typed_config: xds.type.matcher.v3.HttpAttributesCelMatchInput: matching by CEL is not supported yet"},
		{inHost(`matcher: {on_no_match: {action: {name: x, typed_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: x}}}}`),
			"virtual_hosts[0].matcher.on_no_match.action.typed_config: google.protobuf.StringValue is a known type, but ginnel does not implement it as a route action (implemented: envoy.config.route.v3.Route, envoy.config.route.v3.RouteList)"},
		{inHost(`matcher: {on_no_match: {keep_matching: true, matcher: {}}}`),
			"virtual_hosts[0].matcher.on_no_match.keep_matching: keep_matching is not supported in this context"},
		{inHost("cors: {}"), "virtual_hosts[0].cors: not supported yet: ginnel would not do what this field asks for"},
		{inHost("rate_limits: [{}]"), "virtual_hosts[0].rate_limits: not supported yet: ginnel would not do what this field asks for"},
		{"name: rc\nvhds: {}", "vhds: not supported yet: ginnel would not do what this field asks for"},
		{inRoute("match: {safe_regex: {regex: \"(a\"}}\ndirect_response: {status: 200}"), r + "match.safe_regex.regex: missing ): (a"},
		{inRoute("match: {path_separated_prefix: /a/}\ndirect_response: {status: 200}"),
			r + `match.path_separated_prefix: must not be empty, contain '?' or '#', nor end in '/': "/a/"`},
		{inRoute("match: {}\ndirect_response: {status: 200}"), r + "match: a path specifier is required"},
		{inRoute("match: {prefix: /}"), r[:len(r)-1] + ": an action is required"},
		{inRoute("match: {prefix: /}\nnon_forwarding_action: {}"), r + "non_forwarding_action: not supported yet: ginnel would not do what this field asks for"},
		{inRoute("match: {prefix: /}\ndirect_response: {status: 200, body: {inline_string: " + strings.Repeat("x", 4097) + "}}"),
			r + "direct_response.body: response body size is 4097 bytes; maximum is 4096"},
		{inRoute("match: {prefix: /}\ndirect_response: {status: 200, body: {environment_variable: GINNEL_NOT_SET}}"),
			r + "direct_response.body.environment_variable: environment variable doesn't exist: GINNEL_NOT_SET"},
		{inRoute("match: {prefix: /}\ndirect_response: {status: 200}\nrequest_headers_to_add: [{header: {key: ':path', value: x}}]"),
			r + "request_headers_to_add[0].header.key: :-prefixed or host headers may not be modified"},
		{inRoute("match: {prefix: /}\ndirect_response: {status: 200}\nresponse_headers_to_add: [{header: {key: Host, value: x}}]"),
			r + "response_headers_to_add[0].header.key: :-prefixed or host headers may not be modified"},
		{inRoute("match: {prefix: /}\ndirect_response: {status: 200}\nrequest_headers_to_remove: [a, Host]"),
			r + "request_headers_to_remove[1]: :-prefixed or host headers may not be removed"},
		{inRoute("match: {prefix: /}\ndirect_response: {status: 200}\nrequest_headers_to_add: [{header: {key: a, value: '5%'}}]"),
			r + "request_headers_to_add[0].header.value: Incorrect configuration: 5%. Couldn't find valid command at position 1"},
		{inAction("cluster: c\nprefix_rewrite: /x\npath_rewrite: /y"), r + "route: Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy"},
		{inAction("weighted_clusters: {clusters: [{name: c, weight: 0}]}"), r + "route.weighted_clusters: Sum of weights in the weighted_cluster must be greater than 0."},
		{inAction("weighted_clusters: {clusters: [{name: a, weight: 4294967295}, {name: b, weight: 1}]}"),
			r + "route.weighted_clusters: The sum of weights of all weighted clusters of route r exceeds 4294967295"},
		{inAction("weighted_clusters: {clusters: [{weight: 1}]}"), r + "route.weighted_clusters.clusters[0]: At least one of name or cluster_header need to be specified"},
		{inAction("weighted_clusters: {clusters: [{name: a, cluster_header: b, weight: 1}]}"), r + "route.weighted_clusters.clusters[0]: Only one of name or cluster_header can be specified"},
		{inAction("cluster_specifier_plugin: x"), r + "route.cluster_specifier_plugin: not supported yet: ginnel would not do what this field asks for"},
		{inAction("cluster: c\nretry_policy: {retry_back_off: {base_interval: 2s, max_interval: 1s}}"),
			r + "route.retry_policy.retry_back_off: retry_policy.max_interval must greater than or equal to the base_interval"},
		{inAction("cluster: c\nretry_policy: {retry_priority: {name: x}}"), r + "route.retry_policy.retry_priority.typed_config: is required"},
		{inAction("cluster: c\nrequest_mirror_policies: [{}]"), r + "route.request_mirror_policies[0]: Exactly one of cluster or cluster_header in request mirror policy need to be specified"},
		{inAction("cluster: c\nhash_policy: [{}]"), r + "route.hash_policy[0]: hash policy not set"},
		{inAction("cluster: c\nupgrade_configs: [{upgrade_type: websocket}, {upgrade_type: WebSocket}]"), r + "route.upgrade_configs[1]: Duplicate upgrade WebSocket"},
		{inAction("cluster: c\nupgrade_configs: [{upgrade_type: websocket, connect_config: {}}]"), r + "route.upgrade_configs[0]: Non-CONNECT upgrade type websocket has ConnectConfig"},
		{inAction("cluster: c\nregex_rewrite: {pattern: {regex: a}, substitution: '\\1'}"),
			r + "route.regex_rewrite.substitution: Rewrite schema requests 1 matches, but the regexp only has 0 parenthesized subexpressions."},
		{inAction("cluster: c\nrate_limits: [{}]"), r + "route.rate_limits: not supported yet: ginnel would not do what this field asks for"},
		{inAction("cluster: c\nrequest_mirror_policies: [{cluster: a, cluster_header: b}]"),
			r + "route.request_mirror_policies[0]: Only one of cluster 'a' or cluster_header 'b' in request mirror policy can be specified"},
	} {
		_, errs, _ := tryCompile(t, c.config, nil)
		if !slices.Contains(errs, c.want) {
			t.Errorf("%s:\n%q\nwant %q", c.config, errs, c.want)
		}
	}
}

// Two virtual hosts of one name and odd wildcards are no error.
func TestAcceptedDomains(t *testing.T) {
	compiled(t, `{name: rc, virtual_hosts: [{name: a, domains: ["*.a.*"]}, {name: a, domains: ["b*"]}]}`)
}

// Clusters are referred to where they are named, unless nobody wants them checked.
func TestReferences(t *testing.T) {
	const config = "route: {weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 1}]}, request_mirror_policies: [{cluster: m}]}"
	names := func(head string) string {
		_, _, r := tryCompile(t, head+inRoute("match: {prefix: /}\n"+config), nil)
		var out []string
		for _, x := range r.References {
			if !x.Required {
				t.Errorf("%s is not required", x.Name)
			}
			out = append(out, x.Kind+" "+x.Name)
		}
		slices.Sort(out)
		return strings.Join(out, ", ")
	}
	if got := names(""); got != "cluster a, cluster b, cluster m" {
		t.Errorf("references: %s", got)
	}
	if got := names("validate_clusters: false\n"); got != "" {
		t.Errorf("references without validation: %s", got)
	}
}

func TestFilterConfigs(t *testing.T) {
	reg := &extension.Registry{}
	extension.Register(reg, extension.HTTPRouteFilter, func(_ *extension.Scope, m *faultv3.HTTPFault) any { return m.UpstreamCluster })
	fault := func(name string) string {
		return `{"@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault, upstream_cluster: ` + name + `}`
	}
	wrapped := func(fields string) string {
		return `{"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, ` + fields + `}`
	}
	table, errs, _ := tryCompile(t, `
name: rc
typed_per_filter_config: {f: `+fault("rc")+`, g: `+wrapped("disabled: true")+`, o: `+
		wrapped(`is_optional: true, config: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy}`)+`}
virtual_hosts:
- name: vh
  domains: ["*"]
  typed_per_filter_config: {f: `+fault("vh")+`}
  routes:
  - name: off
    match: {path: /off}
    direct_response: {status: 200}
    typed_per_filter_config: {f: `+wrapped("disabled: true")+`}
  - name: on
    match: {path: /on}
    direct_response: {status: 200}
    typed_per_filter_config: {g: `+wrapped("config: {}")+`}
  - name: weighted
    match: {path: /w}
    typed_per_filter_config: {f: `+fault("r")+`}
    route: {weighted_clusters: {clusters: [{name: c, weight: 1, typed_per_filter_config: {f: `+fault("w")+`}}]}}
`, reg)
	if len(errs) > 0 {
		t.Fatalf("errors: %q", errs)
	}
	for _, c := range []struct {
		path, filter string
		configs      []any
		disabled, ok bool
	}{
		{"/off", "f", []any{"rc", "vh"}, true, true},
		{"/off", "g", nil, true, true},
		{"/off", "x", nil, false, false},
		{"/off", "o", nil, false, false},
		{"/on", "g", nil, false, true},
		{"/on", "f", []any{"rc", "vh"}, false, true},
		{"/w", "f", []any{"rc", "vh", "r", "w"}, false, true},
	} {
		r := table.Match(ask(get("h", c.path)))
		if got := r.FilterConfigs(c.filter); !slices.Equal(got, c.configs) {
			t.Errorf("%s %s: %v, want %v", c.path, c.filter, got, c.configs)
		}
		if disabled, ok := r.FilterDisabled(c.filter); disabled != c.disabled || ok != c.ok {
			t.Errorf("%s %s: disabled %v, %v", c.path, c.filter, disabled, ok)
		}
	}
	_, errs, _ = tryCompile(t, `{name: rc, typed_per_filter_config: {f: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy}}}`, reg)
	if len(errs) != 1 || !strings.HasPrefix(errs[0], `typed_per_filter_config["f"]: envoy.extensions.filters.http.cors.v3.CorsPolicy is a known type`) {
		t.Errorf("unknown filter: %q", errs)
	}
}

func TestActionFields(t *testing.T) {
	table := compiled(t, inHost(`
retry_policy: {retry_on: "5xx,unavailable, whatever", num_retries: 7}
hedge_policy: {hedge_on_per_try_timeout: true}
request_mirror_policies: [{cluster: vh}]
include_request_attempt_count: true
per_request_buffer_limit_bytes: 10
routes:
- {name: bare, match: {path: /bare}, route: {cluster: c}}
- name: full
  match: {path: /full}
  request_body_buffer_limit: 20
  stat_prefix: sp
  route:
    cluster: c
    priority: HIGH
    timeout: 0s
    idle_timeout: 3s
    flush_timeout: 0s
    max_stream_duration: {max_stream_duration: 9s, grpc_timeout_header_max: 5s, grpc_timeout_header_offset: 1s}
    metadata_match: {filter_metadata: {envoy.lb: {v: "1"}}}
    upgrade_configs: [{upgrade_type: WebSocket, enabled: false}, {upgrade_type: CONNECT, connect_config: {allow_post: true}}]
    request_mirror_policies: [{cluster: rt, request_headers_mutations: [{append: {header: {key: a, value: b}}}, {remove: gone}, {remove_on_match: {key_matcher: {prefix: x-}}}]}]
    retry_policy:
      retry_on: connect-failure,refused-stream
      per_try_timeout: 1s
      retriable_status_codes: [418]
      retry_back_off: {base_interval: 0.5s}
      rate_limited_retry_back_off: {reset_headers: [{name: Retry-After}, {name: x-reset, format: UNIX_TIMESTAMP}]}
      host_selection_retry_max_attempts: 5
      retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]
- {name: old, match: {path: /old}, route: {cluster: c, max_grpc_timeout: 2s, grpc_timeout_offset: 0.5s}}
`))
	at := func(path string) *Route { return table.Match(ask(get("h", path))) }
	bare, full := at("/bare"), at("/full")
	if a := bare.Action; a.Timeout != 15*time.Second || a.Retry.On != On5xx|OnGRPCUnavailable || a.Retry.Retries != 7 ||
		!a.Hedge.OnPerTryTimeout || a.Mirrors[0].Cluster != "vh" || a.High || a.Idle.Set ||
		a.Retry.BackoffBase != 25*time.Millisecond || a.Retry.BackoffMax != 250*time.Millisecond || a.Retry.HostAttempts != 1 {
		t.Errorf("defaults and virtual host: %+v %+v", a, a.Retry)
	}
	if !bare.Host.AttemptCount || bare.BufferBytes != 10 || !bare.HasBuffer || !bare.Capped {
		t.Errorf("bare: %+v", bare)
	}
	if full.BufferBytes != 20 || full.Capped || full.StatPrefix != "sp" {
		t.Errorf("full: %+v", full)
	}
	a := full.Action
	if a.Timeout != 0 || a.Idle != (Limit{3 * time.Second, true}) || a.Flush != (Limit{0, true}) || !a.High || a.Subset.Fields["v"].GetStringValue() != "1" {
		t.Errorf("full: %+v", a)
	}
	if p := a.Retry; p.On != OnConnectFailure|OnRefusedStream || p.Retries != 1 || p.PerTryTimeout != time.Second ||
		!slices.Equal(p.StatusCodes, []int{418}) || p.BackoffMax != 5*time.Second || p.HostAttempts != 5 || !p.Selective() ||
		!slices.Equal(p.Reset, []ResetHeader{{"retry-after", false}, {"x-reset", true}}) || p.ResetMax != 300*time.Second {
		t.Errorf("retry: %+v", p)
	}
	if allowed, said := a.Upgrade("websocket"); allowed || !said {
		t.Error("websocket is switched off")
	}
	if allowed, said := a.Upgrade("CONNECT"); !allowed || !said || !a.Upgrades["connect"].Connect.AllowPost {
		t.Error("CONNECT ends here")
	}
	if _, said := a.Upgrade("other"); said {
		t.Error("nothing is said of other upgrades")
	}
	mirror := get("h:80", "/full", "gone: 1", "x-a: 1", "b: 2")
	a.Mirrors[0].Prepare(mirror, nil)
	if mirror.Authority != "h-shadow:80" || mirror.Header.Get("a") != "b" || mirror.Header.Has("gone") || mirror.Header.Has("x-a") || !mirror.Header.Has("b") {
		t.Errorf("mirror: %+v", mirror)
	}
	for _, c := range []struct {
		timeout string
		want    time.Duration
	}{
		{"", 9 * time.Second}, {"3S", 2 * time.Second}, {"1M", 4 * time.Second}, {"1S", time.Nanosecond}, {"3x", 9 * time.Second},
		{"999999999S", 9 * time.Second}, {"99999999H", 4 * time.Second}, {"2000m", time.Second}, {"S", 9 * time.Second},
	} {
		r := get("h", "/full")
		if c.timeout != "" {
			r.Header.Add("grpc-timeout", c.timeout)
		}
		if d, ok := a.StreamTimeout(r); d != c.want || !ok {
			t.Errorf("grpc-timeout %q: %v", c.timeout, d)
		}
	}
	old := at("/old").Action
	for _, c := range []struct {
		headers []string
		want    time.Duration
	}{
		{nil, 15 * time.Second},
		{[]string{"content-type: application/grpc"}, 2 * time.Second},
		{[]string{"content-type: application/grpc", "grpc-timeout: 1S"}, 500 * time.Millisecond},
		{[]string{"content-type: application/grpc", "grpc-timeout: 400m"}, 400 * time.Millisecond},
		{[]string{"content-type: application/grpc", "grpc-timeout: 9S"}, 2 * time.Second},
	} {
		if d := old.Limit(get("h", "/old", c.headers...)); d != c.want {
			t.Errorf("%q: %v, want %v", c.headers, d, c.want)
		}
	}
}
