package headermutation_test

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/file_content/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/ext/headermutation"
	"github.com/ginnel/ginnel/internal/ext/teststream"
	"github.com/ginnel/ginnel/internal/testcompile"
)

func mutator(t *testing.T, text string) filter.HTTPFilter {
	t.Helper()
	return teststream.Filter(t, teststream.NewEnv(), headermutation.Register, &headermutationv3.HeaderMutation{}, text)
}

// TestQuery: what nobody changes stays as it came, in the order of names as in Envoy.
func TestQuery(t *testing.T) {
	add := func(name, value, action string) string {
		return `{"append": {"record": {"key": "` + name + `", "value": "` + value + `"}, "action": "` + action + `"}}`
	}
	for _, c := range []struct{ mutation, path, want string }{
		{`{"remove": "a"}`, "/p?b=%26&a=1&%61=2&c", "/p?b=%26&c="},
		{`{"remove": "a"}`, "/p", "/p"},
		{`{"remove": "a"}`, "/p?a", "/p"},
		{`{"remove": "a"}`, "/p?x=%2&y=%zz&z=%", "/p?x=%2&y=%zz&z=%"},
		{`{"remove": "a"}`, "/p?&&=c&", "/p?=&=&=c"},
		{add("b", "x y/%REQ(who)%", "APPEND_IF_EXISTS_OR_ADD"), "/p?c=3&b=1", "/p?b=1&b=x%20y%2Fal%26ice&c=3"},
		{add("b c", "-._~", "ADD_IF_ABSENT"), "/p", "/p?b%20c=-._~"},
		{add("b", "2", "ADD_IF_ABSENT"), "/p?b=1", "/p?b=1"},
		{add("b", "2", "OVERWRITE_IF_EXISTS"), "/p?b=1&%62=1", "/p?b=2"},
		{add("b", "2", "OVERWRITE_IF_EXISTS"), "/p?c", "/p?c="},
		{add("b", "%REQ(nobody)%", "OVERWRITE_IF_EXISTS_OR_ADD"), "/p", "/p?b="},
	} {
		s := teststream.New("GET", c.path, "who: al&ice")
		if _, err := s.Serve(mutator(t, `{"mutations": {"query_parameter_mutations": [`+c.mutation+`]}}`), teststream.Answer(200, nil)); err != nil {
			t.Fatal(err)
		}
		if s.Request.Path != c.want {
			t.Errorf("%s of %s: %s, want %s", c.mutation, c.path, s.Request.Path, c.want)
		}
	}
}

// TestQueryOfConnect: a CONNECT has no path, and gets none.
func TestQueryOfConnect(t *testing.T) {
	s := teststream.New("CONNECT", "")
	f := mutator(t, `{"mutations": {"query_parameter_mutations": [{"append": {"record": {"key": "a", "value": "1"}}}]}}`)
	if _, err := s.Serve(f, teststream.Answer(200, nil)); err != nil || s.Request.Path != "" {
		t.Errorf("path %q, %v", s.Request.Path, err)
	}
}

// TestTrailers: trailers are changed when they come, and only if they come.
func TestTrailers(t *testing.T) {
	f := mutator(t, `{"mutations": {
		"request_trailers_mutations": [{"append": {"header": {"key": "new", "value": "%REQ(who)%"}}}, {"remove": "old"}],
		"response_trailers_mutations": [{"append": {"header": {"key": "new", "value": "%RESPONSE_CODE% %TRAILER(old)%"}}}, {"remove": "old"}]}}`)
	for _, c := range []struct{ in, request, response httpmsg.Header }{
		{httpmsg.Header{{Name: "old", Value: "1"}}, httpmsg.Header{{Name: "new", Value: "alice"}}, httpmsg.Header{{Name: "new", Value: "200 1"}}},
		{nil, nil, nil},
	} {
		s := teststream.New("POST", "/", "who: alice")
		s.Request.Body = &teststream.Pieces{Data: []string{"a", "b"}, Trailers: c.in}
		resp, err := s.Serve(f, teststream.Answer(200, &teststream.Pieces{Data: []string{"c"}, Trailers: c.in}))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []struct {
			body httpmsg.Body
			text string
			want httpmsg.Header
		}{{s.Request.Body, "ab", c.request}, {resp.Body, "c", c.response}} {
			text, err := teststream.Text(m.body)
			if text != m.text || err != nil {
				t.Errorf("body %q, %v", text, err)
			}
			if d := cmp.Diff(m.want, m.body.Trailer()); d != "" {
				t.Errorf("trailers (-want +got):\n%s", d)
			}
		}
	}
}

