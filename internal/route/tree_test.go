package route

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/state"
)

// A matcher finds routes, and those still ask for what they match: who fits none of them
// has no route.
func TestTree(t *testing.T) {
	const header = `{name: i, typed_config: {"@type": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: To}}`
	const state1 = `{name: i, typed_config: {"@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput, key: who}}`
	table := compiled(t, inHost(`
matcher:
  matcher_tree:
    input: `+header+`
    exact_match_map:
      map:
        one: {action: {name: route, typed_config: {"@type": type.googleapis.com/envoy.config.route.v3.Route, name: one, match: {prefix: /one}, direct_response: {status: 200}}}}
        some: {action: {name: route, typed_config: {"@type": type.googleapis.com/envoy.config.route.v3.RouteList, routes: [{name: a, match: {prefix: /a}, direct_response: {status: 200}}, {name: rest, match: {path: /rest}, route: {weighted_clusters: {clusters: [{name: c, weight: 1}]}}}]}}}
        "x,y": {action: {name: route, typed_config: {"@type": type.googleapis.com/envoy.config.route.v3.Route, name: joined, match: {prefix: /}, direct_response: {status: 200}}}}
  on_no_match:
    matcher:
      matcher_tree:
        input: `+state1+`
        exact_match_map: {map: {alice: {action: {name: route, typed_config: {"@type": type.googleapis.com/envoy.config.route.v3.Route, name: alice, match: {prefix: /}, direct_response: {status: 200}}}}}}
`))
	alice := &filter.Info{}
	alice.State.Set(filter.Entry{Name: "who", Object: state.Text("alice")})
	for _, c := range []struct {
		path, to string
		info     *filter.Info
		want     string // "": none
	}{
		{"/one", "one", nil, "one"},
		{"/two", "one", alice, ""},
		{"/abc", "some", nil, "a"},
		{"/rest", "some", nil, "rest"},
		{"/nothing", "some", alice, ""},
		{"/", "x y", nil, "joined"},
		{"/", "y x", nil, ""},
		{"/one", "", nil, ""},
		{"/one", "", alice, "alice"},
	} {
		req := &httpmsg.Request{Method: "GET", Path: c.path, Authority: "a"}
		for _, v := range strings.Fields(c.to) {
			req.Header = append(req.Header, httpmsg.Field{Name: "to", Value: v})
		}
		name := ""
		if r := table.Match(&Query{Request: req, Info: c.info}); r != nil {
			name = r.Name()
			if r.Host == nil || r.Host.Name != "vh" {
				t.Errorf("%+v: of host %v", c, r.Host)
			}
		}
		if name != c.want {
			t.Errorf("%+v: route %q", c, name)
		}
	}
}

// Inputs that Envoy refuses in virtual hosts are taken, with a remark.
func TestTreeInputs(t *testing.T) {
	info := &filter.Info{
		Local:  filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:80")},
		Remote: filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:4000")},
	}
	info.RestoreRemote(filter.IPAddr{AddrPort: netip.MustParseAddrPort("[2001:db8::1]:5000")})
	info.Extra.Inspected = filter.Inspected{ServerName: "a.com", ApplicationProtocols: []string{"h2", "http/1.1"}}
	q := &Query{Request: &httpmsg.Request{Method: "GET", Path: "/p?q=v&r=", Authority: "a"}, Info: info}
	const network = "envoy.extensions.matching.common_inputs.network.v3."
	for _, c := range []struct{ input, key string }{
		{network + "DestinationIPInput", "127.0.0.1"},
		{network + "DestinationPortInput", "80"},
		{network + "SourceIPInput", "2001:db8::1"},
		{network + "SourcePortInput", "5000"},
		{network + "DirectSourceIPInput", "127.0.0.1"},
		{network + "SourceTypeInput", ""},
		{network + "ServerNameInput", "a.com"},
		{network + "TransportProtocolInput", "raw_buffer"},
		{network + "ApplicationProtocolInput", "'h2','http/1.1'"},
		{"envoy.type.matcher.v3.HttpRequestQueryParamMatchInput, query_param: q", "v"},
	} {
		text := strings.ReplaceAll(inTree(`{"@type": type.googleapis.com/`+c.input+`}`, route200), "map: {x:", fmt.Sprintf("map: {%q:", c.key))
		table, errs, report := tryCompile(t, text, nil)
		if len(errs) > 0 || len(report.Issues) != 1 || report.Issues[0].Severity != extension.Strict {
			t.Errorf("%s: %v", c.input, report.Issues)
			continue
		}
		if r := table.Match(q); (r != nil) != (c.key != "") {
			t.Errorf("%s is not %s", c.input, c.key)
		}
	}
}
