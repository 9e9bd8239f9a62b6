package upstream

import (
	"net"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
)

// socketOptions returns what the sockets to hosts are: the first for hosts of its family
// and of those that no other one is for.
func socketOptions(p *plan.Cluster) []netconn.DialOptions {
	var common netconn.DialOptions
	if k := p.Keepalive; k != nil {
		common.KeepAlive = &netconn.KeepAlive{Probes: k.Probes, Idle: k.Time, Interval: k.Interval}
	}
	b := p.Bind
	if b == nil {
		return []netconn.DialOptions{common}
	}
	common.FreeBind, common.Options = b.FreeBind, b.Options
	if len(b.Sources) == 0 {
		return []netconn.DialOptions{common}
	}
	var all []netconn.DialOptions
	for _, s := range b.Sources {
		o := common
		o.Source, o.Options = filter.IPAddr{AddrPort: s.Addr}, s.Options
		all = append(all, o)
	}
	return all
}

// socketTo returns what a socket to an address is. Those of the file system have no options
// (seen on Envoy 1.40).
func (c *Cluster) socketTo(to net.Addr) netconn.DialOptions {
	at, ok := filter.IP(to)
	if !ok {
		return netconn.DialOptions{}
	}
	for i := 1; i < len(c.sockets); i++ {
		if own, _ := filter.IP(c.sockets[i].Source); own.Addr().Is4() == at.Addr().Unmap().Is4() {
			return c.sockets[i]
		}
	}
	return c.sockets[0]
}
