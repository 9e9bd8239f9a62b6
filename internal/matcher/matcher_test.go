package matcher_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	commonv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/consistent_hashing/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/ip/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/metadata/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/runtime_fraction/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/matcher"
)

// data are the values of inputs by name.
type data map[string]matcher.Value

// inputs has one that reads data.
func inputs() *matcher.Inputs[data] {
	in := new(matcher.Inputs[data])
	matcher.Add(in, func(_ *extension.Scope, m *typematcherv3.HttpRequestHeaderMatchInput) matcher.Input[data] {
		return func(d data) matcher.Value { return d[m.HeaderName] }
	})
	in.Refuse("there are no trailers", &typematcherv3.HttpRequestTrailerMatchInput{})
	return in
}

// compile compiles a matcher whose actions are texts.
func compile(m *matcherv3.Matcher, keep bool) (*matcher.Tree[data, string], []extension.Issue) {
	r := &extension.Report{}
	resolve := func(a *anypb.Any) (proto.Message, error) { return a.UnmarshalNew() }
	t := matcher.Compile(extension.NewScope(r, &extension.Registry{}, resolve).At("m"), m, matcher.Context[data, string]{
		Inputs: inputs(),
		Keep:   keep,
		Action: func(s *extension.Scope, m proto.Message) string {
			v, ok := m.(*wrapperspb.StringValue)
			if !ok {
				s.Errorf("no text")
			}
			return v.GetValue()
		},
	})
	return t, r.Issues
}

