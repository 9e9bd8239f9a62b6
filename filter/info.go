package filter

import (
	"net"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// Info is what is known about one connection: the source of access logs, matchers
// and formatters. It is written by whoever serves the connection and may be read
// by others only after the connection has ended, but for the fields marked fixed.
//
// An idle connection keeps one Info per hop, so what few connections need stands
// in Extra.
type Info struct {
	ID       uint64        // fixed: of this connection, unique in the process
	ChainID  uint64        // fixed: the same for all connections of a chain of internal hops
	Parent   *Info         // fixed: the connection whose hop led here; nil at the start of a chain
	Listener *ListenerInfo // fixed
	Start    time.Time     // fixed

	Local, Remote net.Addr   // effective addresses; listener filters may restore others
	Chain         *ChainInfo // nil until a filter chain was chosen
	State         State
	Metadata      Metadata
	Extra         *Extra // nil: nothing of it is set; see Info.More

	Up Upstream

	Received, Sent     uint64        // bytes from and to the downstream peer
	Duration           time.Duration // set when the connection ended
	Flags              Flags         // set by Raise, which keeps their order
	UpAttempts         uint32        // attempts to connect to a host, failed ones included
	Depth              uint16        // fixed: internal hops passed so far
	Worker             uint16        // that the connection counts for in its listener's worker_N statistics
	Shown              bool          // something prints from here, such as an access log: what costs a system call is asked for, too
	DownClose, UpClose CloseType     // how each side came to its close; UpClose 0: there was no upstream side
	state              connState     // of the Conn around this Info
}

// Extra is the part of an Info that few connections need.
type Extra struct {
	DirectLocal, DirectRemote net.Addr // nil: the same as Local, Remote: no other was restored
	Inspected                 Inspected
	Details                   string // %RESPONSE_CODE_DETAILS%; "" prints -
	Termination               string // %CONNECTION_TERMINATION_DETAILS%; "" prints -

	DownReason, UpReason string // local close reasons; "" when the peer closed

	Source *Source // of connections to hosts; nil: as their clusters say

	DownFailure string // transport failure reason of the downstream side; "" prints -
	DownTLS     *TLS   // nil: there is no TLS
	UpTLS       *TLS   // nil: there is no TLS, or not yet

	UpFailure string  // transport failure reason of the last failed attempt
	UpTried   []*Host // in the order of the attempts; nil while there was only one
	UpState   []Entry // %UPSTREAM_FILTER_STATE%: what was shared with the upstream connection

	HTTP *HTTPInfo // of a request; nil: the Info is a connection's

	raised []Flags // in the order of Info.Raise; nil: that of their bits

	onData func(*Conn) error // of Conn.OnData; nil: nothing waits
	guard  sync.Locker       // of Conn.Guard; nil: nobody else reads
	onEnd  func()            // of Conn.OnEnd; nil: nothing
}

// A Source is where sockets to hosts seem to come from: the client's own address
// (original_src).
type Source struct {
	Addr net.Addr // IPAddr, its port 0; it need not be this machine's
	Mark uint32   // SO_MARK of the sockets; 0: none
}

// ListenerInfo is what all connections of a listener share.
type ListenerInfo struct {
	Name      string
	Metadata  *corev3.Metadata
	Direction corev3.TrafficDirection
	// BufferBytes is per_connection_buffer_limit_bytes of the listener: most bytes
	// held for one direction of a connection; 0: no limit.
	BufferBytes int
	// HighWatermarkTimeout is per_connection_buffer_high_watermark_timeout of the
	// listener; 0: none.
	HighWatermarkTimeout time.Duration
	// ModifyOnly is drain_type MODIFY_ONLY: connections are not told to go elsewhere while
	// health checks are made to fail.
	ModifyOnly bool
}

// ChainInfo is what all connections of a filter chain share.
type ChainInfo struct {
	Name     string
	Metadata *corev3.Metadata
}

// Inspected is what listener filters found in the first bytes.
type Inspected struct {
	TransportProtocol    string // "" is raw_buffer
	ServerName           string
	ApplicationProtocols []string
	Fingerprints         *Fingerprints // nil: nobody asked for them
}

// Fingerprints tell which program a TLS client is.
type Fingerprints struct{ JA3, JA4 string }

// CloseType is what %..._DETECTED_CLOSE_TYPE% prints.
type CloseType uint8

// The close types of Envoy. The zero value prints as Normal.
const (
	CloseNormal CloseType = iota + 1
	CloseLocalReset
	CloseRemoteReset
)

func (t CloseType) String() string {
	return [...]string{"Normal", "Normal", "LocalReset", "RemoteReset"}[t]
}

// Upstream is what is known about the upstream side of a connection.
type Upstream struct {
	Host           *Host         // nil until one was chosen
	Local, Remote  net.Addr      // nil until connected; Local of a socket only if Info.Shown
	ID             uint64        // of the upstream connection
	Begun, Ready   time.Duration // since Info.Start: the last attempt began; it was connected
	Received, Sent uint64        // bytes from and to the upstream host
	// ClusterInfo is set by the cluster when it is asked for a host; nil: not asked.
	ClusterInfo *ClusterInfo
}

// ClusterInfo is what all connections to a cluster share.
type ClusterInfo struct {
	Name     string
	StatName string // alt_stat_name; "" is the name
	Metadata *corev3.Metadata
	// BufferBytes is per_connection_buffer_limit_bytes of the cluster; 0: no limit.
	BufferBytes int
	// HighWatermarkTimeout is per_connection_buffer_high_watermark_timeout of the
	// cluster; 0: none.
	HighWatermarkTimeout time.Duration
	MaxStreamDuration    time.Duration // of a request to it; 0: none
	Hashing              bool          // hosts are chosen by StreamRequest.Hash
	// Policies hold for requests to the cluster in place of what their routes say, and
	// are the router's to understand; nil: nothing does.
	Policies any
}

// More returns i.Extra, made when it is nil.
func (i *Info) More() *Extra {
	if i.Extra == nil {
		i.Extra = new(Extra)
	}
	return i.Extra
}

// Rest returns i.Extra for reading; what is not set is zero.
func (i *Info) Rest() *Extra {
	if i.Extra == nil {
		return &noExtra
	}
	return i.Extra
}

var noExtra Extra // never written

// DirectLocal returns the local address of the connection itself.
func (i *Info) DirectLocal() net.Addr {
	if a := i.Rest().DirectLocal; a != nil {
		return a
	}
	return i.Local
}

// DirectRemote returns the address of the peer of the connection itself.
func (i *Info) DirectRemote() net.Addr {
	if a := i.Rest().DirectRemote; a != nil {
		return a
	}
	return i.Remote
}

// RestoreLocal puts an original destination in place of the local address.
func (i *Info) RestoreLocal(a net.Addr) {
	if x := i.More(); x.DirectLocal == nil {
		x.DirectLocal = i.Local
	}
	i.Local = a
}

// LocalRestored reports whether a listener filter restored Local.
func (i *Info) LocalRestored() bool { return i.Rest().DirectLocal != nil }

// RestoreRemote puts the real source in place of the remote address.
func (i *Info) RestoreRemote(a net.Addr) {
	if x := i.More(); x.DirectRemote == nil {
		x.DirectRemote = i.Remote
	}
	i.Remote = a
}

// Path returns the names of the listeners that the chain of hops passed, the
// outermost first.
func (i *Info) Path() []string {
	path := make([]string, int(i.Depth)+1)
	for n := int(i.Depth); i != nil && n >= 0; n-- {
		if i.Listener != nil {
			path[n] = i.Listener.Name
		}
		i = i.Parent
	}
	return path
}

// MergeMetadata puts whole namespaces in place of what they held.
func (i *Info) MergeMetadata(m Metadata) {
	if len(m) == 0 {
		return
	}
	if i.Metadata == nil {
		i.Metadata = make(Metadata, len(m))
	}
	for ns, s := range m {
		i.Metadata[ns] = s
	}
}
