package hcm

import (
	"net/netip"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/route"
)

// Config is a compiled HttpConnectionManager message.
type Config struct {
	StatPrefix string
	Codec      Codec
	Codecs     codecOptions
	Routes     *route.Table // with RDS those that there are before any is delivered
	RDS        *routeSource // nil: Routes are all
	RouteStats bool         // how long it takes to find them is recorded
	Filters    []httpFilter // in their order; the last one is terminal
	Upgrades   []upgrade

	Request  requestOptions
	Response responseOptions
	Limits   limits
	Logs     logOptions
	Reply    replyOptions
}

// A Codec is which version of HTTP a connection speaks.
type Codec uint8

// The codecs. Auto looks at the first bytes.
const (
	Auto Codec = iota
	HTTP1
	HTTP2
)

// An upgrade is an entry of upgrade_configs.
type upgrade struct {
	kind    string // as in the header, lower case; "connect"
	enabled bool
	filters []httpFilter // nil: those of other requests
}

// requestOptions are what is done to the head of a request.
type requestOptions struct {
	useRemoteAddress bool
	trustedHops      uint32
	detectors        []detector // where the peer's address does not count; nil: x-forwarded-for, by trustedHops
	skipXFFAppend    bool
	mappedIPv6       bool
	internal         internalAddresses
	forwardedPort    bool
	early            route.Mutations   // before anything else
	scheme           string            // what it is overwritten with; "": it is kept
	schemeOfHost     bool              // the host gets a scheme that says how it is reached
	schemeOf         map[uint16]string // of clients that have asked for a port at another proxy; nil: not looked at
	via              string
	userAgent        bool

	generateID, preserveExternalID bool
	forwardCert                    certForwarding
	certDetails                    certDetails // that forwardCert adds

	normalizePath, mergeSlashes bool
	escapedSlashes              escapedSlashes
	stripPort                   portStripping
	stripDot                    bool
	proxyContinue               bool
}

// responseOptions are what is done to the head of a response.
type responseOptions struct {
	serverName string
	server     serverHeader
	via        string
	requestID  bool

	proxyStatus *proxyStatus // nil: not said
}

// serverHeader is server_header_transformation.
type serverHeader uint8

const (
	overwriteServer serverHeader = iota
	appendServer
	passServer
)

// escapedSlashes is path_with_escaped_slashes_action.
type escapedSlashes uint8

const (
	keepSlashes escapedSlashes = iota
	rejectSlashes
	redirectSlashes
	unescapeSlashes
)

// portStripping is which ports are taken from the authority.
type portStripping uint8

const (
	keepPort portStripping = iota
	stripMatchingPort
	stripAnyPort
)

// internalAddresses is internal_address_config. The zero value: none is internal.
type internalAddresses struct {
	unix   bool
	ranges []netip.Prefix
}

// limits are the time limits of connections and streams; 0: none.
type limits struct {
	idle           time.Duration // of a connection without requests
	duration       time.Duration // of a connection
	durationJitter float64       // share of duration
	safeDuration   bool          // HTTP/1 ends with the request that begins next, and not without one
	requests       uint32        // of a connection; 0: any number
	drain          time.Duration // from the announcement to the end
	drainJitter    float64       // share of drain
	delayedClose   time.Duration // for a peer to read the last answer

	streamIdle     time.Duration
	flush          time.Duration // of a response that waits for the client; 0: streamIdle
	request        time.Duration // until a request is complete
	requestHeaders time.Duration // until the head of a request is complete; 0: streamIdle
	stream         time.Duration // of a whole stream
}

// logOptions are the access logs.
type logOptions struct {
	factories []filter.AccessLogFactory
	every     time.Duration // between periodic entries; 0: none
	onStart   bool
	onTunnel  bool
}
