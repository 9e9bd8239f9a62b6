package route

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	uritemplatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

type pathKind uint8

const (
	byPrefix pathKind = iota
	byPath
	bySeparatedPrefix
	byRegex
	byTemplate
	byConnect
)

// A match is a compiled RouteMatch.
type match struct {
	kind     pathKind
	fold     bool              // the case of letters does not count
	text     string            // of byPrefix, byPath, bySeparatedPrefix
	regex    func(string) bool // of byRegex
	template *template         // of byTemplate

	rest *criteria // nil: the path is all that counts
}

// criteria are what a route asks for beside the path: all of it must fit.
type criteria struct {
	fraction  httpmatch.Fraction
	headers   httpmatch.Headers
	queries   []httpmatch.Query
	cookies   []httpmatch.Cookie
	grpc      bool
	presented *bool // a client certificate was; nil: either
	validated *bool
	metadata  []httpmatch.Metadata
	states    []func(*filter.State) bool
}

// fits reports whether a request, whose path without query is path, is the route's.
func (m *match) fits(q *Query, path string) bool {
	return m.path(q.Request, path) && (m.rest == nil || m.rest.fit(q))
}

func (m *match) path(r *httpmsg.Request, path string) bool {
	if m.kind == byConnect {
		return r.Connect() || httpmatch.EqualFold(r.Upgrade, "connect-udp")
	}
	if r.Path == "" { // a CONNECT has none
		return false
	}
	switch m.kind {
	case byPrefix:
		return m.begins(path)
	case byPath:
		return len(path) == len(m.text) && m.begins(path)
	case bySeparatedPrefix:
		return m.begins(path) && (len(path) == len(m.text) || path[len(m.text)] == '/')
	case byRegex:
		return m.regex(path)
	}
	return m.template.fits(path)
}

func (m *match) begins(path string) bool {
	if m.fold {
		return httpmatch.HasPrefixFold(path, m.text)
	}
	return strings.HasPrefix(path, m.text)
}

func (c *criteria) fit(q *Query) bool {
	return c.fraction.Hit(q.Random, q.Runtime) && c.headers.Request(q.Request) && c.fitsPath(q.Request) &&
		(!c.grpc || grpc(q.Request)) && c.fitsTLS(q.Info) && c.fitsInfo(q.Info)
}

func (c *criteria) fitsPath(r *httpmsg.Request) bool {
	for i := range c.queries {
		if !c.queries[i].Path(r.Path) {
			return false
		}
	}
	for i := range c.cookies {
		if !c.cookies[i].Lines(r.Header) {
			return false
		}
	}
	return true
}

// grpc reports whether a request is one of gRPC.
func grpc(r *httpmsg.Request) bool {
	t := r.Header.Get("content-type")
	return t == "application/grpc" || strings.HasPrefix(t, "application/grpc+")
}

// fitsTLS judges the client's certificate: there is none without TLS.
func (c *criteria) fitsTLS(i *filter.Info) bool {
	presented, validated := false, false
	if c.presented == nil && c.validated == nil {
		return true
	}
	if t := clientTLS(i); t != nil {
		presented, validated = len(t.Peer) > 0, t.Validated
	}
	return (c.presented == nil || *c.presented == presented) && (c.validated == nil || *c.validated == validated)
}

// clientTLS is that of the request's connection; nil: it has none.
func clientTLS(i *filter.Info) *filter.TLS {
	if i == nil {
		return nil
	}
	if h := i.HTTP(); h != nil && h.Conn != nil {
		i = h.Conn
	}
	return i.Rest().DownTLS
}

func (c *criteria) fitsInfo(i *filter.Info) bool {
	for k := range c.metadata {
		if i == nil || !c.metadata[k].Match(i.Metadata) {
			return false
		}
	}
	for _, m := range c.states {
		if i == nil || !m(&i.State) {
			return false
		}
	}
	return true
}

// compileMatch compiles a RouteMatch.
func compileMatch(s *extension.Scope, m *routev3.RouteMatch) match {
	matchFields.Check(s, m)
	out := match{fold: m.GetCaseSensitive() != nil && !m.GetCaseSensitive().Value}
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		out.kind, out.text = byPrefix, p.Prefix
	case *routev3.RouteMatch_Path:
		out.kind, out.text = byPath, p.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		out.kind, out.text = bySeparatedPrefix, p.PathSeparatedPrefix
		if strings.ContainsAny(out.text, "?#") || strings.HasSuffix(out.text, "/") || out.text == "" {
			s.Field("path_separated_prefix").Errorf("must not be empty, contain '?' or '#', nor end in '/': %q", out.text)
		}
	case *routev3.RouteMatch_SafeRegex:
		out.kind, out.regex = byRegex, httpmatch.Regex(s.Field("safe_regex"), p.SafeRegex)
	case *routev3.RouteMatch_ConnectMatcher_:
		out.kind = byConnect
	case *routev3.RouteMatch_PathMatchPolicy:
		out.kind, out.template = byTemplate, compileTemplate(s.Field("path_match_policy"), p.PathMatchPolicy)
	default:
		s.Errorf("a path specifier is required")
	}
	out.rest = compileCriteria(s, m)
	return out
}

// compileCriteria returns nil where nothing but the path counts.
func compileCriteria(s *extension.Scope, m *routev3.RouteMatch) *criteria {
	if m.GetRuntimeFraction() == nil && m.GetGrpc() == nil && m.GetTlsContext() == nil && len(m.GetHeaders())+
		len(m.GetQueryParameters())+len(m.GetCookies())+len(m.GetDynamicMetadata())+len(m.GetFilterState()) == 0 {
		return nil
	}
	c := &criteria{
		fraction: httpmatch.CompileFraction(m.RuntimeFraction),
		headers:  httpmatch.CompileHeaders(s.Field("headers"), m.Headers),
		grpc:     m.Grpc != nil,
	}
	for i, x := range m.QueryParameters {
		c.queries = append(c.queries, httpmatch.CompileQuery(s.Field("query_parameters").Index(i), x))
	}
	for i, x := range m.Cookies {
		c.cookies = append(c.cookies, httpmatch.CompileCookie(s.Field("cookies").Index(i), x))
	}
	for i, x := range m.DynamicMetadata {
		c.metadata = append(c.metadata, httpmatch.CompileMetadata(s.Field("dynamic_metadata").Index(i), x))
	}
	for i, x := range m.FilterState {
		c.states = append(c.states, httpmatch.FilterState(s.Field("filter_state").Index(i), x))
	}
	if x := m.TlsContext; x != nil {
		c.presented, c.validated = flag(x.Presented), flag(x.Validated)
	}
	return c
}

func compileTemplate(s *extension.Scope, x typedConfig) *template {
	m, ok := unpack[*uritemplatev3.UriTemplateMatchConfig](s, x)
	if !ok {
		return nil
	}
	templateFields.Check(s, m)
	t, err := parseTemplate(m.PathTemplate)
	if err != nil {
		s.Field("path_template").Errorf("%v", err)
	}
	return t
}
