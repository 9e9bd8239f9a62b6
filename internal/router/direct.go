package router

import (
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/route"
)

// direct answers what needs no cluster: direct responses and redirects.
func (r *Router) direct(s *filter.HTTPStream, rt *route.Route) *httpmsg.Response {
	r.stats.directs.Add(1)
	reply := filter.LocalReply{Details: "direct_response"}
	if d := rt.Redirect; d != nil {
		reply.Status = d.Status
		reply.Header.Add("location", rt.Location(s.Request, s.Info))
		return s.Reply(reply)
	}
	d := rt.Direct
	reply.Status = d.Status
	if (d.Status == 201 || d.Status/100 == 3) && s.Request.Path != "" { // Envoy
		reply.Header.Add("location", rt.Location(s.Request, s.Info))
	}
	s.Info.HTTP().LocalReplyBody = d.Body
	reply.Body = d.Print(s.Info)
	switch {
	case reply.Body == "" || d.Format == nil:
	case d.ContentType != "":
		reply.Header.Add("content-type", d.ContentType)
	case d.JSON:
		reply.Header.Add("content-type", "application/json")
	}
	return s.Reply(reply)
}
