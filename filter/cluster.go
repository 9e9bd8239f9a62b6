package filter

import (
	"net"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// A Host is one endpoint of a cluster. Its fields are fixed but for the counts.
type Host struct {
	Cluster    string
	Addr       net.Addr   // IPAddr, UnixAddr or InternalAddr
	Additional []net.Addr // tried after Addr (happy eyeballs); may mix IP and internal
	Hostname   string
	Metadata   *corev3.Metadata
	Locality   *corev3.Locality
	Priority   uint32

	Active, Total, ConnectFail atomic.Uint64 // connections, as /clusters prints them
	Requests                   atomic.Uint64 // under way; of TCP one for each connection
}

// Clusters finds clusters by name at the moment of use: they come and go with
// configuration.
type Clusters interface {
	Cluster(name string) (Cluster, bool)
}

// KnownClusters are Clusters that say, too, whether a name is one of a cluster that has to
// wait for its hosts, or that comes with the update which is being prepared: what refers to
// it can come with it.
type KnownClusters interface{ Known(name string) bool }

// A Cluster chooses hosts and connects to them.
type Cluster interface {
	Name() string
	// Connect makes one attempt: it chooses a host and connects to it. It returns
	// nil when r.Hop.Connected has been called or, if the connection was handed
	// over, when nothing is left to do; the caller then no longer owns r.Hop (its
	// connection may already have ended). On an error r.Hop is the caller's again.
	Connect(r *ConnectRequest) error
	// AttemptsExceeded counts a connection whose attempts are used up.
	AttemptsExceeded()
}

// A ConnectRequest is one attempt of a filter to reach a cluster.
type ConnectRequest struct {
	Info  *Info            // of the downstream connection
	Hop   Hop              // who asks
	Hash  *uint64          // for hashing balancers; nil: random
	Match *structpb.Struct // subset criteria (envoy.lb); nil: none
	// Metadata that the passthrough kinds "route" and "request" read; nil: none.
	Route *corev3.Metadata
	// Stream is offered for hand-over to an internal listener; nil: only a pipe will do.
	Stream Stream
	Outer  Outer // with Stream: the asker as the pump will see it
}

// A Hop is told how its attempt to reach a host fares. Calls come from within
// Cluster.Connect.
type Hop interface {
	// Waiting is called before the attempt first blocks: from now on the hop
	// counts as accepted by its own dialler. The attempt ends with ErrCanceled when
	// the channel is closed.
	Waiting() (cancel <-chan struct{})
	// Deadline is when the asker's own limits strike; zero: never. The cluster adds its
	// connect timeout. It is asked for where an attempt may take time.
	Deadline() time.Time
	// Blocks is called before the attempt waits for an answer that comes soon, and
	// that decides whether the hop is accepted; see Conn.Blocks.
	Blocks()
	// Connected passes the connection, which the hop then owns. Its stream is nil
	// when the downstream stream was handed over.
	Connected(UpstreamConn)
}

// An UpstreamConn is a connection to a host. Whoever owns it calls Closed exactly
// once.
type UpstreamConn interface {
	Stream() Stream // nil: handed over
	// Moved counts bytes received from and sent to the host.
	Moved(received, sent uint64)
	// Paused and resumed reading from the host, for lack of room downstream.
	Flow(paused bool)
	// Closed settles the connection's statistics. local tells that this side
	// closed it first.
	Closed(local bool)
}
