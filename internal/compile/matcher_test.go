package compile_test

import (
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/compile"
	"github.com/ginnel/ginnel/internal/config"
)

const (
	toChain = `{name: a, typed_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: `
	inputOf = `{name: i, typed_config: {"@type": type.googleapis.com/envoy.extensions.matching.common_inputs.`
)

func TestChainMatcher(t *testing.T) {
	l := listeners(t, `
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 7}}
    filter_chain_matcher:
      matcher_tree:
        input: `+inputOf+`network.v3.DestinationPortInput}}
        exact_match_map:
          map:
            "80": {action: `+toChain+`a}}}
            "81": {action: `+toChain+`nobody}}}
            "82": {matcher: {matcher_tree: {input: `+inputOf+`ssl.v3.UriSanInput}}, prefix_match_map: {map: {"": {action: `+toChain+`a}}}}}}, on_no_match: {action: `+toChain+`a}}}}}
    filter_chains:
    - {name: a, filter_chain_match: {destination_port: 1, prefix_ranges: [{address_prefix: nope}]}, filters: `+echo+`}
    - {name: b, filter_chain_match: {destination_port: 1}, filters: `+echo+`}`)[0]
	for _, c := range []struct {
		to, want string
		ok       bool
	}{
		{"1.2.3.4:80", "a", true},
		{"1.2.3.4:81", "nobody", true},
		{"1.2.3.4:82", "", false}, // the peer's certificate is not known yet
		{"1.2.3.4:83", "", false},
	} {
		got, ok := l.Matcher(&filter.Info{Local: filter.IPAddr{AddrPort: at(c.to)}}, nil)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %q, %v; want %q, %v", c.to, got, ok, c.want, c.ok)
		}
	}
	if c := l.Chains[0]; c.Match.DestinationPort != 0 || c.Hash == l.Chains[1].Hash {
		t.Errorf("%+v", c)
	}
	if without := listeners(t, `
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 7}}
    filter_chains: [{name: a, filters: `+echo+`}]`)[0]; without.Matcher != nil || without.Hash == l.Hash || without.BaseHash != l.BaseHash {
		t.Error("a matcher is something that changes in place")
	}
}

func TestChainMatcherIssues(t *testing.T) {
	const unnamed = `[{filters: ` + echo + `}]`
	const one = `[{name: a, filters: ` + echo + `}]`
	for _, c := range []struct {
		name, matcher, chains string
		severity              extension.Severity
		want                  string // in one issue
	}{
		{"unnamed", `{}`, unnamed, extension.Error, `filter_chains[0].name: error adding listener '127.0.0.1:7': "name" field is required when using a listener matcher`},
		{"duplicate", `{}`, `[{name: a, filters: ` + echo + `}, {name: a, filters: ` + echo + `}]`, extension.Error, `filter_chains[1].name: error adding listener '127.0.0.1:7': "name" field is duplicated with value 'a'`},
		{"keep", `{on_no_match: {keep_matching: true, action: ` + toChain + `a}}}}`, one, extension.Error, "on_no_match.keep_matching: keep_matching is not supported in this context"},
		{"unknown", `{on_no_match: {action: ` + toChain + `b}}}}`, one, extension.Warning, `on_no_match.action.typed_config.value: no filter chain is named "b"`},
		{"action", `{on_no_match: {action: {name: a, typed_config: {"@type": type.googleapis.com/google.protobuf.UInt32Value, value: 1}}}}`, one, extension.Error, "google.protobuf.UInt32Value is a known type, but nothing that names a filter chain"},
		{"metadata", `{matcher_tree: {input: ` + inputOf + `network.v3.DynamicMetadataInput, filter: f, path: [{key: k}]}}, exact_match_map: {map: {a: {action: ` + toChain + `a}}}}}}}`, one, extension.Strict, "no such input for filter chains"},
		{"suffix", `{}`, `[{name: a, filter_chain_match: {suffix_len: 1}, filters: ` + echo + `}]`, extension.Error, "filter chain 'a' contains unimplemented fields"},
		{"match", `{}`, `[{name: a, filter_chain_match: {destination_port: 1}, filters: ` + echo + `}]`, extension.Warning, "filter_chains[0].filter_chain_match: is without effect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, i := range issues(t, `
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 7}}
    filter_chain_matcher: `+c.matcher+`
    filter_chains: `+c.chains) {
				if i.Severity == c.severity && strings.Contains(i.Path+": "+i.Message, c.want) {
					return
				}
			}
			t.Errorf("no issue %q", c.want)
		})
	}
}

// issues compiles YAML and returns all that is said of it.
func issues(t *testing.T, text string) []extension.Issue {
	t.Helper()
	doc, err := config.Load(config.Input{Path: "f.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	_, r := compile.Bootstrap(doc.Message.(*bootstrapv3.Bootstrap), builtin.Registry(), config.Unpack, compile.Options{})
	return r.Issues
}
