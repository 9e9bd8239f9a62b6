package router

import (
	"slices"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
	"github.com/ginnel/ginnel/internal/route"
)

// A trail is the internal redirects that a request has followed, which is an object of its
// filter state: it outlasts the calls.
type trail struct {
	steps []step // by route
	n     uint32
}

// A step led from one route to another.
type step struct {
	from *route.Route
	to   string
}

const trailKey = "num_internal_redirects"

// Serialize implements filter.Object.
func (t *trail) Serialize() (string, bool) { return strconv.FormatUint(uint64(t.n), 10), true }

// redirects follows a redirect of the host in place of the client, if that is configured
// and can be done: the try is then over, and the request, changed, passes all filters again
// when the error is returned. nil: the response is for the client.
func (x *call) redirects(t *try, resp *httpmsg.Response) error {
	p := x.action.Redirect
	if p == nil || !slices.Contains(p.Codes, resp.Status) {
		return nil
	}
	x.mu.Lock()
	whole := x.asked != 0 && !x.answer.begun && x.why == noFailure
	x.mu.Unlock()
	whole = whole && (x.replay == nil || x.replay.whole())
	if !whole || !x.follow(p, resp) {
		x.stats.notGuided.Add(1)
		return nil
	}
	x.stats.redirected.Add(1)
	x.log(t, failure{}, resp, filter.UpstreamEnd)
	t.outcome(x.verdict(resp), nil)
	s := x.stream
	again, http := s.Again(resp), s.Info.HTTP()
	s.Info.UpAttempts, http.UpstreamFirstByte = uint32(x.tries), x.now()
	x.measure(t, http)
	t.finish()
	return again
}

// follow changes the request to where the response leads, if it may be followed.
func (x *call) follow(p *route.InternalRedirect, resp *httpmsg.Response) bool {
	s, r, st := x.stream, x.stream.Request, &x.router.stats
	to, ok := parseLocation(resp.Header.Get("location"))
	if !ok {
		st.badLocation.Add(1)
		return false
	}
	secure := r.Scheme == "https"
	if !p.CrossScheme && secure != (to.scheme == "https") {
		st.unsafeScheme.Add(1)
		return false
	}
	walked, _ := filter.Get[*trail](&s.Info.State, trailKey)
	if walked == nil {
		walked = &trail{}
	}
	if walked.n >= p.Max {
		st.tooMany.Add(1)
		return false
	}
	old, header := *r, r.Header.Clone()
	copyHeaders(&r.Header, resp.Header, p.Copy)
	r.Scheme, r.Authority, r.Path = to.scheme, to.authority, to.path
	s.ClearRoute()
	if target := routeOf(s); !x.leads(p, walked, target, secure, to.scheme == "https") {
		r.Scheme, r.Authority, r.Path, r.Header = old.Scheme, old.Authority, old.Path, append(r.Header[:0], header...)
		s.ClearRoute()
		return false
	}
	x.resend(resp.Status)
	r.Header.Set("x-envoy-original-url", old.Scheme+"://"+old.Authority+old.Path)
	walked.n++
	s.Info.State.Set(filter.Entry{Name: trailKey, Object: walked, Lasting: true})
	return true
}

// leads reports whether there is a route, and the policy has nothing against it.
func (x *call) leads(p *route.InternalRedirect, walked *trail, target *route.Route, from, to bool) bool {
	if target == nil {
		x.router.stats.noTarget.Add(1)
		return false
	}
	next := route.Step{Target: target.Name(), FromTLS: from, ToSecure: to}
	for _, s := range walked.steps {
		if s.from == x.route {
			next.Before = append(next.Before, s.to)
		}
	}
	if ok, _ := p.Follow(next); !ok {
		x.router.stats.predicate.Add(1)
		return false
	}
	walked.steps = append(walked.steps, step{x.route, target.Name()})
	return true
}

// resend makes the body of the request one that can be sent again; after 303 there is
// none, and the method is GET.
func (x *call) resend(status int) {
	r := x.stream.Request
	if status == 303 && r.Method != "GET" && r.Method != "HEAD" {
		r.Method, r.Body = "GET", nil
		r.Header.Del("content-length")
	}
	if r.Body != nil && x.replay != nil {
		r.Body = &cursor{replay: x.replay}
	}
}

// copyHeaders gives a request the headers of those names that a response has, and takes
// the others from it.
func copyHeaders(h *httpmsg.Header, from httpmsg.Header, names []string) {
	for _, name := range names {
		h.Del(name)
		for v := range from.Values(name) {
			h.Add(name, v)
		}
	}
}

// A location is where an absolute http URL leads.
type location struct{ scheme, authority, path string }

// parseLocation reads the location header of a redirect; only absolute ones are followed
// (Envoy).
func parseLocation(v string) (l location, ok bool) {
	v, _, _ = strings.Cut(v, "#")
	scheme, rest, found := strings.Cut(v, "://")
	l.scheme = strings.ToLower(scheme)
	if !found || l.scheme != "http" && l.scheme != "https" {
		return l, false
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	l.authority, ok = httptext.URLHost(rest[:end]) // as of a request
	if l.path = rest[end:]; l.path == "" {
		l.path = "/"
	}
	return l, ok && !strings.ContainsAny(l.path, " \t\"<>\\^`{|}")
}
