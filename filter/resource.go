package filter

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// Resources brings parts of the configuration that are asked for by their names and may
// change while the proxy runs. It is safe for concurrent use.
type Resources interface {
	// Subscribe asks for a resource until the subscription is closed. What the source has
	// already is delivered before Subscribe returns.
	Subscribe(*ResourceRequest) Subscription
}

// A ResourceRequest says what is asked for, and what becomes of it.
type ResourceRequest struct {
	Kind   ResourceKind
	Name   string
	Source ResourceSource
	// Owner makes the subscription one of its own; "": all that ask a source for a name have
	// one together, which counts and decodes once.
	Owner string
	// StatPrefix is that of the subscription's statistics, ending with a dot. Of a shared one
	// the first counts.
	StatPrefix string
	// Timeout is how long the first answer is waited for; 0: for ever.
	Timeout time.Duration
	// Decode makes of a message what is delivered; on an error it is rejected, and what there
	// was stays. Of a shared subscription that of the first one that is still open is used.
	Decode func(proto.Message) (any, error)
	// Deliver takes what was decoded, the first time and whenever there is another one, one
	// call after the other. It must not block, nor subscribe or close. After Close it is not
	// called.
	Deliver func(any)
}

// A ResourceKind is what is asked for.
type ResourceKind uint8

// The kinds.
const (
	RouteResource    ResourceKind = iota // envoy.config.route.v3.RouteConfiguration
	EndpointResource                     // envoy.config.endpoint.v3.ClusterLoadAssignment
)

// A ResourceSource is where resources come from.
type ResourceSource struct {
	Path string // of a file that holds a DiscoveryResponse
	// WatchedDir is the folder in which something must be moved for the file to be read
	// again; "": the file itself must be.
	WatchedDir string
}

// A Subscription is one request that is under way.
type Subscription interface {
	// Ready is closed once it is not to be waited for any more: there is an answer, be it a
	// wrong one, or the time for it is over.
	Ready() <-chan struct{}
	Close() // may be called twice
}
