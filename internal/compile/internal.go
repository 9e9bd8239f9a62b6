package compile

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// addressless reports addresses of an internal listener, which has none.
func addressless(s *extension.Scope, m *listenerv3.Listener) {
	const text = "error adding listener '%s': address should not be used when an internal listener config is provided"
	if m.GetAddress() != nil {
		s.Field("address").Errorf(text, m.GetName())
	}
	if len(m.GetAdditionalAddresses()) > 0 {
		s.Field("additional_addresses").Errorf(text, m.GetName())
	}
}

// socketless reports what a listener without a socket cannot have, as Envoy words
// it, and returns m without the fields that have been dealt with so.
func socketless(s *extension.Scope, m *listenerv3.Listener) *listenerv3.Listener {
	rest := proto.CloneOf(m)
	unsupported := func(set bool, field string) {
		if set {
			s.Field(field).Errorf("error adding listener named '%s': has unsupported tcp listener feature", m.GetName())
		}
	}
	unsupported(m.GetConnectionBalanceConfig().GetExactBalance() != nil, "connection_balance_config.exact_balance")
	unsupported(m.GetEnableReusePort() != nil, "enable_reuse_port")
	unsupported(m.GetFreebind().GetValue(), "freebind")
	unsupported(m.GetTcpBacklogSize() != nil, "tcp_backlog_size")
	unsupported(m.GetTcpFastOpenQueueLength() != nil, "tcp_fast_open_queue_length")
	unsupported(m.GetTransparent().GetValue(), "transparent")
	if m.GetEnableMptcp() {
		s.Field("enable_mptcp").Errorf("listener %s: enable_mptcp can only be used with IP addresses", m.GetName())
	}
	if len(m.GetSocketOptions()) > 0 {
		s.Field("socket_options").Errorf("error adding listener named '%s': does not support socket option", m.GetName())
	}
	rest.Freebind, rest.Transparent, rest.TcpFastOpenQueueLength = nil, nil, nil
	rest.EnableMptcp, rest.SocketOptions = false, nil
	// Without a socket these mean nothing, and Envoy accepts them.
	rest.BindToPort, rest.UseOriginalDst = nil, nil
	return rest
}

// oldInternalListener is the form of Envoy 1.22 and 1.23, where an internal address
// stood in place of internal_listener.
func oldInternalListener(s *extension.Scope, m *listenerv3.Listener, p *plan.Listener) {
	at := s.Field("address.envoy_internal_address")
	at.Strictf("use internal_listener field instead of address for internal listeners (Envoy 1.40 refuses this form, which is that of 1.22 and 1.23)")
	a := m.GetAddress().GetEnvoyInternalAddress()
	internalFields.Check(at, a)
	switch key := a.GetServerListenerName(); {
	case p.Info.Name == "":
		p.Info.Name = key
	case key != p.Info.Name:
		at.Field("server_listener_name").Errorf("the address names the listener %q, but the listener's name is %q; connections find an internal listener by its name, so both must be the same", key, p.Info.Name)
	}
	for i := range m.GetAdditionalAddresses() {
		s.Field("additional_addresses").Index(i).Errorf("an internal listener has no further addresses: it is found by its name")
	}
}
