package filter

import (
	"context"
	"log/slog"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// An AccessLogType is what %ACCESS_LOG_TYPE% prints.
type AccessLogType uint8

// The types, in no order that anything depends on.
const (
	NotSet AccessLogType = iota
	TCPUpstreamConnected
	TCPPeriodic
	TCPConnectionEnd
	TCPConnectionStart
	DownstreamStart
	DownstreamPeriodic
	DownstreamEnd
	UpstreamPoolReady
	UpstreamPeriodic
	UpstreamEnd
	DownstreamTunnelSuccessfullyEstablished
	UDPTunnelUpstreamConnected
	UDPPeriodic
	UDPSessionEnd
)

func (t AccessLogType) String() string {
	return [...]string{
		"NotSet", "TcpUpstreamConnected", "TcpPeriodic", "TcpConnectionEnd", "TcpConnectionStart",
		"DownstreamStart", "DownstreamPeriodic", "DownstreamEnd", "UpstreamPoolReady", "UpstreamPeriodic",
		"UpstreamEnd", "DownstreamTunnelSuccessfullyEstablished", "UdpTunnelUpstreamConnected", "UdpPeriodic",
		"UdpSessionEnd",
	}[t]
}

// An AccessLog writes one entry. It must not block for long nor keep info.
type AccessLog interface {
	Log(info *Info, t AccessLogType)
}

// An AccessLogFactory is a compiled access log configuration.
type AccessLogFactory interface {
	NewAccessLog(*Env) (AccessLog, error)
}

// A NetworkFactory is a compiled network filter configuration. NewNetwork is called
// once for each filter chain that goes live and must not block.
type NetworkFactory interface {
	NewNetwork(*Env) (Network, error)
}

// A TerminalFactory is a compiled terminal network filter configuration.
type TerminalFactory interface {
	NewTerminal(*Env) (Terminal, error)
}

// A ListenerFilter looks at a new connection before its filter chain is chosen.
type ListenerFilter interface {
	// Inspect may change info. It looks at the first bytes, if it must, with p.
	Inspect(info *Info, p Peeker) error
}

// A Peeker is a new connection as listener filters see it.
type Peeker interface {
	// Peek returns at least n bytes without consuming any, or fewer with an error: io.EOF
	// at the end of the stream, os.ErrDeadlineExceeded at the listener filters' timeout. It
	// is only for filters whose factory says that they peek.
	Peek(n int) ([]byte, error)
	// Discard consumes n bytes that Peek has returned: nobody after the filter sees them.
	Discard(n int) error
	// Stream returns the connection itself, for what else it can tell. Filters neither
	// read nor write nor close it.
	Stream() Stream
}

// A ListenerFilterFactory is a compiled listener filter configuration.
type ListenerFilterFactory interface {
	NewListenerFilter(*Env) (ListenerFilter, error)
	// Peeks reports whether the filter needs bytes.
	Peeks() bool
}

// Counter, Gauge and Histogram are the statistics that extensions may keep; all
// methods are safe for concurrent use and never block.
type (
	Counter   interface{ Add(n uint64) }
	Gauge     interface{ Add(n int64) }
	Histogram interface{ Record(v uint64) }
)

// A Scope makes statistics below a prefix. The same name gives the same object.
type Scope interface {
	Scope(prefix string) Scope // prefix ends with a dot
	Counter(name string) Counter
	Gauge(name string) Gauge
	Histogram(name string) Histogram
	// Close gives the scope, and those made from it, back: when no scope of a prefix
	// is open any more its statistics are no longer listed.
	Close()
}

// Env is what a running filter may use.
type Env struct {
	Stats    Scope // of the server: names are whole
	Listener *ListenerInfo
	// ListenerStats is listener.<address>. of the listener; nil: there is none.
	ListenerStats Scope
	Clusters      Clusters
	Pumps         Pumps
	Hangups       Hangups // nil: nothing is noticed
	Log           *slog.Logger
	Node          *corev3.Node // of the bootstrap; nil: none
	Runtime       Runtime
	LogFiles      LogFiles
	// Resources are those that come by their names. What a filter subscribes to while it is
	// made, by who makes it, belongs to its filter chain: the listener warms until all of it
	// is ready, and closes it with the chain. nil: none come.
	Resources Resources
	// HealthFailed reports whether the operator wants health checks to fail
	// (/healthcheck/fail); nil: never.
	HealthFailed func() bool
	// Background runs f in a goroutine of its own, for what outlasts connections: when the
	// proxy ends it ends ctx and waits for f. It reports false, and does not run f, if the
	// proxy has ended. nil: nobody waits.
	Background func(f func(ctx context.Context)) bool
	Secrets    Secrets // nil: no source delivers any
}

// Hangups notice peers that go away while nobody reads.
type Hangups interface {
	// Watch has f called when the peer of s ends its direction, and when it ends both or
	// resets it, with bytes still to be read or not: once, or once for each, from another
	// goroutine, which f must not block. stop
	// ends that and must be called; f may just be running, or begin to, when it returns.
	// Where a stream cannot tell, f is never called.
	Watch(s Stream, f func()) (stop func())
}

// Pumps move bytes between two ends.
type Pumps interface {
	// Start takes over both streams; the observers are told of everything, hop
	// and then those outside of it. It does not block. first, if not nil, runs
	// before the first downstream bytes are passed on.
	Start(down, up Stream, hop Outer, first func() error) Pump
}

// A Pump is a running pair of streams.
type Pump interface {
	// Settle reports the bytes moved so far to the observers.
	Settle()
	// CloseLocal ends the pair for a reason of the given hop: to the hops inside
	// of it their downstream closed, to those outside their upstream.
	CloseLocal(at Outer, reason string)
}

// Runtime gives the values of runtime keys.
type Runtime interface {
	// Enabled reports whether a fraction (of 1,000,000) hits.
	Enabled(key string, perMillion uint32) bool
	Uint(key string, def uint64) uint64
}

// FeatureFlags is a Runtime that knows of booleans, too.
type FeatureFlags interface {
	Flag(key string, def bool) bool
}

// LogFiles opens access log files; the same path gives the same file.
type LogFiles interface {
	Open(path string) (LogFile, error)
}

// A LogFile takes whole lines. Write never blocks on the disk and keeps no p.
type LogFile interface{ Write(p []byte) (int, error) }
