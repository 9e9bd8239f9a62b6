package hcm

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// answer takes the request through the work of a connection manager up to its filters,
// in Envoy's order, and returns what they answer.
func (s *stream) answer() (*httpmsg.Response, error) {
	s.limitRequests()
	if resp := s.vet(); resp != nil {
		s.looked = true // for filters, too, there is no route; it counts as looked for (Envoy)
		s.http.RouteLookups++
		return resp, nil
	}
	r := s.find()
	handler, ok := s.handler(r)
	if s.conn.service.config.Logs.onStart {
		s.log(filter.DownstreamStart)
	}
	if !ok {
		s.conn.service.stats.rqNoUpgrade.Add(1)
		s.conn.closeAfter()
		return s.Reply(filter.LocalReply{Status: 403, Details: "upgrade_failed"}), nil
	}
	if err := s.continues(); err != nil {
		return nil, err
	}
	return handler.ServeHTTP(&s.handed)
}

// vet makes the request one that can be trusted, or returns the answer to one that goes no
// further.
func (s *stream) vet() *httpmsg.Response {
	if r := s.handed.Request; r.Method == "QUERY" && r.Header.Get("content-type") == "" { // what the body is, is the question
		return s.Reply(filter.LocalReply{Status: 400, Details: "query_missing_content_type"})
	}
	if resp := s.normalize(); resp != nil || s.renewed {
		return resp
	}
	return s.sanitize()
}

// limitRequests makes this request the last of its connection when that is its number, or
// when the connection was about to end with its next request.
func (s *stream) limitRequests() {
	c := s.conn
	if c.soft.Load() {
		c.closeAfter()
	}
	most := c.service.config.Limits.requests
	if most == 0 {
		return
	}
	if n := c.requests.Add(1); n == most {
		c.service.stats.cxRequests.Add(1)
		if c.server.Protocol() == httpmsg.HTTP2 {
			c.drain()
		} else {
			c.closeAfter()
		}
	}
}

// find returns the route, looked up when first asked for.
func (s *stream) find() *route.Route {
	if !s.looked {
		s.looked = true
		s.http.RouteLookups++
		sv := s.conn.service
		q := &s.query
		q.Request, q.Info, q.Random, q.Runtime = s.handed.Request, &s.info, s.random(), sv.env.Runtime
		begun := s.watchRoutes()
		s.route = s.match(s.routes())
		s.resolving += s.watchRoutes() - begun
		if s.route != nil {
			s.http.Route = s.route
			s.limitByRoute(s.route)
		}
	}
	return s.route
}

// routes is the table that the request keeps to, though another one may come.
func (s *stream) routes() *route.Table {
	if s.table == nil {
		s.table = s.conn.service.routes.Load()
	}
	return s.table
}

// watchRoutes is the time, where that of looking for routes is wanted.
func (s *stream) watchRoutes() time.Duration {
	if s.conn.service.stats.rqResolving == nil {
		return 0
	}
	return s.conn.since()
}

// match finds the route by the authority that routes know.
func (s *stream) match(t *route.Table) *route.Route {
	if s.routed == "" {
		return t.Match(&s.query)
	}
	r := s.handed.Request
	whole := r.Authority
	r.Authority = s.routed
	defer func() { r.Authority = whole }()
	return t.Match(&s.query)
}

// random is the number that decides what is left to chance, the same for the whole life
// of the request.
func (s *stream) random() uint64 {
	for s.chance == 0 {
		s.chance = rand.Uint64()
	}
	return s.chance
}

// limitByRoute puts the route's limits in place of the connection manager's.
func (s *stream) limitByRoute(r *route.Route) {
	if r.Action == nil {
		return
	}
	idle, byIdle := r.Action.IdleTimeout()
	if byIdle {
		s.idle.Store(int64(idle))
	}
	longest, byLife := r.Action.StreamTimeout(s.handed.Request)
	if byLife {
		s.longest.Store(int64(longest))
	}
	if f := r.Action.Flush; f.Set {
		s.flush.Store(int64(f.Duration))
	}
	if byIdle || byLife {
		s.rearm()
	}
}

// rearm has the connection's timer fire in time for the stream's limits.
func (s *stream) rearm() {
	_, at := s.earliest()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.conn.arm(at)
}

// handler returns what answers the request; false: it asks for an upgrade that neither
// the connection manager nor the route allows.
func (s *stream) handler(r *route.Route) (filter.HTTPHandler, bool) {
	sv, req := s.conn.service, s.handed.Request
	if !req.Tunnel() {
		return sv.handler, true
	}
	kind := strings.ToLower(req.Upgrade)
	if kind == "" {
		kind = "connect"
	}
	own, allowed := sv.upgrade(kind), false
	if own != nil {
		allowed = own.enabled
	}
	if r != nil && r.Action != nil {
		if on, said := r.Action.Upgrade(kind); said {
			allowed = on
		}
	}
	switch {
	case !allowed && r == nil:
		return sv.handler, true // which finds no route
	case !allowed:
		return nil, false
	}
	s.upgraded = true
	sv.stats.cxUpgrades.Add(1)
	sv.stats.cxUpgradesActive.Add(1)
	if own != nil && own.handler != nil {
		return own.handler, true
	}
	return sv.handler, true
}

// continues answers "expect: 100-continue", which goes no further.
func (s *stream) continues() error {
	h := &s.handed.Request.Header
	if s.conn.service.config.Request.proxyContinue {
		return nil
	}
	if v, ok := h.Lookup("expect"); !ok || !strings.EqualFold(v, "100-continue") {
		return nil
	}
	h.Del("expect")
	s.conn.service.stats.answered(100)
	if err := s.w.WriteResponse(&httpmsg.Response{Status: 100}, false); err != nil {
		return err
	}
	return s.w.Flush()
}

// refuse answers a message that the codec does not accept.
func (s *stream) refuse(status int, why *httpmsg.ResetError) *httpmsg.Response {
	st := s.conn.service.stats
	l := filter.LocalReply{Status: status, Details: why.Details}
	switch why.Details {
	case "missing_host_header", "query_missing_content_type", "path_normalization_failed", "absolute_path_rejected":
		s.http.RouteLookups++ // as in answer
	case requestHeaderTimeout.details:
		what, _ := s.conn.service.config.Limits.head()
		what.counter(st).Add(1)
		l.Body, l.Details, l.Flags = what.body, what.details, what.flags
	default:
		l.Flags = filter.DownstreamProtocolError
		l.Body = http.StatusText(status)
		if s.conn.server.Protocol() != httpmsg.HTTP2 { // whose codec counts connections that it ends
			st.cxProtocolError.Add(1)
		}
	}
	if status == 431 {
		st.rqTooLarge.Add(1)
	}
	return s.Reply(l)
}
