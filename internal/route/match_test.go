package route

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/state"
)

// A runtime has values by key.
type runtime map[string]uint64

func (r runtime) Uint(key string, def uint64) uint64 {
	if v, ok := r[key]; ok {
		return v
	}
	return def
}

func (r runtime) Enabled(string, uint32) bool { panic("the random number is the request's") }

func TestInfoMatchers(t *testing.T) {
	table := compiled(t, inHost(`
routes:
- {name: md, match: {path: /md, dynamic_metadata: [{filter: ns, path: [{key: a}, {key: b}], value: {string_match: {exact: x}}}]}, direct_response: {status: 200}}
- {name: notmd, match: {path: /md, dynamic_metadata: [{filter: ns, path: [{key: a}], value: {present_match: true}, invert: true}]}, direct_response: {status: 200}}
- {name: fs, match: {path: /fs, filter_state: [{key: who, string_match: {prefix: al}}]}, direct_response: {status: 200}}
- {name: ip, match: {path: /fs, filter_state: [{key: ip, address_match: {ranges: [{address_prefix: 10.1.2.3, prefix_len: 8}]}}]}, direct_response: {status: 200}}
- {name: run, match: {path: /run, runtime_fraction: {runtime_key: k, default_value: {numerator: 0}}}, direct_response: {status: 200}}
`))
	ask := func(path string, prepare func(*Query)) string {
		q := ask(get("h", path))
		prepare(q)
		if r := table.Match(q); r != nil {
			return r.Name()
		}
		return "-"
	}
	metadata := func(v map[string]any) func(*Query) {
		return func(q *Query) {
			s, err := structpb.NewStruct(v)
			if err != nil {
				t.Fatal(err)
			}
			q.Info.Metadata = filter.Metadata{"ns": s}
		}
	}
	object := func(name string, o filter.Object) func(*Query) {
		return func(q *Query) { q.Info.State.Set(filter.Entry{Name: name, Object: o}) }
	}
	for _, c := range []struct {
		path    string
		prepare func(*Query)
		want    string
	}{
		{"/md", metadata(map[string]any{"a": map[string]any{"b": "x"}}), "md"},
		{"/md", metadata(map[string]any{"a": map[string]any{"b": "y"}}), "-"},
		{"/md", func(*Query) {}, "notmd"},
		{"/fs", object("who", state.Text("alice")), "fs"},
		{"/fs", object("who", state.Text("bob")), "-"},
		{"/fs", object("ip", state.IP{Addr: netip.MustParseAddr("::ffff:10.9.9.9")}), "ip"},
		{"/fs", object("ip", state.IP{Addr: netip.MustParseAddr("11.9.9.9")}), "-"},
		{"/fs", func(*Query) {}, "-"},
		{"/run", func(*Query) {}, "-"},
		{"/run", func(q *Query) { q.Runtime = runtime{"k": 30}; q.Random = 129 }, "run"},
		{"/run", func(q *Query) { q.Runtime = runtime{"k": 30}; q.Random = 130 }, "-"},
		{"/run", func(q *Query) { q.Runtime = runtime{"other": 30} }, "-"},
	} {
		if got := ask(c.path, c.prepare); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
}

// Weights of the runtime stand in for those of the configuration; all of them 0 is no route.
func TestRuntimeWeights(t *testing.T) {
	table := compiled(t, inAction("weighted_clusters: {runtime_key_prefix: p, clusters: [{name: a, weight: 1}, {name: b, weight: 1}]}"))
	for _, c := range []struct {
		r      runtime
		random uint64
		want   string
	}{
		{nil, 0, "a"}, {nil, 1, "b"}, {nil, 2, "a"},
		{runtime{"p.a": 3}, 2, "a"}, {runtime{"p.a": 3}, 3, "b"}, {runtime{"p.a": 0}, 0, "b"},
		{runtime{"p.a": 0, "p.b": 0}, 0, "-"},
	} {
		q := ask(get("h", "/"))
		q.Random = c.random
		if c.r != nil {
			q.Runtime = c.r
		}
		got := "-"
		if r := table.Match(q); r != nil {
			got = r.Action.Cluster
		}
		if got != c.want {
			t.Errorf("%v %d: %s, want %s", c.r, c.random, got, c.want)
		}
	}
}

func TestHostHeaderAndPorts(t *testing.T) {
	const hosts = `
virtual_hosts:
- {name: a, domains: [a.com, "::1", "[::1]"], routes: [{name: a, match: {prefix: /}, direct_response: {status: 200}}]}
- {name: b, domains: ["b.com:80"], routes: [{name: b, match: {prefix: /}, direct_response: {status: 200}}]}
`
	for _, c := range []struct{ head, host, header, want string }{
		{"ignore_port_in_host_matching: true", "A.com:8080", "", "a"},
		{"ignore_port_in_host_matching: true", "[::1]:8080", "", "a"},
		{"ignore_port_in_host_matching: true", "[::1]", "", "a"},
		{"ignore_port_in_host_matching: true", "b.com:80", "", "-"}, // what is written with a port is never found
		{"name: x", "a.com:8080", "", "-"},
		{"name: x", "b.com:80", "", "b"},
		{"vhost_header: X-Host", "b.com:80", "a.com", "a"},
		{"vhost_header: X-Host", "a.com", "", "-"},
	} {
		r := get(c.host, "/")
		if c.header != "" {
			r.Header.Add("x-host", c.header)
		}
		if got := name(compiled(t, c.head+hosts), r); got != c.want {
			t.Errorf("%s, %s, %q: %s, want %s", c.head, c.host, c.header, got, c.want)
		}
	}
}

func TestPathParameters(t *testing.T) {
	const routes = "virtual_hosts: [{name: a, domains: ['*'], routes: [{name: r, match: {path: /a/b}, direct_response: {status: 200}}]}]"
	for _, c := range []struct{ head, path, want string }{
		{"name: x\n", "/a;p=1/b", "-"},
		{"name: x\n", "/a/b;p", "-"},
		{"ignore_path_parameters_in_path_matching: true\n", "/a;p=1/b", "r"},
		{"ignore_path_parameters_in_path_matching: true\n", "/a/b;p;q?x;y", "r"},
		{"ignore_path_parameters_in_path_matching: true\n", "/a/b/;p", "-"},
	} {
		if got := name(compiled(t, c.head+routes), get("h", c.path)); got != c.want {
			t.Errorf("%s %s: %s", c.head, c.path, got)
		}
	}
}

func TestRequireTLS(t *testing.T) {
	table := compiled(t, inHost("require_tls: EXTERNAL_ONLY\nroutes: [{name: r, match: {prefix: /}, direct_response: {status: 200}}]"))
	for _, c := range []struct {
		headers []string
		want    string // "-": none, a location, or the route
	}{
		{nil, "-"},
		{[]string{"x-forwarded-proto: http"}, "https://h:80/p?q"},
		{[]string{"x-forwarded-proto: http", "x-envoy-internal: true"}, "r"},
		{[]string{"x-forwarded-proto: https"}, "r"},
	} {
		r := get("h:80", "/p?q", c.headers...)
		q := ask(r)
		got := "-"
		if x := table.Match(q); x != nil && x.Redirect != nil {
			got = x.Location(r, q.Info)
		} else if x != nil {
			got = x.Name()
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.headers, got, c.want)
		}
	}
}

