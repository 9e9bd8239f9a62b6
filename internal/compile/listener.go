package compile

import (
	"fmt"
	"net/netip"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/accesslog"
	"github.com/ginnel/ginnel/internal/plan"
)

func list(s *extension.Scope, l *listenerv3.Listener) *plan.Listener {
	p := &plan.Listener{Info: filter.ListenerInfo{Name: l.Name, Metadata: l.Metadata, Direction: l.TrafficDirection}, StatPrefix: l.StatPrefix, Proto: l,
		Bind: true, BufferBytes: 1 << 20, FiltersTimeout: 15 * time.Second, ContinueOnTimeout: l.ContinueOnListenerFiltersTimeout}
	if l.PerConnectionBufferLimitBytes != nil {
		p.BufferBytes = int(l.PerConnectionBufferLimitBytes.Value)
	}
	if l.ListenerFiltersTimeout != nil {
		p.FiltersTimeout = l.ListenerFiltersTimeout.AsDuration()
	}
	if l.GetInternalListener() != nil || l.GetAddress().GetEnvoyInternalAddress() != nil {
		p.Internal = true
	} else {
		p.Addresses = append(p.Addresses, addr(l.Address))
		for _, a := range l.AdditionalAddresses {
			p.Addresses = append(p.Addresses, addr(a.Address))
		}
	}
	for i, f := range l.ListenerFilters {
		if lf, ok := extension.Compile(s.Field("listener_filters").Index(i).Field("typed_config"), extension.ListenerFilter, f.GetTypedConfig()); ok {
			p.Filters = append(p.Filters, lf)
		}
	}
	p.AccessLogs = accesslog.Compile(s.Field("access_log"), l.AccessLog)
	for i, c := range l.FilterChains {
		p.Chains = append(p.Chains, chain(s.Field("filter_chains").Index(i), c))
	}
	if l.DefaultFilterChain != nil {
		p.Default = chain(s.Field("default_filter_chain"), l.DefaultFilterChain)
	}
	return p
}

func pfx(l []*corev3.CidrRange) (out []netip.Prefix) {
	for _, c := range l {
		out = append(out, netip.MustParsePrefix(fmt.Sprintf("%s/%d", c.AddressPrefix, c.PrefixLen.GetValue())))
	}
	return
}

func chain(s *extension.Scope, c *listenerv3.FilterChain) *plan.Chain {
	p := &plan.Chain{Info: filter.ChainInfo{Name: c.Name, Metadata: c.Metadata}}
	if m := c.FilterChainMatch; m != nil {
		p.Match = plan.ChainMatch{DestinationPort: uint16(m.DestinationPort.GetValue()), Destinations: pfx(m.PrefixRanges), ServerNames: m.ServerNames,
			TransportProtocol: m.TransportProtocol, ApplicationProtocols: m.ApplicationProtocols, DirectSources: pfx(m.DirectSourcePrefixRanges), SourceType: m.SourceType, Sources: pfx(m.SourcePrefixRanges)}
		for _, x := range m.SourcePorts {
			p.Match.SourcePorts = append(p.Match.SourcePorts, uint16(x))
		}
	}
	for i, f := range c.Filters {
		fs := s.Field("filters").Index(i).Field("typed_config")
		if extension.Has(fs, extension.TerminalFilter, f.GetTypedConfig()) {
			p.Terminal, _ = extension.Compile(fs, extension.TerminalFilter, f.GetTypedConfig())
		} else if n, ok := extension.Compile(fs, extension.NetworkFilter, f.GetTypedConfig()); ok {
			p.Filters = append(p.Filters, n)
		}
	}
	return p
}
