package route

import (
	"strings"
	"testing"

	"encoding/json"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// tryCompile compiles a RouteConfiguration in YAML; errors are "path: message" lines.
func tryCompile(t testing.TB, text string, reg *extension.Registry) (*Table, []string, *extension.Report) {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "\t", "  ")), &tree); err != nil {
		t.Fatal(err)
	}
	j, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	m := &routev3.RouteConfiguration{}
	if err := protojson.Unmarshal(j, m); err != nil {
		t.Fatal(err)
	}
	r := &extension.Report{}
	if reg == nil {
		reg = &extension.Registry{}
	}
	resolve := func(a *anypb.Any) (proto.Message, error) { return a.UnmarshalNew() }
	table, ok := Compile(extension.NewScope(r, reg, resolve), m, Options{})
	var errs []string
	for _, i := range r.Issues {
		if i.Severity == extension.Error {
			errs = append(errs, i.Path+": "+i.Message)
		}
	}
	if ok != (len(errs) == 0) {
		t.Errorf("Compile says %v with errors %q", ok, errs)
	}
	return table, errs, r
}

func compiled(t testing.TB, text string) *Table {
	t.Helper()
	table, errs, _ := tryCompile(t, text, nil)
	if len(errs) > 0 {
		t.Fatalf("errors: %q", errs)
	}
	return table
}

// get is a request for host and path, with headers as "name: value".
func get(host, path string, headers ...string) *httpmsg.Request {
	r := &httpmsg.Request{Method: "GET", Scheme: "http", Authority: host, Path: path, Protocol: httpmsg.HTTP11}
	for _, h := range headers {
		name, v, _ := strings.Cut(h, ": ")
		r.Header.Add(name, v)
	}
	return r
}

func ask(r *httpmsg.Request) *Query {
	i := &filter.Info{}
	i.More().HTTP = &filter.HTTPInfo{Request: r}
	return &Query{Request: r, Info: i}
}

// name is the name of the route that a request gets, "-" for none.
func name(t *Table, r *httpmsg.Request) string {
	if x := t.Match(ask(r)); x != nil {
		return x.Name()
	}
	return "-"
}

func TestVirtualHosts(t *testing.T) {
	host := func(name string, domains string) string {
		return "- {name: " + name + ", domains: [" + domains + "], routes: [{name: " + name + ", match: {prefix: /}, direct_response: {status: 200}}]}\n"
	}
	table := compiled(t, "name: rc\nvirtual_hosts:\n"+
		host("exact", "www.foo.com")+host("long", `"*-bar.foo.com"`)+host("short", `"*.foo.com"`)+
		host("longprefix", `"foo.b*"`)+host("prefix", `"foo.*"`)+host("all", `"*"`)+host("port", `"p.com:8080"`))
	for _, c := range []struct{ host, want string }{
		{"www.foo.com", "exact"},
		{"WWW.Foo.COM", "exact"},
		{"x-bar.foo.com", "long"},
		{"-bar.foo.com", "short"}, // a wildcard is not empty
		{"a.b.foo.com", "short"},
		{".foo.com", "all"},
		{"foo.com", "prefix"},
		{"foo.bar", "longprefix"},
		{"foo.b", "prefix"},
		{"foo.", "all"},
		{"www.foo.com:80", "all"},
		{"p.com:8080", "port"},
		{"p.com", "all"},
		{"", "-"},
	} {
		if got := name(table, get(c.host, "/")); got != c.want {
			t.Errorf("%q: %s, want %s", c.host, got, c.want)
		}
	}
}
