package compile

import (
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	selectorv3 "github.com/envoyproxy/go-control-plane/envoy/config/upstream/local_address_selector/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/plan"
)

// upstreamBind returns nil when the system chooses the source. owner is whose it is, in
// Envoy's words.
func upstreamBind(s *extension.Scope, m *corev3.BindConfig, owner string) *plan.BindConfig {
	if m == nil {
		return nil
	}
	bindFields.Check(s, m)
	localSelector(s.Field("local_address_selector"), m.GetLocalAddressSelector())
	p := &plan.BindConfig{
		FreeBind: m.GetFreebind().GetValue(),
		Options:  dialOptions(s.Field("socket_options"), m.GetSocketOptions()),
	}
	more := len(m.GetExtraSourceAddresses()) + len(m.GetAdditionalSourceAddresses())
	switch {
	case len(m.GetExtraSourceAddresses()) > 0 && len(m.GetAdditionalSourceAddresses()) > 0:
		s.Errorf("Can't specify both `extra_source_addresses` and `additional_source_addresses` in the %s's upstream binding config", owner)
	case m.GetSourceAddress() == nil && more > 0:
		s.Errorf("%s's upstream binding config has extra/additional source addresses but no source_address. Extra/additional addresses cannot be specified if source_address is not set.", owner)
	case more > 1:
		s.Errorf("%s's upstream binding config has more than one extra/additional source addresses. Only one extra/additional source can be supported in BindConfig's extra_source_addresses/additional_source_addresses field", owner)
	}
	if m.GetSourceAddress() == nil {
		return p
	}
	p.Sources = append(p.Sources, plan.BindSource{Addr: sourceAddress(s.Field("source_address"), m.GetSourceAddress()), Options: p.Options})
	for i, x := range m.GetExtraSourceAddresses() {
		at := s.Field("extra_source_addresses").Index(i)
		extraSourceFields.Check(at, x)
		e := plan.BindSource{Addr: sourceAddress(at.Field("address"), x.GetAddress()), Options: p.Options}
		if x.GetSocketOptions() != nil {
			at := at.Field("socket_options")
			overrideOptionsFields.Check(at, x.GetSocketOptions())
			e.Options = append([]plan.SocketOption{}, dialOptions(at.Field("socket_options"), x.GetSocketOptions().GetSocketOptions())...) // none is not nil
		}
		p.Sources = append(p.Sources, e)
	}
	for i, x := range m.GetAdditionalSourceAddresses() {
		at := s.Field("additional_source_addresses").Index(i)
		p.Sources = append(p.Sources, plan.BindSource{Addr: sourceAddress(at, x), Options: p.Options})
	}
	if len(p.Sources) == 2 && p.Sources[0].Addr.Addr().Is4() == p.Sources[1].Addr.Addr().Is4() {
		s.Errorf("%s's upstream binding config has two same IP version source addresses. Only two different IP version source addresses can be supported in BindConfig's source_address and extra_source_addresses/additional_source_addresses fields", owner)
	}
	return p
}

func sourceAddress(s *extension.Scope, m *corev3.SocketAddress) netip.AddrPort {
	ip, _ := parseIP(s.Field("address"), m.GetAddress())
	socketFields.Check(s, resolved(s, m))
	return netip.AddrPortFrom(ip, uint16(m.GetPortValue()))
}

// localSelector checks which of the sources is chosen: there is but one way to.
func localSelector(s *extension.Scope, m *corev3.TypedExtensionConfig) {
	if m == nil || !typed(s, m.GetName(), m.GetTypedConfig()) {
		return
	}
	at := s.Field("typed_config")
	x, ok := at.Unpack(m.GetTypedConfig())
	if !ok {
		return
	}
	if d, ok := x.(*selectorv3.DefaultLocalAddressSelector); ok {
		selectorFields.Check(at, d)
		return
	}
	at.Errorf("Didn't find a registered implementation for '%s' with type URL: '%s'", m.GetName(), x.ProtoReflect().Descriptor().FullName())
}

// inheritBind gives a cluster what the bootstrap has for all of them: where it has
// nothing of its own; freebind in any case, and socket options where it has none (seen on
// Envoy 1.40).
func inheritBind(p, all *plan.BindConfig) *plan.BindConfig {
	switch {
	case all == nil:
		return p
	case p == nil:
		return all
	}
	own := *p
	own.FreeBind = p.FreeBind || all.FreeBind
	if len(p.Options) > 0 {
		return &own
	}
	own.Options, own.Sources = all.Options, nil
	for _, s := range p.Sources {
		if s.Options == nil {
			s.Options = all.Options
		}
		own.Sources = append(own.Sources, s)
	}
	return &own
}

// dialOptions compiles the options of sockets to hosts, which are set before the socket is
// bound or not at all (seen on Envoy 1.40).
func dialOptions(s *extension.Scope, list []*corev3.SocketOption) []plan.SocketOption {
	all := socketOptions(s, list)
	for i, m := range list {
		if m.GetState() != corev3.SocketOption_STATE_PREBIND {
			s.Index(i).Field("state").Warnf("not used: of sockets to hosts only options of STATE_PREBIND are set, in Envoy too")
		}
	}
	return slices.DeleteFunc(all, func(o plan.SocketOption) bool { return o.When != plan.PreBind })
}

var bindFields = extension.Fields{
	Message: &corev3.BindConfig{},
	Obeyed: []string{"source_address", "freebind", "socket_options", "extra_source_addresses",
		"additional_source_addresses", "local_address_selector"},
	Ignored: map[string]string{"validate_network_namespaces": "there are none to validate: a network_namespace_filepath is refused"},
}

var extraSourceFields = extension.Fields{
	Message: &corev3.ExtraSourceAddress{},
	Obeyed:  []string{"address", "socket_options"},
}

var selectorFields = extension.Fields{Message: &selectorv3.DefaultLocalAddressSelector{}}
