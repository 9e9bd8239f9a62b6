package state

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
)

// Names of filter-state objects that ginnel itself reads.
const (
	ClusterKey          = "envoy.tcp_proxy.cluster"
	DisableTunnelingKey = "envoy.tcp_proxy.disable_tunneling"
	IdleTimeoutKey      = "envoy.tcp_proxy.per_connection_idle_timeout_ms"
	DestinationKey      = "envoy.network.transport_socket.original_dst_address"
	OriginalLocalKey    = "envoy.filters.listener.original_dst.local_ip"
	OriginalRemoteKey   = "envoy.filters.listener.original_dst.remote_ip"
	ServerNameKey       = "envoy.network.upstream_server_name"
	ProtocolsKey        = "envoy.network.application_protocols"
	SubjectAltNamesKey  = "envoy.network.upstream_subject_alt_names"
	TunnelHeadersKey    = "envoy.tcp_proxy.propagate_response_headers"
	TunnelTrailersKey   = "envoy.tcp_proxy.propagate_response_trailers"
)

// A Factory makes an object from text; false when the text does not fit.
type Factory func(text string) (filter.Object, bool)

// Factories are object factories by name. They are filled before use and then only
// read.
type Factories map[string]Factory

// NewFactories returns the factories that Envoy 1.40 has for connections, and
// Istio's.
func NewFactories() Factories {
	return Factories{
		"envoy.string":          func(s string) (filter.Object, bool) { return Text(s), true },
		"envoy.hashable_string": hashable,
		"istio.hashable_string": hashable,
		"envoy.bool":            parseBool,
		"envoy.network.ip":      parseIP,

		DestinationKey:    parseAddress,
		OriginalLocalKey:  parseAddress,
		OriginalRemoteKey: parseAddress,

		ServerNameKey:      func(s string) (filter.Object, bool) { return ServerName(s), true },
		ProtocolsKey:       func(s string) (filter.Object, bool) { return ApplicationProtocols{splitList(s)}, true },
		SubjectAltNamesKey: func(s string) (filter.Object, bool) { return SubjectAltNames{s}, true },

		"envoy.network.network_namespace":                   name,
		"envoy.network.transport_socket.http_11_proxy.info": parseProxyInfo,

		ClusterKey: name,
		// Envoy: any text but "true" is false
		DisableTunnelingKey: func(s string) (filter.Object, bool) { return Bool(s == "true"), true },
		IdleTimeoutKey:      parseUint64,

		DynamicHostKey:                func(s string) (filter.Object, bool) { return Text(s), true },
		DynamicPortKey:                parseUint32,
		"envoy.ratelimit.hits_addend": parseUint32,
	}
}

// Lookup returns the factory of the object key, or of factoryKey when it is not
// empty. The error is Envoy's, which names the object in both cases.
func (f Factories) Lookup(object, factoryKey string) (Factory, error) {
	n := factoryKey
	if n == "" {
		n = object
	}
	if made, ok := f[n]; ok {
		return made, nil
	}
	switch n {
	case "envoy.ai.llm_protocol.request", "envoy.ai.model.request", "envoy.router.debug_config":
		return nil, fmt.Errorf("object factory %q is not supported yet", n)
	}
	return nil, fmt.Errorf("'%s' does not have an object factory", object)
}

func hashable(s string) (filter.Object, bool) { return HashableText(s), true }

func name(s string) (filter.Object, bool) { return Name(s), true }

// parseBool takes what absl::SimpleAtob takes.
func parseBool(s string) (filter.Object, bool) {
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "1":
		return Bool(true), true
	case "false", "f", "no", "n", "0":
		return Bool(false), true
	}
	return nil, false
}

func parseIP(s string) (filter.Object, bool) {
	a, err := netip.ParseAddr(s)
	return IP{a}, err == nil
}

func parseAddress(s string) (filter.Object, bool) {
	a, err := netip.ParseAddrPort(s)
	return Address{a}, err == nil
}

// parseProxyInfo reads "host,ip:port".
func parseProxyInfo(s string) (filter.Object, bool) {
	host, proxy, _ := strings.Cut(s, ",")
	a, err := netip.ParseAddrPort(strings.TrimSpace(proxy))
	return ProxyInfo{strings.TrimSpace(host), a}, err == nil && strings.TrimSpace(host) != ""
}

func parseUint32(s string) (filter.Object, bool) {
	n, ok := atoi(s, 32)
	return Uint32(n), ok
}

func parseUint64(s string) (filter.Object, bool) {
	n, ok := atoi(s, 64)
	return Uint64(n), ok
}

// atoi takes what absl::SimpleAtoi takes: blanks around it and a plus sign.
func atoi(s string, bits int) (uint64, bool) {
	s = strings.TrimPrefix(strings.Trim(s, " \t\n\v\f\r"), "+")
	if strings.HasPrefix(s, "+") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, bits)
	return n, err == nil
}

func splitList(s string) []string {
	var out []string
	for n := range strings.SplitSeq(s, ",") {
		if n = strings.TrimSpace(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}
