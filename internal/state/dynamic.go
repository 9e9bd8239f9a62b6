package state

import "github.com/ginnel/ginnel/filter"

// Names of filter-state objects of dynamic forward proxies.
const (
	DynamicHostKey     = "envoy.upstream.dynamic_host"
	DynamicPortKey     = "envoy.upstream.dynamic_port"
	UpstreamAddressKey = "envoy.stream.upstream_address" // where the name was found; it has no text
)

// DynamicHost returns the name that filter state says a connection or request goes to; "":
// it does not say.
func DynamicHost(i *filter.Info) string {
	for _, in := range ownAndConn(i) {
		if o, ok := in.State.Get(DynamicHostKey); ok {
			text, _ := o.Serialize()
			return text
		}
	}
	return ""
}

// DynamicPort returns the port that goes with it; ok is false where filter state says none
// that could be one.
func DynamicPort(i *filter.Info) (port uint16, ok bool) {
	for _, in := range ownAndConn(i) {
		if n, ok := filter.Get[Uint32](&in.State, DynamicPortKey); ok {
			return uint16(n), n > 0 && n <= 65535
		}
	}
	return 0, false
}

// ownAndConn are a request and its connection, or a connection twice.
func ownAndConn(i *filter.Info) [2]*filter.Info {
	if h := i.HTTP(); h != nil && h.Conn != nil {
		return [2]*filter.Info{i, h.Conn}
	}
	return [2]*filter.Info{i, i}
}

// UpstreamAddress is where the name was found that a connection or request goes to.
type UpstreamAddress struct{ Addr filter.IPAddr }

// Serialize implements filter.Object.
func (UpstreamAddress) Serialize() (string, bool) { return "", false }
