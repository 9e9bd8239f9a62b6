// Package teststream is requests as HTTP filters see them, for tests of filters: without
// a connection manager or a codec.
package teststream

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/testcompile"
)

// Name is what filters under test are called in their configuration.
const Name = "under-test"

// An Env is what filters run in, with statistics that can be asked for.
type Env struct {
	filter.HTTPEnv
	Stats *Stats
}

// NewEnv returns the environment of a connection manager with the prefix "test".
func NewEnv() *Env {
	e := &Env{Stats: &Stats{}}
	e.Env = &filter.Env{Stats: scope{e.Stats, ""}}
	e.Name, e.HTTP, e.Local.StatPrefix = Name, e.Env.Stats.Scope("http.test."), "test"
	return e
}

// Filter makes a filter of a configuration that must be right.
func Filter(t testing.TB, env *Env, register func(*extension.Registry), m proto.Message, text string) filter.HTTPFilter {
	t.Helper()
	f, issues := testcompile.JSON(t, register, extension.HTTPFilter, m, text)
	if len(issues) > 0 {
		t.Fatalf("%s: %v", text, issues)
	}
	h, err := f.NewHTTPFilter(&env.HTTPEnv)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Route compiles what a route says of a filter, which must be right.
func Route(t testing.TB, register func(*extension.Registry), m proto.Message, text string) any {
	t.Helper()
	c, issues := testcompile.JSON(t, register, extension.HTTPRouteFilter, m, text)
	if len(issues) > 0 {
		t.Fatalf("%s: %v", text, issues)
	}
	return c
}

// A Stream is a request whose connection manager is the test.
type Stream struct {
	filter.HTTPStream
	// Routed is the route; nil: none matches.
	Routed *RouteOf
	// Cleared counts calls of ClearRoute.
	Cleared int
	// Local is the last reply of the filter's own; nil: there was none.
	Local *filter.LocalReply

	own  httpmsg.Response
	ends []func()
	mu   sync.Mutex
	hook func(*httpmsg.ResetError)
	gone *httpmsg.ResetError
}

// New returns a request with lines such as "name: value".
func New(method, path string, lines ...string) *Stream {
	r := &httpmsg.Request{Method: method, Scheme: "http", Authority: "a.example", Path: path, Protocol: httpmsg.HTTP11}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	s := &Stream{}
	extra := &filter.Extra{HTTP: &filter.HTTPInfo{Request: r, Conn: &filter.Info{}, Protocol: r.Protocol}}
	s.HTTPStream = filter.HTTPStream{Info: &filter.Info{Extra: extra}, Request: r, HTTPHost: s}
	return s
}

// Serve has a filter serve the request; next answers where it lets it pass.
func (s *Stream) Serve(f filter.HTTPFilter, next filter.HTTPHandlerFunc) (*httpmsg.Response, error) {
	return f.WrapHTTP(next).ServeHTTP(&s.HTTPStream)
}

// Answer is a handler that answers with a status, a body (nil: none) and header lines.
func Answer(status int, body httpmsg.Body, lines ...string) filter.HTTPHandlerFunc {
	return func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		r := s.NewResponse()
		r.Status, r.Body = status, body
		s.Info.HTTP().Response, s.Info.HTTP().Code = r, status // as the router does
		for _, l := range lines {
			name, value, _ := strings.Cut(l, ": ")
			r.Header.Add(name, value)
		}
		return r, nil
	}
}

// Reset has the client go away.
func (s *Stream) Reset() {
	why := &httpmsg.ResetError{Reason: httpmsg.ConnectionTermination}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = why
	if s.hook != nil {
		s.hook(why)
	}
}

// Hooked reports whether somebody waits for the client to go away.
func (s *Stream) Hooked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hook != nil
}

// End runs what waits for the end of the stream.
func (s *Stream) End() {
	for i := len(s.ends) - 1; i >= 0; i-- {
		s.ends[i]()
	}
	s.ends = nil
}

