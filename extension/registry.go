// Package extension is the registry of extensions: it maps the message type of a
// configuration to the function that compiles it.
//
// There is no global registry and nothing registers itself: who makes a proxy
// makes its registry (package builtin fills one with all that ginnel has), so two
// proxies in one process never meet.
package extension

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ginnel/ginnel/filter"
)

// A Kind is a category of extensions whose compiled form is F.
type Kind[F any] struct{ name string }

// Name returns the category as Envoy names it.
func (k Kind[F]) Name() string { return k.name }

// The categories. A terminal network filter is registered as such.
var (
	NetworkFilter    = Kind[filter.NetworkFactory]{"envoy.filters.network"}
	TerminalFilter   = Kind[filter.TerminalFactory]{"envoy.filters.network (terminal)"}
	ListenerFilter   = Kind[filter.ListenerFilterFactory]{"envoy.filters.listener"}
	AccessLog        = Kind[filter.AccessLogFactory]{"envoy.access_loggers"}
	DownstreamSocket = Kind[filter.TransportFactory]{"envoy.transport_sockets.downstream"} // nil: the bytes stay as they are
	UpstreamSocket   = Kind[UpstreamTransport]{"envoy.transport_sockets.upstream"}
	HTTPFilter       = Kind[filter.HTTPFilterFactory]{"envoy.filters.http"}
	HTTPTerminal     = Kind[filter.HTTPTerminalFactory]{"envoy.filters.http (terminal)"}
	HTTPRouteFilter  = Kind[any]{"envoy.filters.http (per route)"} // what filter.HTTPRoute.FilterConfigs returns
	AccessLogFilter  = Kind[LogFilter]{"envoy.access_loggers.extension_filters"}
)

// A LogFilter decides whether an access log entry is written.
type LogFilter func(*filter.Info, filter.AccessLogType) bool

// An UpstreamTransport is a compiled upstream transport socket.
type UpstreamTransport interface {
	// Transparent reports whether the socket leaves the bytes as they are, so that
	// a stream may be handed over instead of being copied through it.
	Transparent() bool
	// Passthrough returns the metadata sources that travel to internal hosts; ok is
	// false for sockets that pass nothing, not even shared filter state.
	Passthrough() (sources []MetadataSource, ok bool)
}

// An UpstreamFactory is an UpstreamTransport that changes the bytes. NewUpstream is called
// once for each cluster; nil is returned by one that leaves the bytes as they are after all.
// What it returns is closed with the cluster if it is an io.Closer, and may still be used.
type UpstreamFactory interface {
	NewUpstream(*UpstreamEnv) filter.UpstreamTransport
}

// UpstreamEnv is what an upstream transport may use.
type UpstreamEnv struct {
	Stats   filter.Scope   // of the cluster
	Secrets filter.Secrets // nil: no source delivers any
	// LogFiles opens the files that a LogWriter has named; nil: none are named.
	LogFiles filter.LogFiles
}

// A LogWriter is an UpstreamTransport that writes to files. A cluster opens them before it is
// made, and is refused where one cannot be opened.
type LogWriter interface{ LogPaths() []string }

// A Negotiator is an UpstreamTransport that can agree with hosts on a protocol, by ALPN.
type Negotiator interface {
	// Negotiates reports whether it does: one that is put into another may, or may not.
	Negotiates() bool
}

// A MetadataSource names a namespace of metadata and where it is read.
type MetadataSource struct {
	Kind MetadataKind
	Name string
}

// MetadataKind is where passthrough metadata is read.
type MetadataKind uint8

// The kinds of envoy.type.metadata.v3.MetadataKind.
const (
	RequestMetadata MetadataKind = iota + 1
	RouteMetadata
	ClusterMetadata
	HostMetadata
)

// A Registry holds extensions by category and message type. It is filled before
// use and then only read.
type Registry struct{ entries map[key]any }

type key struct {
	kind string
	msg  protoreflect.FullName
}

// Register adds an extension: compile turns its message into its compiled form and
// reports what is wrong to the scope. It is pure: nothing is started. Registering a
// message type twice in a category panics, for it is a mistake in the program.
func Register[M proto.Message, F any](r *Registry, k Kind[F], compile func(*Scope, M) F) {
	var zero M
	id := key{k.name, zero.ProtoReflect().Descriptor().FullName()}
	if r.entries == nil {
		r.entries = make(map[key]any)
	}
	if _, dup := r.entries[id]; dup {
		panic(fmt.Sprintf("extension: %s registered twice for %s", id.msg, id.kind))
	}
	r.entries[id] = func(s *Scope, m proto.Message) F { return compile(s, m.(M)) }
}

// Lookup returns the compile function of a message type in a category.
func Lookup[F any](r *Registry, k Kind[F], msg protoreflect.FullName) (func(*Scope, proto.Message) F, bool) {
	f, ok := r.entries[key{k.name, msg}].(func(*Scope, proto.Message) F)
	return f, ok
}

// Types returns the message types registered in a category, in order.
func (r *Registry) Types(kind string) []string {
	var out []string
	for id := range maps.Keys(r.entries) {
		if id.kind == kind {
			out = append(out, string(id.msg))
		}
	}
	slices.Sort(out)
	return out
}

// category is the part of a kind's name that Envoy knows: terminal filters are one
// with other network filters there.
func category(kind string) string {
	name, _, _ := strings.Cut(kind, " ")
	return name
}

// like returns the message types registered in all kinds of a category.
func (r *Registry) like(kind string) []string {
	var out []string
	for id := range r.entries {
		if category(id.kind) == category(kind) {
			out = append(out, string(id.msg))
		}
	}
	slices.Sort(out)
	return out
}
