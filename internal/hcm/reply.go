package hcm

import (
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
	"github.com/ginnel/ginnel/internal/route"
	"github.com/ginnel/ginnel/internal/state"
)

// replyOptions is local_reply_config. The zero value leaves replies as they are.
type replyOptions struct {
	mappers []mapper
	format  *bodyFormat // nil: the body as it is
}

// A mapper changes the replies that its filter chooses.
type mapper struct {
	when    func(*filter.Info, filter.AccessLogType, filter.Runtime) bool
	status  int // 0: as it is
	body    *string
	format  *bodyFormat // nil: that of all replies
	headers route.Mutations
}

// A bodyFormat prints a body.
type bodyFormat struct {
	text        state.Formatter
	contentType string
}

const (
	textPlain       = "text/plain"
	applicationJSON = "application/json"
)

// NewResponse implements filter.HTTPHost.
func (s *stream) NewResponse() *httpmsg.Response {
	s.forgetResponse()
	return &s.own
}

func (s *stream) forgetResponse() {
	h := s.own.Header
	clear(h)
	s.own = httpmsg.Response{Header: h[:0]}
	s.text = nil
}

// Reply implements filter.HTTPHost.
func (s *stream) Reply(l filter.LocalReply) *httpmsg.Response {
	if l.Status == 400 {
		s.conn.closeAfter() // something is wrong with what the client sends (Envoy)
	}
	resp := s.NewResponse()
	s.info.Raise(l.Flags)
	s.extra.Details = l.Details
	resp.Status = l.Status
	s.http.Response, s.http.Code, s.http.LocalReplyBody = resp, l.Status, l.Body
	resp.Header = append(resp.Header, l.Header...)
	if s.route != nil {
		s.route.ResponseHeaders.Apply(&resp.Header, &s.info)
	}
	contentType := s.rewrite(resp)
	if isGRPC(s.handed.Request) {
		if contentType == applicationJSON { // whose formatter ends the line (Envoy)
			s.http.LocalReplyBody = strings.TrimSuffix(s.http.LocalReplyBody, "\n")
		}
		s.grpc(resp, l.GRPCStatus)
		return resp
	}
	body := s.http.LocalReplyBody
	h := &resp.Header
	if body == "" {
		h.Del("content-length")
		h.Del("content-type")
		return resp
	}
	h.Set("content-length", strconv.Itoa(len(body)))
	if contentType != textPlain || !h.Has("content-type") {
		h.Set("content-type", contentType)
	}
	if s.handed.Request.Method != "HEAD" {
		s.text = httpmsg.Bytes(body)
		resp.Body = &s.text
	}
	return resp
}

// rewrite has local_reply_config change a reply, and returns the type of its body.
func (s *stream) rewrite(resp *httpmsg.Response) (contentType string) {
	o := &s.conn.service.config.Reply
	format := o.format
	for i := range o.mappers {
		m := &o.mappers[i]
		if m.when != nil && !m.when(&s.info, filter.NotSet, s.conn.service.env.Runtime) {
			continue
		}
		if m.body != nil {
			s.http.LocalReplyBody = *m.body
		}
		m.headers.Apply(&resp.Header, &s.info)
		if m.status != 0 {
			resp.Status, s.http.Code = m.status, m.status
		}
		if m.format != nil {
			format = m.format
		}
		break
	}
	if format == nil {
		return textPlain
	}
	s.http.LocalReplyBody = string(format.text.Append(nil, &s.info, filter.NotSet))
	return format.contentType
}

// isGRPC reports whether a request is one of gRPC.
func isGRPC(r *httpmsg.Request) bool {
	return httptext.GRPC(r.Header.Get("content-type"))
}

// grpc gives a reply the form of gRPC: a response without a body, whose headers say what
// trailers would.
func (s *stream) grpc(resp *httpmsg.Response, status int) {
	h := &resp.Header
	if status == 0 {
		status = grpcStatus(resp.Status)
	}
	resp.Status = 200 // filters that print the code see the other one (Envoy)
	h.Set("content-type", "application/grpc")
	if !h.Has("grpc-status") {
		h.Add("grpc-status", strconv.Itoa(status))
	}
	if body := s.http.LocalReplyBody; body != "" && s.handed.Request.Method != "HEAD" {
		h.Set("grpc-message", percentEncoded(body))
	}
}

// grpcStatus is the code that stands for an HTTP status (Envoy's table).
func grpcStatus(status int) int {
	switch status {
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	}
	return 2
}

// percentEncoded is a grpc-message: bytes that are not printable ASCII, and the percent
// sign, are written as %XX.
func percentEncoded(s string) string {
	const hex = "0123456789ABCDEF"
	plain := func(c byte) bool { return c >= ' ' && c < 0x7f && c != '%' }
	n := 0
	for n < len(s) && plain(s[n]) {
		n++
	}
	if n == len(s) {
		return s
	}
	out := append(make([]byte, 0, len(s)+16), s[:n]...)
	for i := n; i < len(s); i++ {
		if c := s[i]; plain(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out)
}