func TestVirtualClusters(t *testing.T) {
	table := compiled(t, inHost(`
virtual_clusters: [{name: put, headers: [{name: ":method", string_match: {exact: PUT}}]}, {name: a, headers: [{name: ":path", string_match: {prefix: /a}}]}]
routes: [{name: r, match: {prefix: /}, direct_response: {status: 200}}]`))
	h := table.Match(ask(get("h", "/"))).Host
	put := get("h", "/a")
	put.Method = "PUT"
	if a, b, c := h.VirtualCluster(put), h.VirtualCluster(get("h", "/a")), h.VirtualCluster(get("h", "/")); a != "put" || b != "a" || c != "other" {
		t.Error(a, b, c)
	}
}

// The order of the levels, both ways: a weighted cluster's is first either way.
func TestMutationOrder(t *testing.T) {
	const config = `
request_headers_to_add: [{header: {key: x, value: rc}}]
response_headers_to_add: [{header: {key: y, value: rc}}]
virtual_hosts:
- name: vh
  domains: ["*"]
  request_headers_to_add: [{header: {key: x, value: vh}}]
  response_headers_to_add: [{header: {key: y, value: vh}}]
  routes:
  - match: {prefix: /}
    request_headers_to_add: [{header: {key: x, value: r}}]
    response_headers_to_add: [{header: {key: y, value: r}}]
    route: {weighted_clusters: {clusters: [{name: c, weight: 1, request_headers_to_add: [{header: {key: x, value: w}}], response_headers_to_add: [{header: {key: y, value: w}}]}]}}
`
	for head, want := range map[string]string{
		"name: a\n": "w,r,vh,rc",
		"most_specific_header_mutations_wins: true\n": "w,rc,vh,r",
	} {
		q := ask(get("h", "/"))
		r := compiled(t, head+config).Match(q)
		r.Forward(q.Request, q.Info, true)
		if got, _ := q.Request.Header.Joined("x"); got != want {
			t.Errorf("%s: request %s, want %s", head, got, want)
		}
		out := get("", "").Header
		r.ResponseHeaders.Apply(&out, q.Info)
		if got, _ := out.Joined("y"); got != want {
			t.Errorf("%s: response %s, want %s", head, got, want)
		}
	}
}

