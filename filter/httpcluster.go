package filter

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/httpmsg"
)

// An HTTPCluster is a Cluster whose hosts speak HTTP.
type HTTPCluster interface {
	Cluster
	// Info returns what is fixed of the cluster.
	Info() *ClusterInfo
	// Open chooses a host and returns a stream to it, on a connection that there is or a
	// new one. It waits for one if it must. It writes the host and the connection to
	// r.Info.Up, and counts the request in the cluster's statistics and circuit breakers
	// until the stream is released. Errors are ErrNoHost, *NoHostError, ErrOverflow, ErrPendingOverflow,
	// ErrRequestOverflow, ErrCanceled, and *ConnectError or ErrConnectTimeout.
	Open(r *StreamRequest) (UpstreamStream, error)
	// Retry takes one of the retries that may be under way at the same time; the caller
	// gives it back with done. It reports false where circuit breakers forbid it.
	Retry(high bool) (done func(), ok bool)
	// Stats is the scope cluster.<name>. for what the router counts.
	Stats() Scope
	// Refuses tells whether a request is to be refused before a host is chosen for it. It
	// is asked once for each request, not for its retries: chance may decide.
	Refuses() Refusal
}

// A Refusal is why a cluster gets no request, whatever its hosts are like.
type Refusal uint8

// The refusals.
const (
	NotRefused    Refusal = iota
	InMaintenance         // the runtime wants no requests (upstream.maintenance_mode)
	Dropped               // this one is of the part that whoever delivers the hosts wants dropped (drop_overloads)
	AllDropped            // that part is the whole
)

// A Membership is a Cluster that counts its hosts: all of them, and those that are
// healthy or degraded.
type Membership interface {
	Members() (available, total int)
}

// A StreamRequest asks a cluster for a stream.
type StreamRequest struct {
	Info     *Info            // of the request
	Protocol httpmsg.Protocol // the client's, for clusters that use the same
	High     bool             // routing priority
	Hash     *uint64          // for hashing balancers; nil: random
	Match    *structpb.Struct // subset criteria (envoy.lb); nil: none
	Route    *corev3.Metadata // for the passthrough kinds "route" and "request"; nil: none
	Try      int              // tries of the request before this one
	// Avoid reports whether another host than h should be chosen if there is one; the
	// choice is repeated up to AvoidTries times. nil: any will do.
	Avoid      func(h *Host) bool
	AvoidTries int
	// Tried are the hosts of the tries before. Their priorities are left out, as far as
	// there are others, after each TriedEvery of them, but where a hash chooses. 0: they are
	// not.
	Tried      []*Host
	TriedEvery int
	// Waiting is called before Open first waits; closing the channel ends the wait with
	// ErrCanceled. nil: nothing cancels it.
	Waiting func() (cancel <-chan struct{})
	// Waited is called when that wait is over, before Open goes on to use Info. nil: nobody
	// wants to know.
	Waited func()
	// Deadline is when the asker's own limits strike; zero: never.
	Deadline time.Time
}

// An UpstreamStream is one exchange with a host.
type UpstreamStream interface {
	httpmsg.Exchange
	Host() *Host
	Protocol() httpmsg.Protocol
	// Wire returns the bytes of the exchange on the wire so far.
	Wire() HTTPBytes
	// Outcome tells what became of the request, for outlier detection: the status, or 0
	// and why there was none. It is called at most once, before Release.
	Outcome(status int, why *httpmsg.ResetError)
}
