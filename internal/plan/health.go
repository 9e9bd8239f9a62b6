package plan

import (
	"net"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/httpmsg"
)

// A HealthCheck is an active health check: what hosts are asked, and how often. One of
// HTTP, TCP and GRPC is set.
type HealthCheck struct {
	HTTP *HTTPCheck
	TCP  *TCPCheck
	GRPC *GRPCCheck

	Timeout            time.Duration
	Healthy, Unhealthy uint32 // results in a row that change the health of a host
	OneConnection      bool   // each check has a connection of its own
	AltPort            uint16 // 0: the host's

	Protocols []string         // offered by ALPN, whatever the transport offers elsewhere; nil: what it offers
	Transport *structpb.Struct // what chooses the transport in place of the host's metadata; nil: that does

	Interval         time.Duration // after a check of a healthy host
	HealthyEdge      time.Duration // of an unhealthy one that passed, but not often enough yet
	UnhealthyEdge    time.Duration // of a healthy one that failed, likewise
	UnhealthyAfter   time.Duration // of an unhealthy one
	NoTraffic        time.Duration // of an unhealthy one, while the cluster never had a connection
	NoTrafficHealthy time.Duration // of a healthy one, likewise

	InitialJitter  time.Duration // before the first check, at most
	IntervalJitter time.Duration // added to all intervals, at most
	JitterPercent  uint32        // likewise, of the interval

	// ExcludeNew keeps hosts that were not checked yet out of all counts, panic included.
	ExcludeNew bool

	EventLogs                 []string // paths of files
	LogFailures, LogSuccesses bool     // all of them are events, not only what changes the health of a host
}

// An HTTPCheck asks by a request.
type HTTPCheck struct {
	Protocol httpmsg.Protocol
	Method   string
	Host     string // "": the name of the cluster
	Path     string
	Add      []HeaderAdd
	Remove   []string
	Body     []byte // nil: none

	Expected, Retriable []StatusRange
	Receive             [][]byte // must be found in the body, in this order
	ReceiveBytes        int      // how much of the body is looked at; 0: all
}

// A HeaderAdd is a header of health checks.
type HeaderAdd struct {
	Name, Value string
	IfAbsent    bool // only where there is none
	IfPresent   bool // only where there is one
	Overwrite   bool // in place of what there is
}

// A StatusRange is statuses from Start up to but not including End.
type StatusRange struct{ Start, End int }

// A TCPCheck asks by bytes; with nothing to receive it only connects.
type TCPCheck struct {
	Send    []byte
	Receive [][]byte // must come, in this order
	Proxy   int      // version of the PROXY protocol header that comes first; 0: none does
}

// A GRPCCheck asks by grpc.health.v1.Health/Check.
type GRPCCheck struct {
	Service   string
	Authority string // "": the name of the cluster
	Add       []HeaderAdd
}

// An EndpointCheck is what is special to the check of one endpoint. Zero fields are as
// for any.
type EndpointCheck struct {
	Disabled bool
	Port     uint16
	Hostname string
	Addr     net.Addr
}
