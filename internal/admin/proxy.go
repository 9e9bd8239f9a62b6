package admin

import (
	"net"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/resource"
	"github.com/ginnel/ginnel/internal/secret"
)

// A Proxy is what the admin server shows and changes. Its methods are called from
// many goroutines; what they return is the server's own, but for the messages and
// metadata in it, which nobody changes.
type Proxy interface {
	State() adminv3.ServerInfo_State
	Started() time.Time
	// Plan is the configuration that was applied last.
	Plan() *plan.Server

	Listeners() []Listener // in the order of the configuration
	Clusters() []Cluster   // in the order of the configuration
	// WarmingListeners and WarmingClusters have been delivered and take their place when what
	// they wait for has come, in any order.
	WarmingListeners() []Listener
	WarmingClusters() []Cluster
	DrainingListeners() []Listener // that are no more and have connections, the newest first
	Unready() []Unready            // listeners that wait for something
	Routes() []resource.Resource   // tables that sources deliver, in order of their names
	Secrets() []secret.State       // that sources deliver, in order of their names
	// Certificates are those in use, of one TLS context after the other.
	Certificates() []filter.CertificatesInUse

	Inproc() inproc.Stats      // of the in-process network
	Connections() []InprocConn // that are open on internal listeners

	// Runtime returns the layers as they are now, later ones hiding earlier ones.
	Runtime() []plan.RuntimeLayer
	// ModifyRuntime sets keys of the admin layer; "" takes a key out of it. It is
	// called only when the plan has such a layer.
	ModifyRuntime(values map[string]string) error

	// FailHealth makes the proxy answer health checks with failure, or ends that.
	FailHealth(fail bool)
	// Drain begins to drain listeners. It does not wait.
	Drain(DrainOptions)
	// ReopenLogs opens the files of access logs, and the log's own, anew.
	ReopenLogs() error
	// Quit begins to end the process. It does not wait: the server is closed, and
	// so waited for, on the way.
	Quit()
}

// DrainOptions is how /drain_listeners drains.
type DrainOptions struct {
	InboundOnly bool // only listeners whose traffic direction is INBOUND
	// Graceful lets the listeners accept until the drain time is over and tells
	// connections to close meanwhile; otherwise the listeners stop at once.
	Graceful bool
	// SkipExit never stops the listeners: connections are told to close, that is all.
	SkipExit bool
}

// A Listener is one listener of the proxy.
type Listener struct {
	Name string
	// Addrs are the bound addresses, the main one first; of an internal listener
	// its filter.InternalAddr.
	Addrs   []net.Addr
	Proto   *listenerv3.Listener // nil: not from a configuration, and not dumped
	Updated time.Time
	Dynamic bool   // came from the source of listeners
	Version string // of the response that it came with
}

// An Unready listener waits for resources.
type Unready struct {
	Listener string
	Hash     uint64
	Wants    []*filter.ResourceRequest
}

// A Cluster is one cluster of the proxy.
type Cluster struct {
	Name     string
	Service  string // that a source of endpoints is asked for; "": there is none
	StatName string // alt_stat_name or the name
	Proto    *clusterv3.Cluster
	Updated  time.Time
	Dynamic  bool            // came from the source of clusters
	Version  string          // of the response that it came with
	Breakers [2]plan.Breaker // by routing priority: default, high
	Hosts    []Host          // by priority, then in the order of the configuration
	// Assignment gives the weights of localities and the overprovisioning factor.
	Assignment plan.Assignment
}

// A Host is one host of a cluster.
type Host struct {
	Addr       net.Addr
	Additional []net.Addr
	Hostname   string
	Health     corev3.HealthStatus // as configured
	Weight     uint32
	Metadata   *corev3.Metadata
	Locality   *corev3.Locality
	Priority   uint32

	CxActive, CxConnectFail, CxTotal uint64
	// Requests; of TCP one for each connection.
	RqActive, RqPending, RqTotal  uint64
	RqSuccess, RqError, RqTimeout uint64

	// What active health checks and outlier detection say of it.
	CheckFailed, CheckDegraded, CheckPending, CheckExcluded, Ejected bool
	// Success rates of outlier detection, in percent; 0 with no Rated: there are none.
	Rated                         bool
	SuccessRate, LocalSuccessRate float64 // -1: too few requests
}

// An InprocConn is an open connection of an internal listener.
type InprocConn struct {
	ID      uint64
	ChainID uint64   // the same for all connections of one chain of hops
	Path    []string // the listeners that the chain passed, this one last; not empty
	Start   time.Time
	// Piped tells a connection over a pipe from one that was handed over.
	Piped bool
	// Received and Sent are the bytes from and to the dialler so far.
	Received, Sent uint64
	// BufferedIn waits in the pipe to be read by the listener's side, BufferedOut
	// by the dialler's. Of a connection that was handed over both are 0.
	BufferedIn, BufferedOut uint64
}
