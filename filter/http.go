package filter

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/httpmsg"
)

// An HTTPHandler answers requests. One goroutine serves one request: ServeHTTP waits
// for what it needs. It returns the response, whose body its caller reads to the end,
// or an error, which resets the stream; a failure that the client shall hear of is a
// response of HTTPStream.Reply. The body of the request may still be under way when
// ServeHTTP returns.
type HTTPHandler interface {
	ServeHTTP(s *HTTPStream) (*httpmsg.Response, error)
}

// HTTPHandlerFunc is a function as a handler.
type HTTPHandlerFunc func(s *HTTPStream) (*httpmsg.Response, error)

// ServeHTTP implements HTTPHandler.
func (f HTTPHandlerFunc) ServeHTTP(s *HTTPStream) (*httpmsg.Response, error) { return f(s) }

// An HTTPFilter stands between the client and the handlers after it: it may change the
// request, answer it itself, call next, and change the response that next returned.
// Changing bodies means to wrap Request.Body and Response.Body. It is made once and
// serves all requests of its connection manager at the same time.
type HTTPFilter interface {
	WrapHTTP(next HTTPHandler) HTTPHandler
}

// An HTTPReplyFilter changes answers to requests, too, that never come to it: of the
// connection manager, and of filters before it (Envoy).
type HTTPReplyFilter interface {
	HTTPFilter
	// ChangeReply changes an answer that no handler of the filter has passed on.
	ChangeReply(s *HTTPStream, resp *httpmsg.Response)
}

// An HTTPFilterFactory is a compiled HTTP filter configuration. NewHTTPFilter is called
// once for each connection manager that goes live and must not block.
type HTTPFilterFactory interface {
	NewHTTPFilter(*HTTPEnv) (HTTPFilter, error)
}

// An HTTPTerminalFactory is a compiled HTTP filter that ends a filter chain, as the router.
type HTTPTerminalFactory interface {
	NewHTTPHandler(*HTTPEnv) (HTTPHandler, error)
}

// HTTPEnv is what an HTTP filter may use.
type HTTPEnv struct {
	*Env
	Name  string // of the filter in its configuration, which per-route settings go by
	HTTP  Scope  // http.<stat_prefix>. of the connection manager
	Local HTTPLocal
}

// HTTPLocal is what a connection manager says of itself.
type HTTPLocal struct {
	StatPrefix string // without "http." and the last dot
	ServerName string
	NodeID     string
	Cluster    string // the node's
	// Address is the address of this machine, as x-forwarded-for has it. nil: unknown.
	Address func() string
}

// An HTTPStream is one request on its way through the filters. Filters use it within
// their call of ServeHTTP, and in what OnEnd runs, and hand it on as they got it, with its
// HTTPHost.
type HTTPStream struct {
	// Info is the request's own: its State and Metadata are those of the request, over
	// those of the connection. Info.HTTP() is never nil.
	Info    *Info
	Request *httpmsg.Request
	HTTPHost
}

// HTTPHost is what the connection manager does for a stream.
type HTTPHost interface {
	// Route returns where the request goes; nil: no route matches. It is looked up when
	// first asked for and kept until ClearRoute.
	Route() HTTPRoute
	ClearRoute()
	// Reply makes a response of this proxy's own, as local_reply_config wants it, and for
	// gRPC requests in gRPC's form. It has the response headers of the route, if there is
	// one, which others need not add to it.
	Reply(LocalReply) *httpmsg.Response
	// NewResponse returns the stream's own response, emptied, with room for header lines:
	// for who passes one on whose lines do not last until the access log is written.
	NewResponse() *httpmsg.Response
	// Again has the request, as it stands now, pass all filters once more: as another one,
	// with a route, statistics and a log entry of its own (internal redirects). resp, which
	// the caller keeps, is what the entry of this pass says. The body must be one that can be
	// read again. The caller returns the error; it has no response.
	Again(resp *httpmsg.Response) error
	// Inform sends an informational response (1xx) ahead, if that is configured. The
	// caller keeps r.
	Inform(r *httpmsg.Response) error
	// OnReset has f called when the client went away or reset the stream, or a time limit
	// of the connection manager ends it: from another goroutine, at once if that has
	// happened already. There is one f at a time; nil takes it back, and when OnReset
	// returns then f is not running.
	OnReset(f func(*httpmsg.ResetError))
	// OnEnd has f called when the response has been sent or will not be, before the access
	// log is written. The last one is called first. f waits for whoever uses the request's
	// body in another goroutine. That body then gives no more bytes, but for that of a
	// tunnel whose response ended in order: there the client may go on sending, and the
	// stream lasts until f has returned.
	OnEnd(f func())
	// Wait tells that the stream's goroutine is about to wait and that until it has called
	// Resume nobody touches Info, Request or the response: what is written from time to
	// time about the request, as periodic access log entries, is written then. Who does
	// not call it only makes them late.
	Wait()
	Resume()
	// Upgraded tells that the stream has become a tunnel: limits on messages hold no more.
	Upgraded()
	// StopRequest gives up what is left of the request, as httpmsg.Responder does: of a
	// tunnel whose far end is gone, nobody wants it.
	StopRequest(why *httpmsg.ResetError)
}

