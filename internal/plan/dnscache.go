package plan

import (
	"net/netip"
	"time"
)

// A DNSCache is what is remembered of names that are asked for while the proxy runs.
type DNSCache struct {
	Name string
	Hash uint64 // of the message: those of one name and hash are the same cache

	Family        NameFamily
	Resolver      NameServers
	QueryTimeout  time.Duration // of one lookup with all its questions; 0: those alone have one
	Refresh       time.Duration // of names without an address
	LeastRefresh  time.Duration // however short answers hold
	FailBase      time.Duration // as those of DNS
	FailMax       time.Duration
	ForgetFailed  bool          // names that cannot be looked up are, again, when they are asked for
	HostTTL       time.Duration // how long a name is kept that nobody asks for
	MaxHosts      uint32
	MaxPending    uint32         // lookups that are waited for at once
	Preresolve    []string       // names with ports
	Filtered      []netip.Prefix // addresses that are taken for none; nil: no filter
	FilteredOther bool           // those that are not in Filtered, instead
}

// Forward says that the hosts of a cluster are the names that are asked for.
type Forward struct {
	Cache *DNSCache
	Port  uint16 // of names that come without one
}