func TestInternalRedirect(t *testing.T) {
	const predicates = `[{name: a, typed_config: {"@type": type.googleapis.com/envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig}},
    {name: b, typed_config: {"@type": type.googleapis.com/envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig, allowed_route_names: [x, y]}},
    {name: c, typed_config: {"@type": type.googleapis.com/envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig}}]`
	p := compiled(t, inAction("cluster: c\ninternal_redirect_policy: {redirect_response_codes: [301, 404, 303], response_headers_to_copy: [X-A], predicates: "+predicates+"}")).
		Match(ask(get("h", "/"))).Action.Redirect
	if p.Max != 1 || !slices.Equal(p.Codes, []int{301, 303}) || p.CrossScheme || !slices.Equal(p.Copy, []string{"x-a"}) {
		t.Errorf("%+v", p)
	}
	for _, c := range []struct {
		step Step
		want string // the predicate that refuses
	}{
		{Step{Target: "x"}, ""},
		{Step{Target: "x", Before: []string{"y"}}, ""},
		{Step{Target: "x", Before: []string{"y", "x"}}, "previous_routes"},
		{Step{Target: "z"}, "allow_listed_routes"},
		{Step{Target: "x", ToSecure: true}, "safe_cross_scheme"},
		{Step{Target: "x", ToSecure: true, FromTLS: true}, ""},
	} {
		if ok, which := p.Follow(c.step); ok != (c.want == "") || !strings.HasSuffix(which, c.want) {
			t.Errorf("%+v: %v %s", c.step, ok, which)
		}
	}
	old := compiled(t, inAction("cluster: c\ninternal_redirect_action: HANDLE_INTERNAL_REDIRECT\nmax_internal_redirects: 3")).Match(ask(get("h", "/")))
	if p := old.Action.Redirect; p == nil || p.Max != 3 || !slices.Equal(p.Codes, []int{302}) {
		t.Errorf("deprecated form: %+v", p)
	}
}

