package route

import (
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// A Redirect answers with another location.
type Redirect struct {
	Status int

	scheme     string // "": the request's
	host       string // "": the request's
	port       string // with its colon; "": the request's
	path       string // "": rewrite says
	stripQuery bool
	sameHost   bool // whatever its port
	rewrite    pathRewrite
}

// Location returns where a request that r matched is sent: by a direct response to itself.
func (r *Route) Location(req *httpmsg.Request, info *filter.Info) string {
	d := r.Redirect
	if d == nil {
		d = &Redirect{}
	}
	scheme := d.scheme
	if scheme == "" {
		scheme = req.Scheme
	}
	host := d.host
	if host == "" {
		host = d.requestHost(req, scheme)
	}
	path := d.newPath(r, req, info)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return scheme + "://" + host + d.port + path
}

// requestHost is the authority of the request, without a port that another one replaces,
// or that the new scheme makes wrong.
func (d *Redirect) requestHost(req *httpmsg.Request, scheme string) string {
	host := req.Authority
	at := portStart(host)
	if at == len(host) || d.sameHost {
		return host
	}
	// Envoy: by x-forwarded-proto, so that the port of a http URL that came by TLS stays.
	came := req.Header.Get("x-forwarded-proto")
	wrong := scheme != came && (came == "https" && host[at:] == ":443" || came == "http" && host[at:] == ":80")
	if d.port != "" || wrong {
		return host[:at]
	}
	return host
}

func (d *Redirect) newPath(r *Route, req *httpmsg.Request, info *filter.Info) string {
	if d.path != "" {
		// A query of its own wins over the request's, and is never stripped.
		if d.stripQuery || strings.Contains(d.path, "?") {
			return d.path
		}
		return d.path + req.Path[len(withoutQuery(req.Path)):]
	}
	path := req.Path
	if p, ok := d.rewrite.apply(&r.match, path, info); ok {
		path = p
	}
	if d.stripQuery {
		path = withoutQuery(path)
	}
	return path
}

func compileRedirect(s *extension.Scope, m *routev3.RedirectAction, at *match) *Redirect {
	redirectFields.Check(s, m)
	d := &Redirect{host: m.GetHostRedirect(), stripQuery: m.GetStripQuery(), Status: 301}
	switch m.GetResponseCode() {
	case routev3.RedirectAction_FOUND:
		d.Status = 302
	case routev3.RedirectAction_SEE_OTHER:
		d.Status = 303
	case routev3.RedirectAction_TEMPORARY_REDIRECT:
		d.Status = 307
	case routev3.RedirectAction_PERMANENT_REDIRECT:
		d.Status = 308
	}
	switch x := m.GetSchemeRewriteSpecifier().(type) {
	case *routev3.RedirectAction_HttpsRedirect:
		if x.HttpsRedirect {
			d.scheme = "https"
		}
	case *routev3.RedirectAction_SchemeRedirect:
		d.scheme = x.SchemeRedirect
	}
	if p := m.GetPortRedirect(); p > 0 {
		d.port = ":" + strconv.Itoa(int(p))
	}
	switch x := m.GetPathRewriteSpecifier().(type) {
	case *routev3.RedirectAction_PathRedirect:
		d.path = x.PathRedirect
	case *routev3.RedirectAction_PrefixRewrite:
		d.rewrite.prefix = x.PrefixRewrite
		if at.kind == byTemplate {
			s.Field("prefix_rewrite").Errorf("Cannot use redirect.prefix_rewrite with path_match_policy")
		}
	case *routev3.RedirectAction_RegexRewrite:
		d.rewrite.regex = httpmatch.Substitute(s.Field("regex_rewrite"), x.RegexRewrite)
	case *routev3.RedirectAction_PathRewrite:
		d.rewrite.whole, _ = compileValue(s.Field("path_rewrite"), x.PathRewrite)
	}
	return d
}
