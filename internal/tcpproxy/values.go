package tcpproxy

import (
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ginnel/ginnel/filter"
)

// milliseconds reads a filter-state object that holds a number of milliseconds.
func milliseconds(o filter.Object) (time.Duration, bool) {
	s, ok := o.Serialize()
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n > uint64(1<<63-1)/uint64(time.Millisecond) {
		return 0, false
	}
	return time.Duration(n) * time.Millisecond, true
}

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