func TestAvoid(t *testing.T) {
	host := func(addr string, lb map[string]any) *filter.Host {
		h := &filter.Host{Addr: filter.IPAddr{AddrPort: netip.MustParseAddrPort(addr)}}
		if lb != nil {
			s, _ := structpb.NewStruct(lb)
			h.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.lb": s}}
		}
		return h
	}
	policy := func(predicates string) *RetryPolicy {
		return compiled(t, inAction("cluster: c\nretry_policy: {retry_host_predicate: ["+predicates+"]}")).Match(ask(get("h", "/"))).Action.Retry
	}
	previous := policy(`{name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}`)
	a, b := host("1.1.1.1:1", nil), host("1.1.1.1:2", map[string]any{"canary": true, "v": "1"})
	if !previous.Avoid(a, []*filter.Host{b, host("1.1.1.1:1", nil)}) || previous.Avoid(a, []*filter.Host{b}) {
		t.Error("previous hosts are avoided by address")
	}
	canary := policy(`{name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate}}`)
	if canary.Avoid(a, nil) || !canary.Avoid(b, nil) {
		t.Error("canaries are avoided")
	}
	omit := policy(`{name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig, metadata_match: {filter_metadata: {envoy.lb: {v: "1"}}}}}`)
	list := host("1.1.1.1:3", map[string]any{"v": []any{"0", "1"}}) // one of a list is enough
	if omit.Avoid(a, nil) || !omit.Avoid(b, nil) || !omit.Avoid(list, nil) {
		t.Error("hosts of the metadata are avoided")
	}
	if policy("").Selective() {
		t.Error("no predicate is against anything")
	}
}

// A cookie that is made is the same for all requests of a connection, and is written as
// Envoy writes it.
func TestCookieHash(t *testing.T) {
	a := compiled(t, inAction(`
cluster: c
hash_policy: [{cookie: {name: sid, ttl: 60s, path: /x, attributes: [{name: SameSite, value: Lax}, {name: Secure}]}}]`)).Match(ask(get("h", "/"))).Action
	q := ask(get("h", "/"))
	q.Info.Remote = filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:5000")}
	q.Info.Local = filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:80")}
	hash, cookies, ok := a.Hash(q.Request, q.Info)
	value, rest, _ := strings.Cut(strings.TrimPrefix(strings.Join(cookies, "|"), `sid="`), `"`)
	if !ok || len(value) != 16 || rest != "; Max-Age=60; Path=/x; SameSite=Lax; Secure; HttpOnly" {
		t.Fatalf("%v, %q", ok, cookies)
	}
	q.Request.Header.Add("cookie", "a=b; sid="+value)
	if again, cookies, ok := a.Hash(q.Request, q.Info); again != hash || len(cookies) > 0 || !ok {
		t.Errorf("with the cookie: %d, %q; without %d", again, cookies, hash)
	}
}

// big is a table of n virtual hosts with ten routes each.
func big(t testing.TB, n int) *Table {
	var b strings.Builder
	b.WriteString("virtual_hosts:\n")
	for i := range n {
		fmt.Fprintf(&b, "- name: h%d\n  domains: [h%d.com, \"*.h%d.net\"]\n  routes:\n", i, i, i)
		for j := range 9 {
			fmt.Fprintf(&b, "  - {match: {prefix: /api/v%d/}, route: {cluster: c%d}}\n", j, j)
		}
		b.WriteString("  - {name: last, match: {prefix: /, headers: [{name: x-a, string_match: {exact: b}}], query_parameters: [{name: q}]}, route: {cluster: c}}\n")
	}
	return compiled(t, b.String())
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := big(t, 20)
	r, i := get("x.h7.net", "/p?q=1", "x-a: b"), &filter.Info{}
	var got *Route
	n := testing.AllocsPerRun(100, func() {
		got = table.Match(&Query{Request: r, Info: i, Random: 1})
	})
	if n > 0 || got.Name() != "last" {
		t.Errorf("%v allocations for %s", n, got.Name())
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table := big(b, n)
			r, i := get("x.h0.net", "/p?q=1", "x-a: b"), &filter.Info{}
			b.ReportAllocs()
			for b.Loop() {
				table.Match(&Query{Request: r, Info: i})
			}
		})
	}
}
