package http1

import (
	"time"

	"github.com/ginnel/ginnel/filter"
)

// Defaults of the limits.
const (
	DefaultMaxRequestHeadersBytes  = 60 << 10
	DefaultMaxResponseHeadersBytes = 80 << 10
	DefaultMaxHeadersCount         = 100
)

// ServerOptions are Envoy's Http1ProtocolOptions and what of its other messages concerns
// the server's codec. They are not changed once a Server has them.
type ServerOptions struct {
	// AllowAbsoluteURL takes http://host/path as a target; Envoy's default is true.
	AllowAbsoluteURL bool
	// AcceptHTTP10 takes HTTP/1.0 and 0.9; else they are refused with 426.
	AcceptHTTP10 bool
	// DefaultHostForHTTP10 stands in for a missing Host of HTTP/1.0; "": it is refused.
	DefaultHostForHTTP10 string
	HeaderKeyFormat      KeyFormat
	// EnableTrailers keeps trailers, of requests and of responses; else they are dropped.
	EnableTrailers bool
	// AllowChunkedLength drops a content-length beside "transfer-encoding: chunked"; else
	// such requests are refused.
	AllowChunkedLength bool
	// AllowCustomMethods takes any token as a method; else those that Envoy knows.
	AllowCustomMethods bool
	// IgnoreUpgrade reports whether an upgrade to a protocol is taken as if the client had
	// not asked for it (ignore_http_11_upgrade); nil: none but h2c is.
	IgnoreUpgrade func(protocol string) bool
	// HeadersWithUnderscoresAction is what is done about such names.
	HeadersWithUnderscoresAction Underscores
	// DroppedUnderscore is called for each header that was dropped for that; nil: nobody.
	DroppedUnderscore func()
	// MaxRequestHeadersBytes limits a head, with the request line and the last empty line,
	// and also trailers; 0: 60 KiB.
	MaxRequestHeadersBytes int
	// MaxHeadersCount limits the lines of a head; 0: 100.
	MaxHeadersCount int
	// RequestHeadersTimeout is how long a head may take from its first byte; 0: for ever.
	RequestHeadersTimeout time.Duration
	// DelayedCloseTimeout is how long a client that is still sending gets to read the last
	// response, before the connection is closed; 0: no time.
	DelayedCloseTimeout time.Duration
	// DelayedCloseStruck is called when a client had not closed its side by then; nil: nobody.
	DelayedCloseStruck func()
	// BufferBytes is the most of a body that is read ahead; 0: no limit. Only values
	// below ReadAheadBytes change anything.
	BufferBytes int
	// Hangups notice clients that go away while they are being answered; nil: that shows
	// with the next read or write.
	Hangups filter.Hangups
}

// ClientOptions are those of the client's codec.
type ClientOptions struct {
	HeaderKeyFormat KeyFormat
	// EnableTrailers keeps trailers, of requests and of responses; else they are dropped.
	EnableTrailers bool
	// AllowChunkedLength drops a content-length beside "transfer-encoding: chunked"; else
	// such responses are refused.
	AllowChunkedLength bool
	// SendFullyQualifiedURL sends http://host/path as the target.
	SendFullyQualifiedURL bool
	// MaxResponseHeadersBytes limits a head, and also trailers; 0: 80 KiB.
	MaxResponseHeadersBytes int
	// MaxHeadersCount limits the lines of a head; 0: 100.
	MaxHeadersCount int
	// BufferBytes is the most of a body that is read ahead; 0: no limit. Only values
	// below ReadAheadBytes change anything.
	BufferBytes int
	// Hangups notice servers that go away while nothing is asked of them; nil: that shows
	// when the connection is used next.
	Hangups filter.Hangups
}

// KeyFormat is how header names are written, and whether their case is remembered.
type KeyFormat struct {
	// ProperCase writes Content-Type for content-type; else names are lower case. With
	// PreserveCase it is for names that nobody wrote before (formatter_type_on_envoy_headers).
	ProperCase bool
	// PreserveCase keeps in Field.Wire how the peer wrote a name. A Field.Wire is obeyed
	// wherever it comes from, as in Envoy.
	PreserveCase bool
	// ForwardPhrase keeps the reason phrases of responses in Response.Phrase.
	ForwardPhrase bool
}

// Underscores is what is done about header names with underscores, which some servers
// take for dashes.
type Underscores uint8

// The actions, by Envoy's names.
const (
	Allow Underscores = iota
	RejectRequest
	DropHeader
)

// rules are what the parser needs of the options of either side.
type rules struct {
	maxBytes, maxLines int
	preserve           bool // the case of names
	phrases            bool // are kept
	trailers           bool
	chunkedLength      bool
	underscores        Underscores
	dropped            func()
}

func (o *ServerOptions) rules() rules {
	return rules{
		maxBytes: orDefault(o.MaxRequestHeadersBytes, DefaultMaxRequestHeadersBytes),
		maxLines: orDefault(o.MaxHeadersCount, DefaultMaxHeadersCount),
		preserve: o.HeaderKeyFormat.PreserveCase, trailers: o.EnableTrailers,
		chunkedLength: o.AllowChunkedLength,
		underscores:   o.HeadersWithUnderscoresAction, dropped: o.DroppedUnderscore,
	}
}

func (o *ClientOptions) rules() rules {
	return rules{
		maxBytes: orDefault(o.MaxResponseHeadersBytes, DefaultMaxResponseHeadersBytes),
		maxLines: orDefault(o.MaxHeadersCount, DefaultMaxHeadersCount),
		preserve: o.HeaderKeyFormat.PreserveCase, phrases: o.HeaderKeyFormat.ForwardPhrase,
		trailers:      o.EnableTrailers,
		chunkedLength: o.AllowChunkedLength,
	}
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}