// Route implements filter.HTTPHost.
func (s *Stream) Route() filter.HTTPRoute {
	if s.Routed == nil {
		return nil
	}
	return s.Routed
}

// ClearRoute implements filter.HTTPHost.
func (s *Stream) ClearRoute() { s.Cleared++ }

// Reply implements filter.HTTPHost.
func (s *Stream) Reply(l filter.LocalReply) *httpmsg.Response {
	s.Local = &l
	s.Info.Raise(l.Flags)
	s.Info.Extra.Details = l.Details
	r := s.NewResponse()
	r.Status, r.Header = l.Status, l.Header
	if l.Body != "" {
		b := httpmsg.Bytes(l.Body)
		r.Body = &b
	}
	return r
}

// NewResponse implements filter.HTTPHost.
func (s *Stream) NewResponse() *httpmsg.Response {
	s.own = httpmsg.Response{}
	return &s.own
}

// Again implements filter.HTTPHost.
func (s *Stream) Again(*httpmsg.Response) error { return ErrAgain }

// ErrAgain is what Again returns.
var ErrAgain = errors.New("again")

// Inform implements filter.HTTPHost.
func (s *Stream) Inform(*httpmsg.Response) error { return nil }

// OnReset implements filter.HTTPHost.
func (s *Stream) OnReset(f func(*httpmsg.ResetError)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
	if f != nil && s.gone != nil {
		f(s.gone)
	}
}

// OnEnd implements filter.HTTPHost.
func (s *Stream) OnEnd(f func()) { s.ends = append(s.ends, f) }

// Wait implements filter.HTTPHost.
func (s *Stream) Wait() {}

// Resume implements filter.HTTPHost.
func (s *Stream) Resume() {}

// Upgraded implements filter.HTTPHost.
func (s *Stream) Upgraded() {}

// A RouteOf is a route with settings for the filter under test.
type RouteOf struct {
	Configs []any
	Cluster string // "": it does not forward
	Meta    *corev3.Metadata
}

// Name implements filter.HTTPRoute.
func (r *RouteOf) Name() string { return "" }

// Metadata implements filter.HTTPRoute.
func (r *RouteOf) Metadata() *corev3.Metadata { return r.Meta }

// HostMetadata implements filter.HTTPRoute.
func (r *RouteOf) HostMetadata() *corev3.Metadata { return nil }

// ForwardsTo is for filter.ClusterOf.
func (r *RouteOf) ForwardsTo(*httpmsg.Request) (string, bool) { return r.Cluster, r.Cluster != "" }

// FilterConfigs implements filter.HTTPRoute.
func (r *RouteOf) FilterConfigs(name string) []any {
	if name != Name {
		return nil
	}
	return r.Configs
}

// FilterDisabled implements filter.HTTPRoute.
func (r *RouteOf) FilterDisabled(string) (disabled, ok bool) { return false, false }

// Pieces is a body that comes in pieces, with trailers.
type Pieces struct {
	Data     []string
	Trailers httpmsg.Header
	Err      error // how it ends; nil: io.EOF

	at int
}

// Next implements httpmsg.Body.
func (p *Pieces) Next() ([]byte, error) {
	if p.at < len(p.Data) {
		p.at++
		return []byte(p.Data[p.at-1]), nil
	}
	if p.Err != nil {
		return nil, p.Err
	}
	return nil, io.EOF
}

// Ready implements httpmsg.Body.
func (p *Pieces) Ready() bool { return true }

// Trailer implements httpmsg.Body.
func (p *Pieces) Trailer() httpmsg.Header { return p.Trailers }

// Text reads a body to its end; nil has no text.
func Text(b httpmsg.Body) (text string, err error) {
	for b != nil {
		p, err := b.Next()
		text += string(p)
		if err == io.EOF {
			break
		}
		if err != nil {
			return text, err
		}
	}
	return text, nil
}