// parse reads a matcher, in which <a> is the input a, =x the action x and {} around a
// custom matcher its type and fields.
func parse(t testing.TB, text string, m proto.Message) {
	t.Helper()
	for _, name := range []string{"a", "b"} {
		text = strings.ReplaceAll(text, "<"+name+">", `{"name": "i", "typed_config": {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": "`+name+`"}}`)
	}
	for {
		before, rest, ok := strings.Cut(text, "=")
		if !ok {
			break
		}
		i := strings.IndexFunc(rest, func(r rune) bool { return strings.ContainsRune(" ,}]", r) })
		text = before + `{"action": ` + action(rest[:i], "") + `}` + rest[i:]
	}
	text = strings.ReplaceAll(text, "TYPE ", `"name": "c", "typed_config": {"@type": "type.googleapis.com/`)
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func action(name, more string) string {
	return `{"name": "t", "typed_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "` + name + `"}` + more + `}`
}

func text(s string) data { return data{"a": matcher.Text(s)} }

func both(a, b string) data { return data{"a": matcher.Text(a), "b": matcher.Text(b)} }

func ipMatcher(ranges string) string {
	return `{"matcher_tree": {"input": <a>, "custom_match": {TYPE xds.type.matcher.v3.IPMatcher", "range_matchers": [` + ranges + `]}}}, "on_no_match": =none }`
}

// What a real Envoy 1.40.0 answered to the same, with headers as inputs.
func TestMatch(t *testing.T) {
	type want struct {
		in   data
		want string // "": no match
	}
	onB := func(value, action string) string {
		return `{"matcher": {"matcher_tree": {"input": <b>, "exact_match_map": {"map": {"` + value + `": =` + action + ` }}}}}`
	}
	value := func(match string) string {
		return `{"matcher_list": {"matchers": [{"predicate": {"single_predicate": {"input": <a>, "value_match": ` + match + `}}, "on_match": =yes }]}}`
	}
	custom := func(name, fields string) string {
		return `{"matcher_list": {"matchers": [{"predicate": {"single_predicate": {"input": <a>, "custom_match": {TYPE envoy.extensions.matching.input_matchers.` + name + `", ` + fields + `}}}}, "on_match": =yes }]}}`
	}
	for name, c := range map[string]struct {
		config string
		wants  []want
	}{
		"empty":            {`{}`, []want{{text("x"), ""}}},
		"only on_no_match": {`{"on_no_match": =none }`, []want{{text("x"), "none"}, {nil, "none"}}},
		"exact": {`{"matcher_tree": {"input": <a>, "exact_match_map": {"map": {"x": =x , "": =empty , "10.0.0.1": =ip , "80": =port , "'h2','http/1.1'": =alpn }}}, "on_no_match": =none }`, []want{
			{text("x"), "x"}, {text(""), "empty"}, {nil, "none"}, {text("y"), "none"},
			{data{"a": matcher.Address(netip.MustParseAddr("10.0.0.1"))}, "ip"},
			{data{"a": matcher.Port(80)}, "port"},
			{data{"a": matcher.Quoted([]string{"h2", "http/1.1"})}, "alpn"},
		}},
		"exact, nested without a match": {`{"matcher_tree": {"input": <a>, "exact_match_map": {"map": {"x": ` + onB("1", "one") + `}}}, "on_no_match": =none }`, []want{
			{both("x", "1"), "one"}, {both("x", "2"), "none"},
		}},
		"prefix": {`{"matcher_tree": {"input": <a>, "prefix_match_map": {"map": {"": =empty , "a": =a , "ab": =ab , "abc": ` + onB("1", "b1") + `, "abz": =abz , "b": =b }}}, "on_no_match": =none }`, []want{
			{text("abc"), "ab"}, {both("abc", "1"), "b1"}, {both("abcd", "1"), "b1"}, {text("abd"), "ab"}, {text("ac"), "a"},
			{text("zz"), "empty"}, {text(""), "empty"}, {nil, "none"}, {text("abzz"), "abz"}, {text("b"), "b"},
			{data{"a": matcher.Port(80)}, "empty"},
		}},
		"list": {`{"matcher_list": {"matchers": [{"predicate": {"single_predicate": {"input": <a>, "value_match": {"exact": "x"}}}, "on_match": ` + onB("1", "one") + `}, {"predicate": {"single_predicate": {"input": <a>, "value_match": {"prefix": "x"}}}, "on_match": =second }]}}`, []want{
			{text("x"), "second"}, {both("x", "1"), "one"}, {text("y"), ""}, {text("xy"), "second"},
		}},
		"not": {`{"matcher_list": {"matchers": [{"predicate": {"not_matcher": {"single_predicate": {"input": <a>, "value_match": {"exact": "x"}}}}, "on_match": =not }]}}`, []want{
			{text("x"), ""}, {text("y"), "not"}, {nil, "not"},
		}},
		"or, and": {`{"matcher_list": {"matchers": [
			{"predicate": {"or_matcher": {"predicate": [{"single_predicate": {"input": <a>, "value_match": {"exact": "x"}}}, {"single_predicate": {"input": <a>, "value_match": {"exact": "y"}}}]}}, "on_match": =or },
			{"predicate": {"and_matcher": {"predicate": [{"single_predicate": {"input": <a>, "value_match": {"prefix": "z"}}}, {"single_predicate": {"input": <a>, "value_match": {"suffix": "z"}}}]}}, "on_match": =and }]}}`, []want{
			{text("x"), "or"}, {text("y"), "or"}, {text("z"), "and"}, {text("zy"), ""}, {nil, ""},
		}},
		"no text is not an empty one": {value(`{"exact": ""}`), []want{{text(""), "yes"}, {nil, ""}}},
		"ignore_case":                 {value(`{"contains": "QQ", "ignore_case": true}`), []want{{text("1qQ"), "yes"}, {text("1q1Q"), ""}}},
		"regex":                       {value(`{"safe_regex": {"google_re2": {}, "regex": "a|b"}}`), []want{{text("b"), "yes"}, {text("ab"), ""}}},
		"text of a port":              {value(`{"prefix": "80"}`), []want{{data{"a": matcher.Port(8080)}, "yes"}, {data{"a": matcher.Port(90)}, ""}}},
		"ip": {ipMatcher(`{"ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}], "on_match": =ten },
			{"ranges": [{"address_prefix": "10.1.0.0", "prefix_len": 16}], "on_match": ` + onB("1", "first") + `},
			{"ranges": [{"address_prefix": "10.1.0.0", "prefix_len": 16}], "on_match": ` + onB("2", "second") + `},
			{"ranges": [{"address_prefix": "2001:db8::", "prefix_len": 32}], "on_match": =six },
			{"ranges": [{"address_prefix": "13.9.9.9", "prefix_len": 8}], "on_match": =bits },
			{"ranges": [{"address_prefix": "14.0.0.1"}], "on_match": =all }`), []want{
			{text("10.2.0.0"), "ten"}, {text("10.1.0.1"), "ten"}, {both("10.1.0.1", "1"), "first"}, {both("10.1.0.1", "2"), "second"},
			{text("2001:db8::5"), "six"}, {text("::ffff:10.2.0.0"), "none"}, {text("10.2.0.0:80"), "none"}, {text("[2001:db8::5]"), "none"},
			{text("13.1.1.1"), "bits"}, {text("99.1.1.1"), "all"}, {text("010.2.0.0"), "none"}, {text(""), "none"}, {nil, "none"},
			{data{"a": matcher.Address(netip.MustParseAddr("10.1.0.1")), "b": matcher.Text("2")}, "second"},
		}},
		"exclusive": {ipMatcher(`{"ranges": [{"address_prefix": "11.0.0.0", "prefix_len": 8}], "exclusive": true, "on_match": =eleven },
			{"ranges": [{"address_prefix": "11.1.0.0", "prefix_len": 16}], "exclusive": true, "on_match": ` + onB("1", "narrow") + `},
			{"ranges": [{"address_prefix": "12.0.0.0", "prefix_len": 7}], "on_match": =seven },
			{"ranges": [{"address_prefix": "12.0.0.0", "prefix_len": 8}], "exclusive": true, "on_match": =eight },
			{"ranges": [{"address_prefix": "12.1.0.0", "prefix_len": 16}], "exclusive": true, "on_match": ` + onB("1", "twelve") + `},
			{"ranges": [{"address_prefix": "15.0.0.0", "prefix_len": 8}], "exclusive": true, "on_match": ` + onB("1", "fifteen") + `},
			{"ranges": [{"address_prefix": "15.0.0.0", "prefix_len": 8}], "exclusive": true, "on_match": =never }`), []want{
			{text("11.1.1.1"), "none"}, {text("11.2.1.1"), "eleven"}, {both("11.1.1.1", "1"), "narrow"},
			{text("12.1.1.1"), "seven"}, {text("12.2.1.1"), "eight"}, {text("15.0.0.0"), "none"}, {both("15.0.0.0", "1"), "fifteen"},
		}},
		"server name": {`{"matcher_tree": {"input": <a>, "custom_match": {TYPE xds.type.matcher.v3.ServerNameMatcher", "domain_matchers": [
			{"domains": ["a.com"], "on_match": ` + onB("1", "exact") + `}, {"domains": ["*.b.com"], "on_match": =b }, {"domains": ["*.x.b.com"], "on_match": ` + onB("1", "x") + `},
			{"domains": ["y.x.b.com"], "on_match": ` + onB("2", "y") + `}, {"domains": ["*"], "on_match": ` + onB("9", "star") + `}, {"domains": ["MiXed.org"], "on_match": =mixed }]}}}, "on_no_match": =none }`, []want{
			{text("a.com"), "none"}, {both("a.com", "1"), "exact"}, {both("a.com", "9"), "star"}, {text("q.b.com"), "b"}, {text("b.com"), "none"},
			{text("q.x.b.com"), "b"}, {both("q.x.b.com", "1"), "x"}, {both("y.x.b.com", "1"), "x"}, {both("y.x.b.com", "2"), "y"}, {text("y.x.b.com"), "b"},
			{both("A.COM", "1"), "none"}, {text("mixed.org"), "none"}, {text("MiXed.org"), "mixed"}, {both("", "9"), "none"}, {data{"b": matcher.Text("9")}, "none"},
			{both("zz", "9"), "star"}, {text(".b.com"), "b"}, {both("a.com.", "1"), "none"}, {text("q..b.com"), "b"},
		}},
		"address of a value": {custom("ip.v3.Ip", `"stat_prefix": "p", "cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}, {"address_prefix": "2001:db8::", "prefix_len": 32}]`), []want{
			{text("10.1.1.1"), "yes"}, {text("11.1.1.1"), ""}, {text("x"), ""}, {nil, ""}, {text(""), ""}, {text("2001:db8::1"), "yes"}, {text("::ffff:10.1.1.1"), ""},
		}},
		"metadata": {custom("metadata.v3.Metadata", `"value": {"string_match": {"exact": "x"}}`), []want{
			{data{"a": matcher.Metadata(structpb.NewStringValue("x"))}, "yes"}, {data{"a": matcher.Metadata(nil)}, ""}, {text("x"), ""}, {nil, ""},
		}},
		"metadata has no text": {value(`{"exact": ""}`), []want{{data{"a": matcher.Metadata(nil)}, ""}}},
		"not of metadata": {custom("metadata.v3.Metadata", `"value": {"string_match": {"exact": "x"}}, "invert": true`), []want{
			{data{"a": matcher.Metadata(nil)}, "yes"}, {nil, ""},
		}},
	} {
		m := &matcherv3.Matcher{}
		parse(t, c.config, m)
		tree, issues := compile(m, false)
		if len(issues) > 0 {
			t.Errorf("%s: %v", name, issues)
			continue
		}
		for _, w := range c.wants {
			got, out := tree.Match(w.in, nil)
			if got != w.want || (out == matcher.Matched) != (w.want != "") || out == matcher.Undecided {
				t.Errorf("%s: %v leads to %q (%d), want %q", name, w.in, got, out, w.want)
			}
		}
	}
}

// The shares of texts that pass, as a real Envoy 1.40.0 let the texts 0 to 11 and "" pass.
func TestHashed(t *testing.T) {
	for config, want := range map[string]string{
		`consistent_hashing.v3.ConsistentHashing", "threshold": 2, "modulo": 4`:                                       "2 6 7 9 10 11",
		`consistent_hashing.v3.ConsistentHashing", "threshold": 2, "modulo": 4, "seed": "7"`:                          "1 4 6 7 8 9 11",
		`runtime_fraction.v3.RuntimeFraction", "runtime_fraction": {"default_value": {"numerator": 50}}`:              "0 1 6 10 11 ''",
		`runtime_fraction.v3.RuntimeFraction", "seed": "7", "runtime_fraction": {"default_value": {"numerator": 50}}`: "0 1 2 3 5 6 7 9 10",
	} {
		m := &matcherv3.Matcher{}
		parse(t, `{"matcher_list": {"matchers": [{"predicate": {"single_predicate": {"input": <a>, "custom_match": {TYPE envoy.extensions.matching.input_matchers.`+config+`}}}}, "on_match": =yes }]}}`, m)
		tree, issues := compile(m, false)
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		var got []string
		for i := range 12 {
			if _, out := tree.Match(text(fmt.Sprint(i)), nil); out == matcher.Matched {
				got = append(got, fmt.Sprint(i))
			}
		}
		if _, out := tree.Match(text(""), nil); out == matcher.Matched {
			got = append(got, "''")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s pass, want %s", config, strings.Join(got, " "), want)
		}
		if _, out := tree.Match(nil, nil); out != matcher.NoMatch {
			t.Errorf("%s: passes without a text", config)
		}
	}
}

// What is not known yet decides nothing, unless what is known is enough.
func TestUndecided(t *testing.T) {
	pending, growing := matcher.Pending(), matcher.Text("x").Growing()
	pred := func(p string) string {
		return `{"matcher_list": {"matchers": [{"predicate": ` + p + `, "on_match": =yes }]}, "on_no_match": =none }`
	}
	isX := func(in string) string {
		return `{"single_predicate": {"input": <` + in + `>, "value_match": {"exact": "x"}}}`
	}
	exact := func(key string) string {
		return `{"matcher_tree": {"input": <a>, "exact_match_map": {"map": {"` + key + `": =yes }}}, "on_no_match": =none }`
	}
	for _, c := range []struct {
		config string
		in     data
		want   matcher.Outcome
	}{
		{exact("x"), data{"a": pending}, matcher.Undecided},
		{exact("x"), data{"a": growing}, matcher.Matched},
		{exact("y"), data{"a": growing}, matcher.Undecided},
		{ipMatcher(`{"ranges": [{"address_prefix": "::"}], "on_match": =all }`), data{"a": matcher.Text("::1").Growing()}, matcher.Undecided},
		{pred(isX("a")), data{"a": pending}, matcher.Undecided},
		{pred(isX("a")), data{"a": growing}, matcher.Matched},
		{pred(isX("a")), data{"a": matcher.Text("y").Growing()}, matcher.Undecided},
		{pred(`{"not_matcher": ` + isX("a") + `}`), data{"a": pending}, matcher.Undecided},
		{pred(`{"or_matcher": {"predicate": [` + isX("a") + `, ` + isX("b") + `]}}`), data{"a": pending, "b": matcher.Text("x")}, matcher.Matched},
		{pred(`{"or_matcher": {"predicate": [` + isX("a") + `, ` + isX("b") + `]}}`), data{"a": pending}, matcher.Undecided},
		{pred(`{"and_matcher": {"predicate": [` + isX("b") + `, ` + isX("a") + `]}}`), data{"a": pending}, matcher.Matched},
		{pred(`{"and_matcher": {"predicate": [` + isX("a") + `, ` + isX("b") + `]}}`), data{"a": pending}, matcher.Undecided},
		{`{"matcher_tree": {"input": <b>, "prefix_match_map": {"map": {"": =short , "x": {"matcher": ` + exact("x") + `}}}}}`, data{"a": pending, "b": matcher.Text("x")}, matcher.Undecided},
	} {
		m := &matcherv3.Matcher{}
		parse(t, c.config, m)
		tree, issues := compile(m, false)
		if _, out := tree.Match(c.in, nil); out != c.want || len(issues) > 0 {
			t.Errorf("%s: outcome %d, want %d; %v", c.config, out, c.want, issues)
		}
	}
}

// Actions with keep_matching are taken, and matching goes on as if there had been none.
func TestKeepMatching(t *testing.T) {
	keep := func(a string) string { return `{"action": ` + action(a, "") + `, "keep_matching": true}` }
	m := &matcherv3.Matcher{}
	parse(t, `{"matcher_list": {"matchers": [
		{"predicate": {"single_predicate": {"input": <a>, "value_match": {"exact": "x"}}}, "on_match": `+keep("first")+`},
		{"predicate": {"single_predicate": {"input": <a>, "value_match": {"exact": "x"}}}, "on_match": {"keep_matching": true, "matcher": {"matcher_tree": {"input": <b>, "exact_match_map": {"map": {"1": =nested , "2": `+keep("inner")+`}}}}}},
		{"predicate": {"single_predicate": {"input": <b>, "value_match": {"exact": "1"}}}, "on_match": =last }]}, "on_no_match": `+keep("none")+`}`, m)
	if _, issues := compile(m, false); len(issues) != 4 || !strings.Contains(issues[0].Message, "keep_matching is not supported in this context") {
		t.Errorf("where it is not supported: %v", issues)
	}
	tree, issues := compile(m, true)
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	for _, c := range []struct{ a, b, want, kept string }{
		{"x", "1", "last", "first nested"},
		{"x", "2", "", "first inner none"},
		{"y", "1", "last", ""},
	} {
		var kept []string
		got, _ := tree.Match(both(c.a, c.b), func(a string) { kept = append(kept, a) })
		if got != c.want || strings.Join(kept, " ") != c.kept {
			t.Errorf("%s, %s: %q and kept %q, want %q and %q", c.a, c.b, got, kept, c.want, c.kept)
		}
		if again, _ := tree.Match(both(c.a, c.b), nil); again != got {
			t.Errorf("%s, %s: %q where nobody keeps", c.a, c.b, again)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	ok := `{"single_predicate": {"input": <a>, "value_match": {"exact": "x"}}}`
	list := func(p string) string {
		return `{"matcher_list": {"matchers": [{"predicate": ` + p + `, "on_match": =x }]}}`
	}
	value := func(v string) string { return list(`{"single_predicate": {"input": <a>, "value_match": ` + v + `}}`) }
	custom := func(c string) string {
		return list(`{"single_predicate": {"input": <a>, "custom_match": {TYPE ` + c + `}}}}`)
	}
	tree := func(c string) string {
		return `{"matcher_tree": {"input": <a>, "custom_match": {TYPE ` + c + `}}}}`
	}
	domains := func(d string) string {
		return tree(`xds.type.matcher.v3.ServerNameMatcher", "domain_matchers": [{"domains": [` + d + `], "on_match": =x }]`)
	}
	const one, single = "m.matcher_list.matchers[0].", "m.matcher_list.matchers[0].predicate.single_predicate."
	const config, input = "custom_match.typed_config.", "envoy.extensions.matching.input_matchers."
	for _, c := range []struct{ config, want string }{
		{`{"matcher_list": {}}`, "m.matcher_list.matchers: at least one is required"},
		{`{"matcher_tree": {"input": <a>}}`, "m.matcher_tree: one of exact_match_map, prefix_match_map and custom_match is required"},
		{`{"matcher_tree": {"input": <a>, "exact_match_map": {}}}`, "m.matcher_tree.exact_match_map.map: at least one entry is required"},
		{`{"matcher_tree": {"input": <a>, "prefix_match_map": {"map": {"x": {}}}}}`, `m.matcher_tree.prefix_match_map.map["x"]: one of matcher and action is required`},
		{`{"matcher_tree": {"exact_match_map": {"map": {"x": =x }}}}`, "m.matcher_tree.input.typed_config: is required"},
		{`{"on_no_match": {"action": {"name": "x"}}}`, "m.on_no_match.action.typed_config: is required"},
		{`{"on_no_match": {"action": {TYPE google.protobuf.BoolValue", "value": true}}}}`, "m.on_no_match.action.typed_config: no text"},
		{`{"matcher_list": {"matchers": [{"on_match": =x }]}}`, one + "predicate: one of single_predicate, or_matcher, and_matcher and not_matcher is required"},
		{`{"matcher_list": {"matchers": [{"predicate": ` + ok + `}]}}`, one + "on_match: is required"},
		{list(`{"single_predicate": {"input": <a>}}`), single[:len(single)-1] + ": one of value_match and custom_match is required"},
		{list(`{"or_matcher": {"predicate": [` + ok + `]}}`), one + "predicate.or_matcher.predicate: at least two are required"},
		{value(`{}`), single + "value_match: a match pattern is required"},
		{value(`{"prefix": ""}`), single + "value_match: the text of prefix, suffix and contains must not be empty"},
		{value(`{"safe_regex": {"regex": "a"}}`), single + "value_match.safe_regex.google_re2: is required"},
		{value(`{"safe_regex": {"google_re2": {}, "regex": "a["}}`), single + "value_match.safe_regex.regex: missing ]: ["},
		{value(`{"ignore_case": true, "safe_regex": {"google_re2": {}, "regex": "a"}}`), single + "value_match.ignore_case: ignore_case has no effect for safe_regex."},
		{`{"matcher_tree": {"input": {TYPE google.protobuf.StringValue", "value": "x"}}, "exact_match_map": {"map": {"x": =x }}}}`,
			"m.matcher_tree.input.typed_config: google.protobuf.StringValue is a known type, but ginnel does not implement it as an input here (implemented: envoy.extensions.matching.common_inputs.environment_variable.v3.Config, envoy.type.matcher.v3.HttpRequestHeaderMatchInput)"},
		{`{"matcher_tree": {"input": {TYPE envoy.type.matcher.v3.HttpRequestTrailerMatchInput"}}, "exact_match_map": {"map": {"x": =x }}}}`,
			"m.matcher_tree.input.typed_config: envoy.type.matcher.v3.HttpRequestTrailerMatchInput: there are no trailers"},
		{custom(`xds.type.matcher.v3.CelMatcher"`), single + "custom_match.typed_config: xds.type.matcher.v3.CelMatcher is a known type, but ginnel does not implement it as a matcher of an input (implemented: " +
			input + "ip.v3.Ip, " + input + "consistent_hashing.v3.ConsistentHashing, " + input + "runtime_fraction.v3.RuntimeFraction, " + input + "metadata.v3.Metadata)"},
		{custom(input + `ip.v3.Ip", "stat_prefix": "p"`), single + config + "cidr_ranges: at least one is required"},
		{custom(input + `ip.v3.Ip", "cidr_ranges": [{"address_prefix": "::"}]`), single + config + "stat_prefix: is required"},
		{custom(input + `consistent_hashing.v3.ConsistentHashing"`), single + config + "modulo: must be greater than 0"},
		{custom(input + `consistent_hashing.v3.ConsistentHashing", "threshold": 5, "modulo": 4`), single + config + "threshold: threshold cannot be greater than modulo: 5 > 4"},
		{custom(input + `runtime_fraction.v3.RuntimeFraction"`), single + config + "runtime_fraction: is required"},
		{custom(input + `metadata.v3.Metadata"`), single + config + "value: is required"},
		{tree(input + `metadata.v3.Metadata"`), "m.matcher_tree.custom_match.typed_config: " + input + "metadata.v3.Metadata is a known type, but ginnel does not implement it as a matcher of a tree (implemented: xds.type.matcher.v3.IPMatcher, xds.type.matcher.v3.ServerNameMatcher)"},
		{tree(`xds.type.matcher.v3.IPMatcher", "range_matchers": [{"on_match": =x }]`), "m.matcher_tree." + config + "range_matchers[0].ranges: at least one is required"},
		{tree(`xds.type.matcher.v3.IPMatcher", "range_matchers": [{"ranges": [{"address_prefix": "::"}]}]`), "m.matcher_tree." + config + "range_matchers[0].on_match: is required"},
		{tree(`xds.type.matcher.v3.IPMatcher", "range_matchers": [{"ranges": [{"address_prefix": "nope"}], "on_match": =x }]`), "m.matcher_tree." + config + "range_matchers[0].ranges[0].address_prefix: malformed IP address: nope"},
		{domains(`"a.com", "a.com"`), "m.matcher_tree." + config + "domain_matchers[0].domains[1]: Duplicate domain in ServerNameMatcher: a.com"},
		{domains(`"*", "*"`), "m.matcher_tree." + config + "domain_matchers[0].domains[1]: Duplicate domain in ServerNameMatcher: *"},
		{domains(`"*.a", "*.a"`), "m.matcher_tree." + config + "domain_matchers[0].domains[1]: Duplicate domain in ServerNameMatcher: *.a"},
		{domains(`""`), "m.matcher_tree." + config + "domain_matchers[0].domains[0]: Empty domain in ServerNameMatcher"},
		{domains(`"a.*.com"`), "m.matcher_tree." + config + "domain_matchers[0].domains[0]: Invalid wildcard domain format: a.*.com. Only '*' and '*.domain' patterns are supported"},
		{domains(`"*."`), "m.matcher_tree." + config + "domain_matchers[0].domains[0]: Invalid wildcard domain format: *.. Only '*' and '*.domain' patterns are supported"},
		{domains(`"*.*.com"`), "m.matcher_tree." + config + "domain_matchers[0].domains[0]: Invalid wildcard domain format: *.*.com. Multiple wildcards are not supported"},
		{domains(``), "m.matcher_tree." + config + "domain_matchers[0].domains: at least one is required"},
	} {
		m := &matcherv3.Matcher{}
		parse(t, c.config, m)
		_, issues := compile(m, false)
		if len(issues) != 1 || issues[0].Path+": "+issues[0].Message != c.want {
			t.Errorf("%s:\n%v, want\n%s", c.config, issues, c.want)
		}
	}
}

// However deep a matcher is nested, compiling it ends, with an error.
func TestDepth(t *testing.T) {
	m := &matcherv3.Matcher{}
	p := &matcherv3.Matcher_MatcherList_Predicate{}
	for range 100_000 {
		m = &matcherv3.Matcher{OnNoMatch: &matcherv3.Matcher_OnMatch{OnMatch: &matcherv3.Matcher_OnMatch_Matcher{Matcher: m}}}
		p = &matcherv3.Matcher_MatcherList_Predicate{MatchType: &matcherv3.Matcher_MatcherList_Predicate_NotMatcher{NotMatcher: p}}
	}
	inList := &matcherv3.Matcher{}
	parse(t, `{"matcher_list": {"matchers": [{"on_match": =x }]}}`, inList)
	inList.GetMatcherList().Matchers[0].Predicate = p
	for _, m := range []*matcherv3.Matcher{m, inList} {
		_, issues := compile(m, false)
		if len(issues) != 1 || issues[0].Message != "nested more than 100 deep" {
			t.Error(issues)
		}
	}
}

// Envoy's own form of a matcher is the same one.
func TestFromEnvoy(t *testing.T) {
	const config = `{"matcher_list": {"matchers": [{"predicate": {"and_matcher": {"predicate": [
		{"single_predicate": {"input": <a>, "value_match": {"safe_regex": {"google_re2": {}, "regex": "x+"}}}},
		{"not_matcher": {"single_predicate": {"input": <a>, "value_match": {"contains": "XX", "ignore_case": true}}}}]}}, "on_match": =x }]},
		"on_no_match": {"keep_matching": true, "matcher": {"matcher_tree": {"input": <b>, "prefix_match_map": {"map": {"p": =p }}}}}}`
	want, theirs := &matcherv3.Matcher{}, &commonv3.Matcher{}
	parse(t, config, want)
	parse(t, config, theirs)
	got, err := matcher.FromEnvoy(theirs)
	if err != nil || !proto.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestMatchAllocates(t *testing.T) {
	m := &matcherv3.Matcher{}
	parse(t, ipMatcher(`{"ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}], "on_match": {"matcher": {"matcher_tree": {"input": <b>, "exact_match_map": {"map": {"65000": =port }}}}}}`), m)
	tree, _ := compile(m, false)
	d := data{"a": matcher.Address(netip.MustParseAddr("10.0.0.1")), "b": matcher.Port(65000)}
	if got, _ := tree.Match(d, nil); got != "port" {
		t.Fatal(got)
	}
	if n := testing.AllocsPerRun(100, func() { tree.Match(d, nil) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The time to find one of many must not grow with their number.
func BenchmarkMatch(b *testing.B) {
	for _, kind := range []string{"exact", "prefix"} {
		for _, n := range []int{10, 10_000} {
			var entries []string
			for i := range n {
				entries = append(entries, fmt.Sprintf(`"/service/%d/": =a `, i))
			}
			m := &matcherv3.Matcher{}
			parse(b, `{"matcher_tree": {"input": <a>, "`+kind+`_match_map": {"map": {`+strings.Join(entries, ", ")+`}}}}`, m)
			tree, _ := compile(m, false)
			key := fmt.Sprintf("/service/%d/", n/2)
			if kind == "prefix" {
				key += "index.html"
			}
			d := text(key)
			b.Run(fmt.Sprint(kind, "/", n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, out := tree.Match(d, nil); out != matcher.Matched {
						b.Fatal("no match")
					}
				}
			})
		}
	}
}
