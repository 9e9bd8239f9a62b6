package plan

import "time"

// An HTTP is how requests reach the hosts of a cluster.
type HTTP struct {
	Version HTTPVersion
	HTTP1   HTTP1
	HTTP2   HTTP2

	IdleTimeout time.Duration // of a connection without requests; 0: none. 1 h by default
	// MaxDuration is how old a connection may get; it then ends with its last request. 0: any.
	MaxDuration       time.Duration
	MaxDurationJitter float64       // percent by which MaxDuration is made longer, at random
	MaxRequests       uint32        // of one connection; 0: any number
	MaxStreamDuration time.Duration // of a request and its response; 0: none
	MaxHeaders        uint32        // lines of a response's head; 100 by default
	MaxHeaderBytes    int           // of a response's head; 60 KiB by default, HTTP/1 80 KiB

	// How many streams to have connections for, by those there are; 1: just as many.
	PerHostPreconnect float64
	// Policies are filter.ClusterInfo.Policies; nil: none.
	Policies any
	// AutoSNI asks hosts for the name that requests are for, AutoSANs wants it in their
	// certificates. SNIHeader holds that name; "": the authority does, and where it is missing.
	AutoSNI, AutoSANs bool
	SNIHeader         string // lower case
	// PerDownstream keeps the connections of each downstream connection apart.
	PerDownstream bool
}

// An HTTPVersion is what a cluster's hosts speak.
type HTTPVersion uint8

// The versions. AsDownstream is what the client of the request speaks; Negotiated is what a
// host chooses of both by ALPN, HTTP/1 where it does not know ALPN.
const (
	HTTP1Only HTTPVersion = iota
	HTTP2Only
	AsDownstream
	Negotiated
)

// HTTP1 is what is special to HTTP/1 towards a host.
type HTTP1 struct {
	Trailers           bool // of requests are sent, and those of responses passed on
	AllowChunkedLength bool // a response may have both; transfer-encoding wins
	FullURL            bool // request lines name the whole URL
	ProperCase         bool // names are sent as Proper-Case
	PreserveCase       bool // names are sent as they came
	ForwardPhrase      bool // reason phrases of responses are passed on
}

// HTTP2 is what is special to HTTP/2 towards a host. 0 is Envoy's default; -1 of a
// limit is 0.
type HTTP2 struct {
	TableBytes       int    // HPACK; 4096 by default
	MaxStreams       uint32 // at once on one connection; 1024 by default
	StreamWindow     uint32 // bytes; 16 MiB by default
	ConnectionWindow uint32 // bytes; 24 MiB by default
	AllowConnect     bool
	StreamErrors     bool // what is wrong with one message resets its stream alone
	DisallowObsText  bool
	Huffman          bool
	Settings         []Setting
	Keepalive        HTTP2Keepalive

	MaxOutboundFrames, MaxOutboundControlFrames int // that wait to be sent; 10000 and 1000 by default
	MaxEmptyFrames                              int // in a row; 1 by default
	MaxPriorityFramesPerStream                  int // 100 by default
	MaxWindowUpdatesPerData                     int // 10 by default
	MaxFieldBytes                               int // of one header, encoded; 64 KiB by default
}

// A Setting is a parameter of a SETTINGS frame.
type Setting struct {
	ID    uint16
	Value uint32
}

// HTTP2Keepalive is connection_keepalive.
type HTTP2Keepalive struct {
	Interval      time.Duration // of PINGs; 0: none
	Timeout       time.Duration // for the answer
	JitterPercent float64       // of Interval, added at random
	IdleInterval  time.Duration // a PING goes ahead of a request after so long without frames; 0: none
}
