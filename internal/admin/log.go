package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/machine"
)

// answeredHere is %RESPONSE_CODE_DETAILS% of all answers (Envoy).
const answeredHere = "admin_filter_response"

// A connKey finds the Info of a request's connection in its context.
type connKey struct{}

// nameless is the admin server's listener, which is not among the others.
var nameless = &filter.ListenerInfo{}

// connContext gives requests what their entries say of the connection.
func (s *Server) connContext(ctx context.Context, c net.Conn) context.Context {
	i := &filter.Info{ID: s.opts.NextID(), Listener: nameless, Start: time.Now(), Local: c.LocalAddr(), Remote: c.RemoteAddr()}
	return context.WithValue(ctx, connKey{}, i)
}

// logged answers a request and writes its entry, where there are logs.
func (s *Server) logged(w http.ResponseWriter, r *http.Request) {
	on, ok := r.Context().Value(connKey{}).(*filter.Info)
	if !ok {
		s.answer(w, r)
		return
	}
	e := &entry{ResponseWriter: w, body: r.Body, begun: time.Now()}
	i := e.info(r, on)
	r.Body = e
	s.answer(e, r)
	e.end(i, r)
	for _, l := range s.opts.Logs {
		l.Log(i, filter.DownstreamEnd)
	}
}

// An entry notes what passes through a request's body and its answer.
type entry struct {
	http.ResponseWriter
	body           io.ReadCloser
	begun          time.Time
	received, sent uint64
	code           int
	firstSent      time.Duration
}

// Unwrap is for http.ResponseController.
func (e *entry) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e *entry) WriteHeader(code int) {
	if e.code == 0 {
		e.code, e.firstSent = code, time.Since(e.begun)
	}
	e.ResponseWriter.WriteHeader(code)
}

func (e *entry) Write(p []byte) (int, error) {
	if e.code == 0 {
		e.code, e.firstSent = http.StatusOK, time.Since(e.begun)
	}
	n, err := e.ResponseWriter.Write(p)
	e.sent += uint64(n)
	return n, err
}

// Read implements io.Reader for the request's body.
func (e *entry) Read(p []byte) (int, error) {
	n, err := e.body.Read(p)
	e.received += uint64(n)
	return n, err
}

// Close implements io.Closer for the request's body.
func (e *entry) Close() error { return e.body.Close() }

// info returns the Info of a request, as it came; what reads it may not keep it.
func (e *entry) info(r *http.Request, on *filter.Info) *filter.Info {
	h := &filter.HTTPInfo{Conn: on, Protocol: protocol(r), Request: request(r, on)}
	i := &filter.Info{ID: on.ID, Listener: on.Listener, Start: e.begun, Local: on.Local, Remote: on.Remote}
	i.More().HTTP = h
	i.More().Details = answeredHere
	return i
}

// end completes the Info when the request has been answered.
func (e *entry) end(i *filter.Info, r *http.Request) {
	if e.code == 0 {
		e.code = http.StatusOK
	}
	h := i.HTTP()
	h.Code, h.Response = e.code, &httpmsg.Response{Status: e.code, Header: header(e.Header())}
	h.RequestDone, h.FirstSent, h.LastSent = 1, max(e.firstSent, 1), max(time.Since(e.begun), 1)
	i.Duration = h.LastSent
	// What of a body nobody has read is read now.
	i.Received, i.Sent = max(e.received, uint64(max(r.ContentLength, 0))), e.sent
}

func protocol(r *http.Request) httpmsg.Protocol {
	switch {
	case r.ProtoMajor == 2:
		return httpmsg.HTTP2
	case r.ProtoAtLeast(1, 1):
		return httpmsg.HTTP11
	}
	return httpmsg.HTTP10
}

// request returns the head of r as Envoy's connection manager hands it on: with the client
// at the end of x-forwarded-for.
func request(r *http.Request, on *filter.Info) *httpmsg.Request {
	q := &httpmsg.Request{
		Method: r.Method, Scheme: "http", Authority: r.Host, Path: r.RequestURI, Protocol: protocol(r), Header: header(r.Header),
	}
	const forwardedFor = "x-forwarded-for"
	if peer := forwardedPeer(on.Remote); peer != "" {
		if before := q.Header.Get(forwardedFor); before != "" {
			peer = before + "," + peer
		}
		q.Header.Set(forwardedFor, peer)
	}
	return q
}

// forwardedPeer is the client as x-forwarded-for has it; "": it has no IP address.
func forwardedPeer(a net.Addr) string {
	ip, ok := filter.IP(a)
	switch addr := ip.Addr().Unmap(); {
	case !ok:
		return ""
	case addr == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || addr == netip.IPv6Loopback():
		return machine.Address() // what others could reach (Envoy)
	default:
		return addr.WithZone("").String()
	}
}

// header returns what package net/http knows of the lines of a header.
func header(h http.Header) httpmsg.Header {
	var out httpmsg.Header
	for name, values := range h {
		out.Add(strings.ToLower(name), strings.Join(values, ","))
	}
	return out
}
