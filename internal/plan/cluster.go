package plan

import (
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"
)

// OriginalDst says where connections of an ORIGINAL_DST cluster go.
type OriginalDst struct {
	Metadata *MetadataKey // nil: none says so
	Header   string       // lower case; "": none
	Port     *uint16      // in place of the port that was found; nil: that one
	Cleanup  time.Duration
}

// EDS says where the hosts of a cluster come from.
type EDS struct {
	Source  ConfigSource
	Service string // the name of the assignment
	// Compile makes an assignment of the message that was delivered.
	Compile func(proto.Message) (Assignment, error)
}

// DNS says how the names of a cluster's hosts are looked up.
type DNS struct {
	// Logical makes the addresses of the one name one host, whose connections stay when
	// they change; else each address is a host.
	Logical      bool
	Refresh      time.Duration // 5 s by default
	Jitter       time.Duration // most that is added to it; 0: nothing
	RespectTTL   bool          // answers say themselves how long they hold
	LeastRefresh time.Duration // with RespectTTL: however short they hold
	// FailBase is the first time to wait after a failure, FailMax the longest, each as much
	// by chance; 0: Refresh.
	FailBase, FailMax time.Duration
	Family            NameFamily
	Resolver          NameServers
	NoWait            bool // the cluster is ready before the first answer
}

// NameFamily says which addresses of a name are wanted, as Envoy's dns_lookup_family.
type NameFamily uint8

// The families. AutoFamily and V4Preferred ask for one kind, and for the other where there
// is none of it.
const (
	AutoFamily NameFamily = iota // IPv6 first
	V4Only
	V6Only
	V4Preferred
	AllFamilies
)

// NameServers is how names are looked up. The zero value does as the system is configured.
type NameServers struct {
	Servers  []netip.AddrPort // empty: those of /etc/resolv.conf
	Fallback bool             // Servers are asked only where /etc/resolv.conf has none
	TCP      bool             // never UDP
	NoSearch bool             // names are whole: no search domain is tried
	Timeout  time.Duration    // of one question; 0: 5 s
	Tries    int              // of a question, at all servers together; 0: 4
	Rotate   bool             // questions begin with another server each
}

// TryOrder says in which order the addresses of a host are tried.
type TryOrder struct {
	First AddressFamily
	Count int // addresses of it that are tried before another family has its turn; 0: 1
}

// AddressFamily is a kind of addresses.
type AddressFamily uint8

// The families.
const (
	FirstFamily AddressFamily = iota // that of the first address
	IPv4Family
	IPv6Family
	PipeFamily
	InternalFamily
)
