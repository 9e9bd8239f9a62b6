package route

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	urirewritev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/rewrite/uri_template/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// Forward makes a request of info what the cluster gets: header mutations, then the host,
// then the path. originals keeps what is rewritten in x-envoy-original-host and
// x-envoy-original-path (it is what suppress_envoy_headers switches off). Only the host
// of AutoHost is left to do, with Action.SetHost.
func (r *Route) Forward(req *httpmsg.Request, info *filter.Info, originals bool) {
	if h := r.Action.entryHost; h != "" {
		req.Authority = h // Envoy: without a trace of what it was
	}
	r.RequestHeaders.Apply(&req.Header, info)
	if host, ok := r.Action.Host(req, info); ok {
		r.Action.SetHost(req, host, originals)
	}
	if path, ok := r.Path(req, info); ok {
		if originals {
			req.Header.Set("x-envoy-original-path", req.Path)
		}
		req.Path = path
	}
}

// Path returns what the path of a request, with its query, is rewritten to; false:
// nothing rewrites it. (A regular expression that matches nothing rewrites it to itself.)
func (r *Route) Path(req *httpmsg.Request, info *filter.Info) (string, bool) {
	return r.Action.path.apply(&r.match, req.Path, info)
}

// pathRewrite rewrites paths. The zero value leaves them alone; at most one is set.
type pathRewrite struct {
	prefix   string
	regex    *httpmatch.Substitution
	whole    value
	template []segment
}

// apply rewrites a path that m matched. A path that would be empty, with its query,
// stays as it is (Envoy).
func (p *pathRewrite) apply(m *match, path string, info *filter.Info) (string, bool) {
	bare := withoutQuery(path)
	out, ok := p.bare(m, bare, info)
	if !ok || path == "" { // a CONNECT has none
		return path, false
	}
	if out += path[len(bare):]; out == "" {
		return path, false
	}
	return out, true
}

// bare rewrites a path without its query.
func (p *pathRewrite) bare(m *match, path string, info *filter.Info) (string, bool) {
	switch {
	case p.prefix != "":
		return p.prefix + path[m.matched(path):], true
	case p.regex != nil:
		out, _ := p.regex.Replace(path)
		return out, true
	case p.template != nil:
		return m.template.rewrite(p.template, path)
	}
	out := p.whole.print(info)
	return out, out != ""
}

// matched is how much of a path a prefix rewrite replaces: the prefix that was matched, or
// all where there is none. A filter may have changed the path since.
func (m *match) matched(path string) int {
	switch m.kind {
	case byPrefix, byPath, bySeparatedPrefix:
		return min(len(m.text), len(path))
	}
	return len(path)
}

func (a *Action) compilePath(s *extension.Scope, m *routev3.RouteAction, at *match) {
	p := &a.path
	several := 0
	if m.GetPrefixRewrite() != "" {
		several++
		p.prefix = m.GetPrefixRewrite()
	}
	if x := m.GetRegexRewrite(); x != nil {
		several++
		p.regex = httpmatch.Substitute(s.Field("regex_rewrite"), x)
	}
	if x := m.GetPathRewritePolicy(); x != nil {
		several++
		p.compileTemplate(s.Field("path_rewrite_policy"), x, at)
	}
	if m.GetPathRewrite() != "" {
		several++
		p.whole, _ = compileValue(s.Field("path_rewrite"), m.GetPathRewrite())
	}
	if several > 1 {
		s.Errorf("Specify only one of prefix_rewrite, regex_rewrite or path_rewrite_policy")
	}
}

func (p *pathRewrite) compileTemplate(s *extension.Scope, x typedConfig, at *match) {
	m, ok := unpack[*urirewritev3.UriTemplateRewriteConfig](s, x)
	if !ok {
		return
	}
	templateRewriteFields.Check(s, m)
	switch {
	case at.kind != byTemplate:
		s.Errorf("unable to use envoy.path.rewrite.uri_template.uri_template_rewriter extension without envoy.path.match.uri_template.uri_template_matcher extension")
	case at.template == nil: // its own fault was reported
	default:
		var err error
		if p.template, err = at.template.parseRewrite(m.GetPathTemplateRewrite()); err != nil {
			s.Errorf("%v", err)
		}
	}
}

// hostRewrite rewrites hosts. The zero value leaves them alone; at most one is set.
type hostRewrite struct {
	literal string
	header  string
	regex   *httpmatch.Substitution
	format  value
}

// Host returns what the host of a request is rewritten to; false: it stays as it is, or
// AutoHost decides.
func (a *Action) Host(req *httpmsg.Request, info *filter.Info) (string, bool) {
	out := ""
	switch h := &a.host; {
	case h.literal != "":
		out = h.literal
	case h.header != "":
		out = req.Get(h.header)
	case h.regex != nil:
		out, _ = h.regex.Replace(withoutQuery(req.Path))
		return out, true
	default:
		out = h.format.print(info)
	}
	return out, out != ""
}

// SetHost makes host the authority of a request and keeps the one it had, in
// x-forwarded-host if that is configured, in x-envoy-original-host if originals.
func (a *Action) SetHost(req *httpmsg.Request, host string, originals bool) {
	if a.AppendForwardedHost && req.Authority != "" {
		appendForwardedHost(&req.Header, req.Authority)
	}
	if originals && req.Authority != "" {
		req.Header.Set("x-envoy-original-host", req.Authority)
	}
	req.Authority = host
}

// appendForwardedHost appends a host unless it is the last one already.
func appendForwardedHost(h *httpmsg.Header, host string) {
	old, _ := h.Joined("x-forwarded-host")
	switch last := old[strings.LastIndexByte(old, ',')+1:]; {
	case old == "":
		h.Set("x-forwarded-host", host)
	case last != host:
		h.Set("x-forwarded-host", old+","+host)
	}
}

func (a *Action) compileHost(s *extension.Scope, m *routev3.RouteAction) {
	switch x := m.GetHostRewriteSpecifier().(type) {
	case *routev3.RouteAction_HostRewriteLiteral:
		a.host.literal = x.HostRewriteLiteral
	case *routev3.RouteAction_AutoHostRewrite:
		a.AutoHost = x.AutoHostRewrite.GetValue()
	case *routev3.RouteAction_HostRewriteHeader:
		a.host.header = lowerCase(x.HostRewriteHeader)
	case *routev3.RouteAction_HostRewritePathRegex:
		a.host.regex = httpmatch.Substitute(s.Field("host_rewrite_path_regex"), x.HostRewritePathRegex)
	case *routev3.RouteAction_HostRewrite:
		a.host.format, _ = compileValue(s.Field("host_rewrite"), x.HostRewrite)
	}
}
