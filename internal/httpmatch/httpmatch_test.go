package httpmatch_test

import (
	"net/netip"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// read fills a message from JSON and returns a scope that must stay without errors.
func read(t *testing.T, text string, m proto.Message) *extension.Scope {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	r := &extension.Report{}
	t.Cleanup(func() {
		for _, i := range r.Issues {
			t.Errorf("%s: %+v", text, i)
		}
	})
	return extension.NewScope(r, &extension.Registry{}, nil)
}

func TestString(t *testing.T) {
	for _, c := range []struct {
		matcher string
		yes, no []string
	}{
		{`{"exact": "aB"}`, []string{"aB"}, []string{"ab", "aBc", ""}},
		{`{"exact": "aB", "ignore_case": true}`, []string{"Ab", "AB"}, []string{"aBc", "a"}},
		{`{"prefix": "aB", "ignore_case": true}`, []string{"abc", "AB"}, []string{"a", "cab"}},
		{`{"suffix": "aB"}`, []string{"aB", "caB"}, []string{"cab", "B"}},
		{`{"suffix": "aB", "ignore_case": true}`, []string{"AB", "cab"}, []string{"abc", "b"}},
		{`{"contains": "aB"}`, []string{"xaBy"}, []string{"xaby", ""}},
		{`{"contains": "aB", "ignore_case": true}`, []string{"xAby", "ab"}, []string{"a", "xayb"}},
		{`{"contains": "é", "ignore_case": true}`, []string{"xé"}, []string{"xÉ"}}, // the case of ASCII alone
		{`{"safe_regex": {"regex": "a|b+"}}`, []string{"a", "bb"}, []string{"ab", "abb", ""}},
		{`{"safe_regex": {"regex": "a.c"}}`, []string{"abc", "a\xe9c"}, []string{"aéc", "a\nc"}}, // a byte is a character
		{`{"safe_regex": {"regex": "aé"}}`, []string{"aé"}, []string{"a\xe9"}},
	} {
		m := &matcherv3.StringMatcher{}
		match := httpmatch.String(read(t, c.matcher, m), m)
		for _, v := range c.yes {
			if !match(v) {
				t.Errorf("%s does not match %q", c.matcher, v)
			}
		}
		for _, v := range c.no {
			if match(v) {
				t.Errorf("%s matches %q", c.matcher, v)
			}
		}
	}
}

func TestSubstitution(t *testing.T) {
	for _, c := range []struct{ rule, in, want string }{
		{`{"pattern": {"regex": "o"}, "substitution": "0"}`, "foo", "f00"},
		{`{"pattern": {"regex": "^(.*?)one(.*)$"}, "substitution": "\\1two\\2"}`, "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"},
		{`{"pattern": {"regex": "(a)|(b)"}, "substitution": "[\\1\\2\\\\\\0]"}`, "ab", `[a\a][b\b]`},
		{`{"pattern": {"regex": "x*"}, "substitution": "-"}`, "axb", "-a-b-"},
		{`{"pattern": {"regex": "a(.)c"}, "substitution": "\\1"}`, "\xffa\xe9c", "\xff\xe9"},
		{`{"pattern": {"regex": "a"}, "substitution": "é"}`, "a", "é"},
		{`{"pattern": {"regex": "a"}}`, "bab", "bb"},
	} {
		m := &matcherv3.RegexMatchAndSubstitute{}
		got, ok := httpmatch.Substitute(read(t, c.rule, m), m).Replace(c.in)
		if got != c.want || !ok {
			t.Errorf("%s: %q became %q, want %q", c.rule, c.in, got, c.want)
		}
	}
}

// Pseudo headers of both directions are headers; one line that fits is enough.
func TestHeader(t *testing.T) {
	compile := func(text string) httpmatch.Header {
		m := &routev3.HeaderMatcher{}
		return httpmatch.CompileHeader(read(t, text, m), m)
	}
	response := &httpmsg.Response{Status: 503, Header: httpmsg.Header{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}}
	for text, want := range map[string]bool{
		`{"name": ":status", "range_match": {"start": 500, "end": 600}}`:              true,
		`{"name": ":status", "string_match": {"exact": "200"}}`:                       false,
		`{"name": "A", "string_match": {"exact": "2"}}`:                               true,
		`{"name": "a", "string_match": {"exact": "2"}, "invert_match": true}`:         false,
		`{"name": "a", "string_match": {"exact": "1,2"}}`:                             false,
		`{"name": "b", "string_match": {"exact": "2"}, "invert_match": true}`:         false,
		`{"name": "b", "present_match": false}`:                                       true,
		`{"name": "b", "exact_match": "", "treat_missing_header_as_empty": true}`:     true,
		`{"name": "b", "contains_match": "x", "treat_missing_header_as_empty": true}`: false,
	} {
		if h := compile(text); h.Response(response) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	request := &httpmsg.Request{Method: "GET", Authority: "a.com"}
	for text, want := range map[string]bool{
		`{"name": ":method", "string_match": {"exact": "GET"}}`: true,
		`{"name": "Host", "string_match": {"suffix": ".com"}}`:  true,
		`{"name": ":path"}`: false, // a CONNECT has none
	} {
		if h := compile(text); h.Request(request) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

func TestValue(t *testing.T) {
	list, _ := structpb.NewList([]any{"a", 2.0})
	for _, c := range []struct {
		matcher string
		v       *structpb.Value
		want    bool
	}{
		{`{"null_match": {}}`, structpb.NewNullValue(), true},
		{`{"null_match": {}}`, nil, false},
		{`{"bool_match": true}`, structpb.NewBoolValue(true), true},
		{`{"double_match": {"exact": 2}}`, structpb.NewNumberValue(2), true},
		{`{"double_match": {"range": {"start": 1, "end": 2}}}`, structpb.NewNumberValue(2), false},
		{`{"double_match": {"exact": 0}}`, structpb.NewStringValue("0"), false},
		{`{"present_match": true}`, structpb.NewStringValue(""), true},
		{`{"present_match": true}`, nil, false},
		{`{"list_match": {"one_of": {"string_match": {"exact": "a"}}}}`, structpb.NewListValue(list), true},
		{`{"list_match": {"one_of": {"string_match": {"exact": "b"}}}}`, structpb.NewListValue(list), false},
		{`{"or_match": {"value_matchers": [{"bool_match": false}, {"double_match": {"exact": 2}}]}}`, structpb.NewNumberValue(2), true},
	} {
		m := &matcherv3.ValueMatcher{}
		if got := httpmatch.Value(read(t, c.matcher, m), m)(c.v); got != c.want {
			t.Errorf("%s on %v: %v", c.matcher, c.v, got)
		}
	}
}

func TestAddress(t *testing.T) {
	m := &matcherv3.AddressMatcher{}
	s := read(t, `{"ranges": [{"address_prefix": "10.1.2.3", "prefix_len": 8}, {"address_prefix": "2001:db8::", "prefix_len": 200}], "invert_match": true}`, m)
	match := httpmatch.Address(s, m)
	for addr, want := range map[string]bool{
		"10.9.9.9": false, "::ffff:10.9.9.9": false, "11.0.0.1": true, "2001:db8::": false, "2001:db8::1": true,
	} {
		if match(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
}
