package hcm

import (
	"strconv"
	"strings"

	"github.com/ginnel/ginnel/filter"
)

// host returns an authority without the port and the trailing dot that are configured
// to go.
func (o *requestOptions) host(authority string, local uint16) string {
	at := portStart(authority)
	name, port := authority[:at], authority[at:]
	if o.stripDot && strings.HasSuffix(name, ".") {
		name = name[:len(name)-1]
	}
	if port != "" && o.strips(port[1:], local) {
		port = ""
	}
	if len(name)+len(port) == len(authority) {
		return authority
	}
	return name + port
}

func (o *requestOptions) strips(port string, local uint16) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return false
	}
	return o.stripPort == stripAnyPort || o.stripPort == stripMatchingPort && uint16(n) == local
}

// portStart returns where the port of an authority begins, with its colon; the end if
// there is none.
func portStart(a string) int {
	i := strings.LastIndexByte(a, ':')
	if i < 0 || strings.LastIndexByte(a, ']') > i {
		return len(a)
	}
	return i
}

// port is the port that the client has connected to; 0: it has none.
func (c *conn) port() uint16 {
	a, _ := filter.IP(c.filter.Info.Local)
	return a.Port()
}