// LocalReply describes a response that does not come from an upstream.
type LocalReply struct {
	Status  int
	Body    string // "": none
	Details string // for %RESPONSE_CODE_DETAILS%
	Flags   Flags  // added to those of the stream
	// GRPCStatus is for gRPC requests; 0: from Status, as Envoy maps it.
	GRPCStatus int
	Header     httpmsg.Header // sent as well; the caller's no longer
}

// An HTTPRoute is where a request goes: what its route table says of it.
type HTTPRoute interface {
	Name() string
	Metadata() *corev3.Metadata
	HostMetadata() *corev3.Metadata // of its virtual host
	// FilterConfigs returns the settings for the filter of a configured name, compiled:
	// from the most general (route configuration) to the most specific one (weighted
	// cluster). Filters that do not merge use the last.
	FilterConfigs(name string) []any
	// FilterDisabled tells whether the route switches the filter off or on; ok: it does
	// either.
	FilterDisabled(name string) (disabled, ok bool)
}

// ClusterOf returns the name of the cluster that a route forwards a request to; ok is
// false where it does not forward.
func ClusterOf(r HTTPRoute, m *httpmsg.Request) (name string, ok bool) {
	if f, is := r.(interface {
		ForwardsTo(*httpmsg.Request) (string, bool)
	}); is {
		return f.ForwardsTo(m)
	}
	return "", false
}

// PathOf returns the path of a request that matchers look at: without its query, and as the
// route configuration of r (nil: there is none) says without the parameters of its segments.
// What leads to a route is then what policies see.
func PathOf(r HTTPRoute, m *httpmsg.Request) string {
	if p, is := r.(interface {
		PathOf(*httpmsg.Request) string
	}); is {
		return p.PathOf(m)
	}
	path, _, _ := strings.Cut(m.Path, "?")
	path, _, _ = strings.Cut(path, "#")
	return path
}

// HTTPInfo is what is known of a request, beside what is in Info: for logs and for
// matching. Times are since Info.Start; zero: it has not happened.
type HTTPInfo struct {
	Conn     *Info  // of the connection; it may be kept, while the Info of a request is used again
	StreamID string // %STREAM_ID%; "": none was made
	Protocol httpmsg.Protocol

	Request        *httpmsg.Request // as the filters left it
	Response       *httpmsg.Response
	RequestTrailer httpmsg.Header // nil: none
	Trailer        httpmsg.Header // of the response; nil: none
	Code           int            // of the response; 0: none was sent
	LocalReplyBody string

	Route          HTTPRoute // nil: none was found, or asked for
	VirtualCluster string
	UpProtocol     httpmsg.Protocol // of the upstream connection; 0: there was none

	RequestDone       time.Duration // the last byte of the request was received
	UpstreamFirstSent time.Duration
	UpstreamLastSent  time.Duration
	UpstreamFirstByte time.Duration // of the response
	UpstreamFirstBody time.Duration // byte of the response's body
	UpstreamLastByte  time.Duration
	FirstSent         time.Duration // of the response, to the client
	LastSent          time.Duration
	PoolReady         time.Duration // how long the request waited for a connection
	UpWire, DownWire  HTTPBytes
	HealthCheck       bool   // the request is a health check
	SchemeOfHost      bool   // the router makes the scheme one that says how the host is reached
	RouteLookups      uint32 // how often a route was looked for
}

// HTTPBytes counts bytes on the wire of one stream.
type HTTPBytes = httpmsg.Wire

// HTTP returns what is known of the request; nil for a connection.
func (i *Info) HTTP() *HTTPInfo {
	if i.Extra == nil {
		return nil
	}
	return i.Extra.HTTP
}
