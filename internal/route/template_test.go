package route

import (
	"strings"
	"testing"
)

// What Envoy 1.40.0 says of templates ("": it accepts them).
func TestTemplateErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a", `Invalid pattern: "a"`},
		{"/a b", `Invalid pattern: "/a b"`},
		{"/é", `Invalid pattern: "/é"`},
		{"/a*b", ""},
		{"/**/a", ""},
		{"/a/**x", ""},
		{"/***", ""},
		{"/a**", ""},
		{"/**/*", "Glob after text glob."},
		{"/{a=**}/*", "Glob after text glob."},
		{"/{a=**/**}", "Glob after text glob."},
		{"/{a=**}/b", ""},
		{"/{a}{b}", `Invalid suffix literal: "{b}"`},
		{"/x{a}y{b}", `Invalid suffix literal: "y{b}"`},
		{"/{a={b}}", `Invalid suffix literal: "}"`},
		{"/{a", `Unmatched variable bracket in mixed pattern: "{a"`},
		{"/{a}/{a}", `Repeated variable name: "a"`},
		{"/{1a}", `Invalid variable name: "1a"`},
		{"/{abcdefghijklmnopq}", `Invalid variable name length (length of "abcdefghijklmnopq" should be at least 1 and no more than 16)`},
		{"/{a=}", "Empty variable match"},
		{"/{a=x}", ""},
		{"/{a=*}*", ""},
		{"/{a=*/x}", ""},
		{"/{a=/x}", `Invalid literal: ""`},
		{"/{a=*.x}", `Invalid variable match: ".x"`},
		{"/{a=x/**/y}", ""},
		{"/x{a=*/b}y", `Invalid literal: "x{a=*"`},
		{"/x{a=**}", ""},
		{"/{a=**}x", ""},
		{"/x*{a}", ""},
		{"/*{a}", `Invalid literal: "{a}"`},
		{"/*x{a}", `Invalid literal: "x{a}"`},
		{"/*x/y", "Prefix match not supported."},
		{"/{a}x/y", ""},
		{"/x{a=*}y/{b}", ""},
		{"/a}", `Invalid literal: "a}"`},
		{"/a//b", `Invalid literal: ""`},
		{"//", `Invalid literal: ""`},
		{"/", ""},
		{"/a/", ""},
		{"/*/**/", ""},
		{"/{a}/{b}/{c}/{d}/{e}/{f}", "Exceeded variable count limit (5)"},
	} {
		_, err := parseTemplate(c.text)
		switch {
		case err == nil && c.want != "":
			t.Errorf("%s: accepted, want %s", c.text, c.want)
		case err != nil && (c.want == "" || err.Error() != "path_match_policy.path_template "+c.text+" is invalid: "+c.want):
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestTemplateRewriteErrors(t *testing.T) {
	m, err := parseTemplate("/{a}/{b}")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"/{a}/{b}", ""}, {"/{b}", ""}, {"/{a}{b}", ""}, {"/{a}-{b}", ""}, {"/{a}x", ""}, {"/*", ""}, {"/", ""},
		{"{a}", " is invalid"}, {"/x y", " is invalid"}, {"/{a", " is invalid"}, {"/a}", " is invalid"},
		{"/{c}", "mismatch between variables in path_match_policy /{a}/{b} and path_rewrite_policy /{c}"},
	} {
		_, err := m.parseRewrite(c.text)
		if err == nil != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestTemplateRewrite(t *testing.T) {
	for _, c := range []struct{ match, rewrite, path, want string }{
		{"/{one}/{two}", "/{two}/{one}", "/cat/dog", "/dog/cat"},
		{"/videos/{language=lang/*}/*", "/{language}", "/videos/lang/en/video.m4s", "/lang/en"},
		{"/content/{format}/{lang}/{id}/{file}.vtt", "/{lang}/{format}/{file}.vtt", "/content/hls/en-us/12345/en_193913.vtt", "/en-us/hls/en_193913.vtt"},
		{"/api/v{version}/users/{id}.json", "/{id}/{version}", "/api/v2/users/456.json", "/456/2"},
	} {
		m, err := parseTemplate(c.match)
		if err != nil {
			t.Fatal(err)
		}
		to, err := m.parseRewrite(c.rewrite)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.rewrite(to, c.path); got != c.want || !ok {
			t.Errorf("%s: %s, want %s", c.match, got, c.want)
		}
	}
}
