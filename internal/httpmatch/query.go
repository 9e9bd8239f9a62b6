package httpmatch

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/httpmsg"
)

// A Query judges by one query parameter of a path.
type Query struct {
	name   string
	value  func(string) bool // nil: only presence counts
	absent bool              // without value: the parameter must not be there
}

// CompileQuery compiles a query parameter matcher.
func CompileQuery(s *extension.Scope, m *routev3.QueryParameterMatcher) Query {
	queryFields.Check(s, m)
	q := Query{name: m.GetName()}
	switch x := m.GetQueryParameterMatchSpecifier().(type) {
	case *routev3.QueryParameterMatcher_StringMatch:
		q.value = String(s.Field("string_match"), x.StringMatch)
	case *routev3.QueryParameterMatcher_PresentMatch:
		q.absent = !x.PresentMatch
	}
	return q
}

// Path judges a path with its query.
func (q *Query) Path(path string) bool {
	v, ok := Parameter(path, q.name)
	if q.value == nil {
		return ok != q.absent
	}
	return ok && q.value(v)
}

// Parameter returns the first value of a query parameter of a path, as it is written
// there: percent signs are left alone (Envoy).
func Parameter(path, name string) (string, bool) {
	_, rest, _ := strings.Cut(path, "?")
	for rest != "" {
		var one string
		one, rest, _ = strings.Cut(rest, "&")
		if k, v, _ := strings.Cut(one, "="); k == name && one != "" {
			return v, true
		}
	}
	return "", false
}

// A Cookie judges by one cookie.
type Cookie struct {
	name   string
	value  func(string) bool
	invert bool
}

// CompileCookie compiles a cookie matcher.
func CompileCookie(s *extension.Scope, m *routev3.CookieMatcher) Cookie {
	cookieFields.Check(s, m)
	return Cookie{m.GetName(), String(s.Field("string_match"), m.GetStringMatch()), m.GetInvertMatch()}
}

// Lines judges the headers of a request. A cookie that is not there does not fit, so
// that with invert_match it does.
func (c *Cookie) Lines(h httpmsg.Header) bool {
	v, ok := CookieValue(h, c.name)
	return (ok && c.value(v)) != c.invert
}

// CookieValue returns the first cookie of a name, over all lines; without the quotes
// around it.
func CookieValue(h httpmsg.Header, name string) (string, bool) {
	for i := range h {
		if h[i].Name != "cookie" {
			continue
		}
		if v, ok := cookieIn(h[i].Value, name); ok {
			return v, true
		}
	}
	return "", false
}

func cookieIn(line, name string) (string, bool) {
	for line != "" {
		var one string
		one, line, _ = strings.Cut(line, ";")
		k, v, ok := strings.Cut(strings.TrimLeft(one, " "), "=")
		if !ok || k != name {
			continue
		}
		if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
			v = v[1 : len(v)-1]
		}
		return v, true
	}
	return "", false
}