// TestBrokenBody: an error of a body stays that error.
func TestBrokenBody(t *testing.T) {
	f := mutator(t, `{"mutations": {"response_trailers_mutations": [{"remove": "old"}]}}`)
	s := teststream.New("GET", "/")
	resp, err := s.Serve(f, teststream.Answer(200, &teststream.Pieces{Err: io.ErrUnexpectedEOF}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
}

// TestLevels: the levels of the route come after the filter, in the order asked for.
func TestLevels(t *testing.T) {
	level := func(v string) any {
		return teststream.Route(t, headermutation.Register, &headermutationv3.HeaderMutationPerRoute{},
			`{"mutations": {"request_mutations": [{"append": {"header": {"key": "level", "value": "`+v+`"}}}]}}`)
	}
	for wins, want := range map[string]string{"false": "filter route host", "true": "filter host route"} {
		f := mutator(t, `{"most_specific_header_mutations_wins": `+wins+`, "mutations": {"request_mutations": [{"append": {"header": {"key": "level", "value": "filter"}}}]}}`)
		s := teststream.New("GET", "/")
		s.Routed = &teststream.RouteOf{Configs: []any{level("host"), level("route")}}
		if _, err := s.Serve(f, teststream.Answer(200, nil)); err != nil {
			t.Fatal(err)
		}
		got, _ := s.Request.Header.Joined("level")
		if got = strings.ReplaceAll(got, ",", " "); got != want {
			t.Errorf("most specific wins %s: %s, want %s", wins, got, want)
		}
	}
}

// TestErrors: in Envoy's words, at their place.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ mutations, path, message string }{
		{`"query_parameter_mutations": [{}]`, "query_parameter_mutations[0]", "One of 'append'/'remove' must be specified."},
		{`"query_parameter_mutations": [{"remove": "a", "append": {"record": {"key": "a", "value": "b"}}}]`,
			"query_parameter_mutations[0]", "Only one of 'append'/'remove can be specified."},
		{`"query_parameter_mutations": [{"append": {}}]`, "query_parameter_mutations[0].append.record", "No record specified for append mutation."},
		{`"query_parameter_mutations": [{"append": {"record": {"key": "a", "value": 1}}}]`,
			"query_parameter_mutations[0].append.record.value", "Only string value is allowed for record value."},
		{`"query_parameter_mutations": [{"append": {"record": {"value": "1"}}}]`, "query_parameter_mutations[0].append.record.key", "is required"},
		{`"query_parameter_mutations": [{"append": {"record": {"key": "a", "value": "%NOPE%"}}}]`,
			"query_parameter_mutations[0].append.record.value", "Not supported field in StreamInfo: NOPE"},
		{`"formatters": [{"name": "f", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.formatter.file_content.v3.FileContent"}}]`,
			"formatters[0].typed_config", `formatter envoy.extensions.formatter.file_content.v3.FileContent ("f") is not supported yet`},
		{`"formatters": [{"name": "f"}]`, "formatters[0].typed_config", "is required"},
		{`"request_mutations": [{"append": {"header": {"key": "a", "value": "%REQ_WITHOUT_QUERY(:path)%"}}}]`,
			"request_mutations[0].append.header.value", "Not supported field in StreamInfo: REQ_WITHOUT_QUERY"},
		{`"response_mutations": [{}]`, "response_mutations[0]", "an action is required"},
	} {
		_, issues := testcompile.JSON(t, headermutation.Register, extension.HTTPFilter, &headermutationv3.HeaderMutation{}, `{"mutations": {`+c.mutations+`}}`)
		if len(issues) != 1 || issues[0].Path != "x.mutations."+c.path || issues[0].Message != c.message {
			t.Errorf("%s: %v", c.mutations, issues)
		}
	}
}
