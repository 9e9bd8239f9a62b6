package proxyproto

import (
	"net"
)

// StateKey names the filter-state object of a connection whose header was read. Hosts that
// want a header are told the same.
const StateKey = "envoy.network.proxy_protocol_options"

// A State is what a connection's header said. It does not change.
type State struct {
	Source, Destination net.Addr // those of the connection itself if the header had none
	TLVs                []TLV    // that are passed on
}

// Serialize implements filter.Object: Envoy's object prints nothing.
func (*State) Serialize() (string, bool) { return "", false }
