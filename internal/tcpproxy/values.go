package tcpproxy

import (
	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/filter"
)

// sourceHash is the hash of the source IP as text, without its port (Envoy).
func sourceHash(i *filter.Info) (uint64, bool) {
	ap, ok := filter.IP(i.Remote)
	if !ok {
		return 0, false
	}
	return xxhash.Sum64String(ap.Addr().Unmap().String()), true
}

func stateHash(i *filter.Info, key string) (uint64, bool) {
	o, _ := i.State.Get(key)
	if h, ok := o.(filter.Hashable); ok {
		return h.Hash()
	}
	return 0, false
}
