// Package plan is a configuration as the proxy runs it: immutable values with
// defaults applied and references resolved, and no protobuf left to test for nil.
// The messages that are kept are for dumps only.
package plan

import (
	"net"
	"net/netip"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// A Server is a whole configuration.
type Server struct {
	Bootstrap *bootstrapv3.Bootstrap // for dumps
	Node      *corev3.Node
	Listeners []*Listener
	Clusters  []*Cluster
	Admin     *Admin // nil: no admin server
	Runtime   []RuntimeLayer
	// InternalBufferBytes bounds each direction of an in-process pipe
	// (bootstrap extension, buffer_size_kb).
	InternalBufferBytes int
	FlushStatsEvery     time.Duration

	ListenerSource, ClusterSource *ConfigSource // dynamic_resources; nil: there is none
	// What has come from them; set by who asks them.
	FromListenerSource, FromClusterSource Delivered
	MaxConnections                        uint64      // from sockets of listeners that obey it; 0: any number, or what the runtime says
	Bind                                  *BindConfig // that clusters inherit; nil: nothing
	OutlierLog                            string      // file of the events of outlier detection; "": none
}

// A ConfigSource is where resources come from while the proxy runs.
type ConfigSource struct {
	filter.ResourceSource
	FetchTimeout time.Duration // for the first answer; 0: any
}

// Delivered is what has come from a source.
type Delivered struct {
	Version  string // of what was applied last, be it in part
	Rejected []Rejected
}

// A Rejected resource is one that could not be applied; what there was of its name stays.
type Rejected struct {
	Name     string
	Resource *anypb.Any
	At       time.Time
	Details  string
}

// Admin is the admin server's configuration.
type Admin struct {
	Address    Address
	AccessLogs []filter.AccessLogFactory
}

// A RuntimeLayer is one layer of runtime values; a later layer hides earlier ones.
type RuntimeLayer struct {
	Name   string
	Values map[string]*structpb.Value // flattened: dotted keys
	Admin  bool                       // the layer that the admin API may change
}

// A Listener accepts connections.
type Listener struct {
	Info       filter.ListenerInfo
	StatPrefix string // "": from the address
	Hash       uint64 // of the deterministic message and its secrets: equal means unchanged
	BaseHash   uint64 // of all that cannot be changed in place: equal means that only chains differ
	Proto      *listenerv3.Listener
	Dynamic    bool   // came from the source of listeners
	Version    string // of the response that it came with

	Internal  bool // reached by name only
	Addresses []Address
	Bind      bool // false: reached by hand-off only

	Balance        bool // a new connection is for the worker that has fewest of the listener's
	AcceptMost     int  // connections for each event of a listening socket; 0: as suits who accepts
	IgnoreLimit    bool // of all connections together, be it Server.MaxConnections or the runtime's
	BypassOverload bool // Server.MaxConnections does not count, or count for, its connections
	// UseOriginalDst hands connections of which the original destination is restored to
	// the listener that they were going to.
	UseOriginalDst bool

	Filters           []filter.ListenerFilterFactory
	FiltersTimeout    time.Duration // 0: none
	ContinueOnTimeout bool
	Chains            []*Chain
	// Matcher is filter_chain_matcher: it names the chain of a connection, which there may
	// not be; false: none, so that it is Default's. nil: the Match of each chain decides.
	Matcher    func(*filter.Info, filter.Runtime) (name string, ok bool)
	Default    *Chain // nil: none
	AccessLogs []filter.AccessLogFactory
}

// ReusePort reports whether the listener's addresses can be shared.
func (l *Listener) ReusePort() bool { return len(l.Addresses) > 0 && l.Addresses[0].ReusePort }

// An Address is what a listener or admin server binds.
type Address struct {
	Addr     netip.AddrPort // valid for TCP
	Path     string         // Unix domain socket; "@" starts an abstract one
	Mode     uint32         // of the Unix socket's file; 0: as umask says
	V4Compat bool           // an IPv6 socket that also takes IPv4
	// Namespace is the file of the network namespace that the socket is in; "": the process's.
	Namespace string

	ReusePort   bool
	Backlog     int // 0: the system's maximum
	Keepalive   *Keepalive
	Transparent bool
	FreeBind    bool // the address need not be one of this machine yet
	FastOpen    int  // queue length of TCP fast open; 0: the system's, -1: off
	Multipath   bool // MPTCP
	Options     []SocketOption
}

// Keepalive is TCP keep-alive; 0 leaves the system's value.
type Keepalive struct {
	Probes         int
	Time, Interval time.Duration
}

// A Chain is one filter chain.
type Chain struct {
	Info     filter.ChainInfo
	Hash     uint64
	Match    ChainMatch
	Filters  []filter.NetworkFactory
	Terminal filter.TerminalFactory // nil: an empty chain, which closes connections
	// Transport lies below the filters; nil: the bytes stay as they are.
	Transport filter.TransportFactory
	// ConnectTimeout bounds the downstream transport socket's handshake; 0: none.
	ConnectTimeout time.Duration
}

// A ChainMatch is filter_chain_match; zero fields match anything.
type ChainMatch struct {
	DestinationPort      uint16
	Destinations         []netip.Prefix
	ServerNames          []string // lower case; ".x" for suffixes
	TransportProtocol    string
	ApplicationProtocols []string
	DirectSources        []netip.Prefix
	SourceType           listenerv3.FilterChainMatch_ConnectionSourceType
	Sources              []netip.Prefix
	SourcePorts          []uint16
}

// A Cluster is a set of endpoints and how to reach them.
type Cluster struct {
	Name     string
	StatName string // alt_stat_name or the name
	Hash     uint64
	Proto    *clusterv3.Cluster
	Dynamic  bool   // came from the source of clusters
	Version  string // of the response that it came with

	ConnectTimeout time.Duration
	BufferBytes    int // most bytes held for one direction of a connection; 0: no limit
	// HighWatermarkTimeout is how long the host may take nothing while bytes wait for
	// it; 0: as long as it likes.
	HighWatermarkTimeout time.Duration
	Metadata             *corev3.Metadata
	Assignment           Assignment
	LB                   LB
	Breakers             [2]Breaker // by routing priority: default, high
	Transport            Transport  // for hosts that no match claims
	Transports           []TransportMatch
	Bind                 *BindConfig
	Keepalive            *Keepalive
	TryOrder             TryOrder
	Lookup               string       // cluster type as Envoy names it: "STATIC"
	OriginalDst          *OriginalDst // nil: its hosts are those of Assignment
	DNS                  *DNS         // nil: hosts of Assignment have no names
	Forward              *Forward     // nil: it is no dynamic forward proxy
	EDS                  *EDS         // nil: nobody delivers the hosts
	Aggregate            []string     // the clusters whose hosts are used in turn; nil: it has its own
	HTTP                 HTTP
	PredictivePreconnect float64 // requests to have connections for, by those there are; 0, 1: just as many
	// PreconnectHost reports whether a host of some metadata gets connections in advance; nil:
	// each does.
	PreconnectHost func(*corev3.Metadata) bool
	Outlier        *Outlier     // nil: no host is ejected
	Check          *HealthCheck // nil: hosts are not asked
	CloseOnChange  bool         // of hosts: connections end with their requests
	// IgnoreHealthOnRemoval lets hosts go at once that are gone, though they pass health checks.
	IgnoreHealthOnRemoval bool
}

// BindConfig is what sockets to hosts are before they connect.
type BindConfig struct {
	// Sources are at most one of each family, the preferred one first; empty: the system
	// chooses.
	Sources  []BindSource
	FreeBind bool           // sources need not be addresses of this machine yet
	Options  []SocketOption // of sockets without a source
}

// A BindSource is an address that connections come from.
type BindSource struct {
	Addr    netip.AddrPort // port 0: any
	Options []SocketOption
}

// A Transport is an upstream transport socket.
type Transport struct {
	Name   string // of its match, for statistics; "" for the cluster's own
	Socket extension.UpstreamTransport
}

// A TransportMatch chooses a transport socket for hosts whose metadata contains all
// of Match.
type TransportMatch struct {
	Transport
	Match *structpb.Struct
}

// An Assignment is the endpoints of a cluster by locality, as configured.
type Assignment struct {
	Localities          []Locality
	OverprovisionFactor uint32 // percent; 140 by default
	// WeightedHealth measures the health of a priority by the weights of its hosts
	// instead of their number.
	WeightedHealth bool
	StaleAfter     time.Duration // hosts that were delivered are gone after this time; 0: never
	DropsOfMillion uint32        // of Million requests so many are refused (drop_overloads); 0: none
}

// Million is what DropsOfMillion counts of.
const Million = 1_000_000

// A Locality is the endpoints of one place at one priority.
type Locality struct {
	Locality  *corev3.Locality
	Priority  uint32
	Weight    uint32 // 0: unset, which takes no traffic when localities are weighted
	Metadata  *corev3.Metadata
	Endpoints []Endpoint
}

// An Endpoint is one host as configured.
type Endpoint struct {
	Addr       net.Addr // filter.IPAddr, filter.UnixAddr or filter.InternalAddr; nil: Name says where it is
	Name       string   // to be looked up, of a cluster with DNS
	Port       uint16   // with Name
	Additional []net.Addr
	Hostname   string
	Weight     uint32 // 1 by default
	Health     corev3.HealthStatus
	Metadata   *corev3.Metadata
	Check      EndpointCheck
}

// An LB is a load balancing policy.
type LB struct {
	Policy          Policy
	PanicPercent    float64 // 50 by default; 0: never
	FailOnPanic     bool    // a panic finds no host, but for hashing policies
	LocalityWeights bool

	ChoiceCount      uint32  // LEAST_REQUEST: 2 by default
	FullScan         bool    // LEAST_REQUEST: of all hosts instead of ChoiceCount
	ActiveBias       float64 // LEAST_REQUEST: 1 by default
	MinRing, MaxRing uint64  // RING_HASH
	Murmur           bool    // RING_HASH: MURMUR_HASH_2 instead of XX_HASH
	MaglevSize       uint64  // 65537 by default
	HashHostname     bool
	BalanceFactor    uint32     // hash_balance_factor; 0: off
	BiasKey          string     // runtime key over ActiveBias; "": none
	SlowStart        *SlowStart // ROUND_ROBIN and LEAST_REQUEST; nil: hosts have their weight at once
	Override         *Override  // requests may name hosts before the policy chooses; nil: they may not
	Subset           *Subset    // requests may ask for hosts by their metadata; nil: all hosts are one set
}

// An Override lets requests name hosts, by their addresses.
type Override struct {
	Sources  []OverrideSource // searched in order
	Selected MetadataKey      // where the address of the chosen host is written; zero: nowhere
}

// An OverrideSource is where a list of addresses may stand.
type OverrideSource struct {
	Header   string      // lower case; "": Metadata
	Metadata MetadataKey // of the request
}

// A MetadataKey is a place in dynamic metadata.
type MetadataKey struct {
	Namespace string
	Path      []string // at least one key
}

// A Policy is a load balancing algorithm.
type Policy uint8

// The policies.
const (
	RoundRobin Policy = iota
	LeastRequest
	Random
	RingHash
	Maglev
	Provided // by the cluster
)

// A Breaker is a circuit breaker's thresholds.
type Breaker struct {
	MaxConnections, MaxPending, MaxRequests, MaxRetries uint32
	MaxConnectionPools                                  uint32
	TrackRemaining                                      bool
	PerHostMaxConnections                               uint32       // 0: none
	RetryBudget                                         *RetryBudget // nil: MaxRetries counts
}

// A RetryBudget limits retries by what else is under way.
type RetryBudget struct {
	Percent        float64 // of the requests that are under way or waiting; 20 by default
	MinConcurrency uint32  // retries that are allowed in any case; 3 by default
}
