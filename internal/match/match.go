// Package match chooses among filter chains: pure decisions over a plan.
package match

import (
	"net"
	"net/netip"
	"reflect"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/gaissmai/bart"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// Chains finds the filter chain of a connection by Envoy's algorithm: one criterion
// after the other, each taking the best of what the ones before it left, and never
// going back. It is immutable.
type Chains struct {
	one  bool // the only chain takes everything: the usual case
	root ports[ips[names[table[table[ips[types[ips[ports[int]]]]]]]]]
}

// Input is what is known of a connection when its chain is chosen.
type Input struct {
	Local, Remote        net.Addr
	DirectRemote         net.Addr // before any listener filter restored another
	ServerName           string   // lower case; "": none
	TransportProtocol    string   // "": raw_buffer
	ApplicationProtocols []string // in the client's order
}

// New builds the chooser of a list of matches. Where two claim the same connections
// the first one gets them; a valid configuration has none such.
func New(list []plan.ChainMatch) *Chains {
	c := &Chains{one: len(list) == 1 && reflect.DeepEqual(list[0], plan.ChainMatch{})}
	if c.one {
		return c // without the levels: they are a third of what a listener takes
	}
	for i := range list {
		c.add(&list[i], i)
	}
	return c
}

// add enters a chain at every combination of the values it lists.
func (c *Chains) add(m *plan.ChainMatch, chain int) {
	byDst := c.root.at(m.DestinationPort)
	for _, dst := range prefixes(m.Destinations) {
		byName := byDst.at(dst)
		for _, name := range orNone(m.ServerNames) {
			byALPN := byName.at(name).at(m.TransportProtocol)
			for _, alpn := range orNone(m.ApplicationProtocols) {
				byDirect := byALPN.at(alpn)
				for _, direct := range prefixes(m.DirectSources) {
					bySource := byDirect.at(direct).at(m.SourceType)
					for _, src := range prefixes(m.Sources) {
						byPort := bySource.at(src)
						for _, port := range orZero(m.SourcePorts) {
							byPort.claim(port, chain)
						}
					}
				}
			}
		}
	}
}

// Find returns the index of the chain that serves a connection, -1 for none. It
// does not allocate.
func (c *Chains) Find(in Input) int {
	if c.one {
		return 0
	}
	return c.search(in)
}

func (c *Chains) search(in Input) int {
	dst, src, direct := address(in.Local), address(in.Remote), address(in.DirectRemote)
	byDst := c.root.find(dst.port)
	if byDst == nil {
		return -1
	}
	byName := byDst.find(dst.ip)
	if byName == nil {
		return -1
	}
	byTransport := byName.find(in.ServerName)
	if byTransport == nil {
		return -1
	}
	transport := in.TransportProtocol
	if transport == "" {
		transport = "raw_buffer"
	}
	byALPN := byTransport.find(transport)
	if byALPN == nil {
		return -1
	}
	byDirect := protocol(byALPN, in.ApplicationProtocols)
	if byDirect == nil {
		return -1
	}
	byType := byDirect.find(direct.ip)
	if byType == nil {
		return -1
	}
	bySource := byType.find(in)
	if bySource == nil {
		return -1
	}
	byPort := bySource.find(src.ip)
	if byPort == nil {
		return -1
	}
	if chain := byPort.find(src.port); chain != nil {
		return *chain
	}
	return -1
}

// protocol commits to the first of the client's protocols that any chain asks for.
func protocol[T any](t *table[T], client []string) *T {
	for _, p := range client {
		if next := t.m[p]; next != nil && p != "" {
			return next
		}
	}
	return t.m[""]
}

// An end is one side of a connection as the levels see it.
type end struct {
	ip   netip.Addr
	port uint16
}

// noIP stands for addresses that are none: they fall under 0.0.0.0/0 (Envoy).
var noIP = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func address(a net.Addr) end {
	ap, ok := filter.IP(a)
	if !ok {
		return end{ip: noIP}
	}
	return end{ap.Addr().WithZone(""), ap.Port()}
}

// prefixes returns a list, or everything for an empty one. An explicit 0.0.0.0/0 is
// the same as none, so that the two meet in one place (Envoy loses one of them).
func prefixes(list []netip.Prefix) []netip.Prefix {
	if len(list) == 0 {
		return everything
	}
	return list
}

var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

func orNone(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

func orZero(list []uint16) []uint16 {
	if len(list) == 0 {
		return []uint16{0}
	}
	return list
}

// ports is a level by port; 0 is any.
type ports[T any] struct{ m map[uint16]*T }

func (p *ports[T]) at(port uint16) *T {
	if p.m == nil {
		p.m = make(map[uint16]*T)
	}
	if p.m[port] == nil {
		p.m[port] = new(T)
	}
	return p.m[port]
}

// find commits to the exact port where any chain has it.
func (p *ports[T]) find(port uint16) *T {
	if t := p.m[port]; t != nil && port != 0 {
		return t
	}
	return p.m[0]
}

// claim enters a chain at the last level, unless another one is there.
func (p *ports[T]) claim(port uint16, v T) {
	if p.m[port] == nil {
		*p.at(port) = v
	}
}

// ips is a level by prefix, the longest wins.
type ips[T any] struct{ t bart.Table[*T] }

func (l *ips[T]) at(p netip.Prefix) *T {
	p = p.Masked()
	if v, ok := l.t.Get(p); ok {
		return v
	}
	v := new(T)
	l.t.Insert(p, v)
	return v
}

func (l *ips[T]) find(ip netip.Addr) *T {
	v, _ := l.t.Lookup(ip)
	return v
}

// names is a level by server name: exact, then by ever shorter suffixes, then chains
// that ask for none.
type names[T any] struct{ table[T] }

func (n *names[T]) find(name string) *T {
	if t := n.m[name]; t != nil {
		return t
	}
	for i := 1; i < len(name)-1; i++ { // neither the first nor the last dot begins a suffix (Envoy)
		if name[i] != '.' {
			continue
		}
		if t := n.m[name[i:]]; t != nil {
			return t
		}
	}
	return n.m[""]
}

// table is a level by text; "" is any.
type table[T any] struct{ m map[string]*T }

func (t *table[T]) at(key string) *T {
	if t.m == nil {
		t.m = make(map[string]*T)
	}
	if t.m[key] == nil {
		t.m[key] = new(T)
	}
	return t.m[key]
}

func (t *table[T]) find(key string) *T {
	if v := t.m[key]; v != nil {
		return v
	}
	return t.m[""]
}

// types is the level of source types.
type types[T any] struct{ any, local, external *T }

func (l *types[T]) at(k listenerv3.FilterChainMatch_ConnectionSourceType) *T {
	p := &l.any
	switch k {
	case listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK:
		p = &l.local
	case listenerv3.FilterChainMatch_EXTERNAL:
		p = &l.external
	}
	if *p == nil {
		*p = new(T)
	}
	return *p
}

func (l *types[T]) find(in Input) *T {
	if l.local == nil && l.external == nil {
		return l.any
	}
	switch local := Local(in.Local, in.Remote); {
	case local && l.local != nil:
		return l.local
	case !local && l.external != nil:
		return l.external
	}
	return l.any
}

// Local reports whether a connection comes from its own machine: Envoy's
// isSameIpOrLoopback. An internal connection is external, and of 127.0.0.0/8 only
// 127.0.0.1 is a loopback.
func Local(local, remote net.Addr) bool {
	if _, unix := remote.(filter.UnixAddr); unix {
		return true
	}
	if _, unix := remote.(*net.UnixAddr); unix {
		return true
	}
	from, ok := filter.IP(remote)
	if !ok {
		return false
	}
	ip := from.Addr()
	if ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || ip == netip.IPv6Loopback() {
		return true
	}
	to, ok := filter.IP(local)
	return ok && to.Addr() == ip
}
