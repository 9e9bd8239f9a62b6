package httptext

import (
	"net/netip"
	"strconv"
	"strings"
)

// URLHost returns what follows the userinfo in the authority of a URL, and reports whether
// it is a host, and a port if there is a colon. Authority says much less: it is about what
// clients may call a server that they have connected to already.
func URLHost(authority string) (host string, ok bool) {
	if i := strings.IndexByte(authority, '@'); i >= 0 {
		if !userinfo(authority[:i]) {
			return "", false
		}
		authority = authority[i+1:]
	}
	name, port, found := cutPort(authority)
	return authority, isHost(name) && (!found || isPort(port))
}

// HostPort reports whether s is a host and a port, as a CONNECT of HTTP/1 names them.
func HostPort(s string) bool {
	name, port, _ := cutPort(s)
	return isHost(name) && isPort(port)
}

func cutPort(s string) (name, port string, found bool) {
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// isHost takes a name or an IPv4 address, or an IPv6 address in brackets, which has no
// zone: that would be one of the client's.
func isHost(s string) bool {
	if address, found := strings.CutPrefix(s, "["); found {
		address, found = strings.CutSuffix(address, "]")
		ip, err := netip.ParseAddr(address)
		return found && err == nil && ip.Is6() && ip.Zone() == ""
	}
	for i := range len(s) {
		if c := s[i]; c != '.' && c != '-' && c != '_' && !alphanumeric(c) {
			return false
		}
	}
	return s != ""
}

func isPort(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' { // ParseUint takes a sign
			return false
		}
	}
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func userinfo(s string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte("-_.!~*'()%;:&=+$,", s[i]) < 0 {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
