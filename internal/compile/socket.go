package compile

import (
	"math"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// addresses compiles the sockets of a listener; the main address comes first.
func addresses(s *extension.Scope, m *listenerv3.Listener) []plan.Address {
	if m.GetAddress() == nil {
		s.Errorf("error adding listener named '%s': address is necessary", m.GetName())
	}
	common := listening(s, m)
	var out []plan.Address
	add := func(at *extension.Scope, a *corev3.Address, k *plan.Keepalive, options []plan.SocketOption) {
		own, ok := address(at, a)
		if !ok {
			return
		}
		p := common
		p.Addr, p.Path, p.Mode, p.V4Compat, p.Namespace = own.Addr, own.Path, own.Mode, own.V4Compat, own.Namespace
		p.Keepalive, p.Options = k, options
		p.ReusePort = p.Path == "" && common.ReusePort
		if p.Path != "" {
			pathless(s, &p, m.GetName())
		}
		out = append(out, p)
	}
	if m.GetAddress() != nil {
		add(s.Field("address"), m.GetAddress(), common.Keepalive, common.Options)
	}
	for i, x := range m.GetAdditionalAddresses() {
		s := s.Field("additional_addresses").Index(i)
		switch a := x.GetAddress(); {
		case a.GetEnvoyInternalAddress() != nil:
			s.Field("address.envoy_internal_address").Errorf("error adding listener named '%s': use internal_listener field instead of address for internal listeners", m.GetName())
		case a.GetSocketAddress().GetProtocol() != m.GetAddress().GetSocketAddress().GetProtocol():
			s.Field("address.socket_address.protocol").Errorf("listener %s: has different socket type. The listener only support same socket type for all the addresses.", m.GetName())
		default:
			additionalFields.Check(s, x)
			k, options := common.Keepalive, common.Options
			if x.GetTcpKeepalive() != nil {
				k = keepalive(s.Field("tcp_keepalive"), x.GetTcpKeepalive())
			}
			if x.GetSocketOptions() != nil {
				options = overriding(s.Field("socket_options"), x.GetSocketOptions())
			}
			add(s.Field("address"), a, k, options)
		}
	}
	return out
}

// listening is what all sockets of a listener have in common.
func listening(s *extension.Scope, m *listenerv3.Listener) plan.Address {
	p := plan.Address{
		ReusePort:   m.GetEnableReusePort() == nil || m.GetEnableReusePort().GetValue(),
		Keepalive:   keepalive(s.Field("tcp_keepalive"), m.GetTcpKeepalive()),
		Transparent: m.GetTransparent().GetValue(),
		FreeBind:    m.GetFreebind().GetValue(),
		Multipath:   m.GetEnableMptcp(),
		Options:     socketOptions(s.Field("socket_options"), m.GetSocketOptions()),
	}
	if n := m.GetTcpBacklogSize(); n != nil {
		p.Backlog = max(int(n.GetValue()), 1) // what a kernel makes of 0
	}
	if n := m.GetTcpFastOpenQueueLength(); n != nil {
		if p.FastOpen = int(min(n.GetValue(), math.MaxInt32)); p.FastOpen == 0 {
			p.FastOpen = -1
		}
	}
	return p
}

// pathless reports what a Unix socket cannot have; s is the place of its listener.
func pathless(s *extension.Scope, p *plan.Address, name string) {
	const text = "listener %s: a Unix socket does not have this option of IP sockets: Setting socket options failed"
	if p.Transparent {
		s.Field("transparent").Errorf(text, name)
	}
	if p.FreeBind {
		s.Field("freebind").Errorf(text, name)
	}
	if p.FastOpen != 0 {
		s.Field("tcp_fast_open_queue_length").Errorf(text, name)
	}
	if p.Multipath {
		s.Field("enable_mptcp").Errorf("listener %s: enable_mptcp can only be used with IP addresses", name)
	}
}

// socketOptions compiles the options of stream sockets; those of datagram sockets are
// none of ours.
func socketOptions(s *extension.Scope, list []*corev3.SocketOption) []plan.SocketOption {
	var out []plan.SocketOption
	for i, m := range list {
		at := s.Index(i)
		socketOptionFields.Check(at, m)
		if t := m.GetType(); t != nil {
			socketTypeFields.Check(at.Field("type"), t)
			if t.GetDatagram() != nil && t.GetStream() == nil {
				continue
			}
		}
		out = append(out, plan.SocketOption{
			Level: int(m.GetLevel()), Name: int(m.GetName()),
			Int: int(m.GetIntValue()), Bytes: optionBytes(m),
			When:   plan.When(m.GetState()),
			Family: plan.Family(m.GetIpVersion()),
		})
	}
	return out
}

// optionBytes returns nil when the value is a number.
func optionBytes(m *corev3.SocketOption) []byte {
	if _, ok := m.GetValue().(*corev3.SocketOption_BufValue); !ok {
		return nil
	}
	return append([]byte{}, m.GetBufValue()...)
}

// overriding compiles options that take the place of more general ones, be they none.
func overriding(s *extension.Scope, m *corev3.SocketOptionsOverride) []plan.SocketOption {
	overrideOptionsFields.Check(s, m)
	return socketOptions(s.Field("socket_options"), m.GetSocketOptions())
}

// A claim is a listener that has an address.
type claim struct {
	listener *plan.Listener
	path     string // field path
	address  plan.Address
}

// A spot is what is taken of an address.
type spot struct {
	Addr            netip.AddrPort
	Path, Namespace string
}

// claims are the addresses that listeners of one configuration have.
type claims struct {
	at    map[spot]claim
	ports map[uint16][]claim // that are bound without sharing the port
}

func newClaims() *claims {
	return &claims{at: make(map[spot]claim), ports: make(map[uint16][]claim)}
}

// take reports addresses of p that an earlier listener has.
func (c *claims) take(s *extension.Scope, p *plan.Listener) {
	for i, a := range p.Addresses {
		if a.Path == "" && (!a.Addr.IsValid() || a.Addr.Port() == 0 && p.Bind) {
			continue
		}
		at, key := addressField(s, i), spot{a.Addr, a.Path, a.Namespace}
		own := claim{p, at.Path(), a}
		if first, dup := c.at[key]; dup {
			if first.listener != p {
				at.Errorf("error adding listener: '%s' has duplicate address '%s' as existing listener, to check if the listener has duplicated addresses with other listeners or 'enable_reuse_port' is set to 'false' for the listener: '%s' has it at %s",
					p.Info.Name, text(a), first.listener.Info.Name, first.path)
			}
			continue
		}
		c.at[key] = own
		c.overlap(at, own)
	}
}

// overlap reports a wildcard address beside one of its own, which the kernel allows only
// where all of them share the port: it would show at listen, of which ever comes second.
func (c *claims) overlap(s *extension.Scope, own claim) {
	a := own.address
	if a.Path != "" || !own.listener.Bind {
		return
	}
	port := a.Addr.Port()
	for _, x := range c.ports[port] {
		if x.address.Namespace == a.Namespace && !(a.ReusePort && x.address.ReusePort) && (covers(x.address, a) || covers(a, x.address)) {
			s.Errorf("listener '%s': the address '%s' and '%s' of listener '%s', at %s, cannot both be listened on unless both have enable_reuse_port (Envoy 1.40 then serves only one of them)",
				own.listener.Info.Name, text(a), text(x.address), x.listener.Info.Name, x.path)
			break
		}
	}
	c.ports[port] = append(c.ports[port], own)
}

// covers reports whether a is a wildcard address that takes what goes to b, too.
func covers(a, b plan.Address) bool {
	if !a.Addr.Addr().WithZone("").IsUnspecified() {
		return false
	}
	ip := b.Addr.Addr()
	return a.V4Compat || a.Addr.Addr().Is4() == ip.Unmap().Is4()
}

// addressField is the place of a listener's n-th address.
func addressField(s *extension.Scope, n int) *extension.Scope {
	if n == 0 {
		return s.Field("address")
	}
	return s.Field("additional_addresses").Index(n - 1).Field("address")
}

var socketOptionFields = extension.Fields{
	Message: &corev3.SocketOption{},
	Obeyed:  []string{"level", "name", "int_value", "buf_value", "state", "type", "ip_version"},
	Ignored: map[string]string{"description": "for the reader alone, in Envoy too"},
}

var socketTypeFields = extension.Fields{
	Message: &corev3.SocketOption_SocketType{},
	Obeyed:  []string{"stream", "datagram"},
}

var overrideOptionsFields = extension.Fields{
	Message: &corev3.SocketOptionsOverride{},
	Obeyed:  []string{"socket_options"},
}
