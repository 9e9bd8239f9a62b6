package matcher

import (
	"strings"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// AddRequest adds the inputs of the head of a request.
func AddRequest[D any](in *Inputs[D], request func(D) *httpmsg.Request) {
	Add(in, func(s *extension.Scope, m *matcherv3.HttpRequestHeaderMatchInput) Input[D] {
		name := headerName(s, m.GetHeaderName())
		return func(d D) Value { return header(request(d), name) }
	})
	Add(in, func(s *extension.Scope, m *matcherv3.HttpRequestQueryParamMatchInput) Input[D] {
		name := m.GetQueryParam()
		if name == "" {
			s.Field("query_param").Errorf("is required")
		}
		return func(d D) Value {
			v, ok := httpmatch.Parameter(request(d).Path, name)
			if !ok {
				return Value{}
			}
			return Text(v)
		}
	})
}

// headerName checks and returns the name of a header, in lower case.
func headerName(s *extension.Scope, name string) string {
	if strings.ContainsAny(name, "\x00\r\n") {
		s.Field("header_name").Errorf("must not contain NUL, CR or LF: %q", name)
	}
	return strings.ToLower(name)
}

// header returns all lines of a header, with commas between.
func header(r *httpmsg.Request, name string) Value {
	if strings.HasPrefix(name, ":") || name == "host" {
		v, ok := r.Lookup(name)
		if !ok {
			return Value{}
		}
		return Text(v)
	}
	i := r.Header.Index(name)
	if i < 0 {
		return Value{}
	}
	text := r.Header[i].Value
	for _, f := range r.Header[i+1:] {
		if f.Name == name {
			text += "," + f.Value
		}
	}
	return Text(text)
}
