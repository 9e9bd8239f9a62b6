// Package machine tells of the machine that the proxy runs on.
package machine

import "net"

// Address is the first IPv4 address of this machine that others can reach, as text;
// 127.0.0.1 if there is none.
func Address() string {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}
