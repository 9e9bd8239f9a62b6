package dnscache

import (
	"strconv"
	"strings"
)

// Name is how a name is known that is asked for as in an authority: with its port, or with
// the one given where it has none.
func Name(authority string, port uint16) string {
	if _, _, ok := split(authority); ok {
		return authority
	}
	return authority + ":" + strconv.Itoa(int(port))
}

// split returns the host and the port of an authority; ok is false where there is no port.
func split(authority string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || i < strings.LastIndexByte(authority, ']') {
		return authority, 0, false
	}
	n, err := strconv.ParseUint(authority[i+1:], 10, 16)
	if err != nil {
		return authority, 0, false
	}
	return authority[:i], uint16(n), true
}

// bare is a host as it is looked up: an IPv6 address has no brackets then.
func bare(host string) string {
	if in, ok := strings.CutPrefix(host, "["); ok {
		return strings.TrimSuffix(in, "]")
	}
	return host
}
