package compile

import (
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/accesslog"
	"github.com/ginnel/ginnel/internal/plan"
)

const (
	defaultListenerBuffer = 1 << 20
	defaultFiltersTimeout = 15 * time.Second
)

// listeners compiles the listeners of a configuration, s being the place of their
// list. extended says that the bootstrap extension for internal ones is there.
func listeners(s *extension.Scope, list []*listenerv3.Listener, extended bool) []*plan.Listener {
	names, taken := make(map[string]int), newClaims()
	var out []*plan.Listener
	for i, m := range list {
		at := s.Index(i)
		p := listener(at, m)
		if p.Internal && !extended {
			internalField(at, m).Strictf("InternalListener bootstrap extension is mandatory: Envoy 1.40 refuses an internal listener without the bootstrap extension envoy.bootstrap.internal_listener")
		}
		if p.Info.Name == "" && !p.Internal {
			p.Info.Name = uuid(m, i)
		}
		if first, dup := names[p.Info.Name]; dup {
			at.Field("name").Errorf("duplicate listener name %q: %s has it already (Envoy 1.40 drops the second one without a word)",
				p.Info.Name, s.Index(first).Path())
		} else {
			names[p.Info.Name] = i
		}
		taken.take(at, p)
		out = append(out, p)
	}
	return out
}

// internalField is what makes m an internal listener.
func internalField(s *extension.Scope, m *listenerv3.Listener) *extension.Scope {
	if m.GetInternalListener() != nil {
		return s.Field("internal_listener")
	}
	return s.Field("address.envoy_internal_address")
}

// listener compiles what can be told of one listener without the others.
func listener(s *extension.Scope, m *listenerv3.Listener) *plan.Listener {
	asked := len(s.SecretsAsked())
	p := &plan.Listener{
		Info: filter.ListenerInfo{
			Name: m.GetName(), Metadata: m.GetMetadata(), Direction: m.GetTrafficDirection(),
			BufferBytes: defaultListenerBuffer,
			ModifyOnly:  m.GetDrainType() == listenerv3.Listener_MODIFY_ONLY,
		},
		StatPrefix: m.GetStatPrefix(), BaseHash: baseHash(m), Proto: m, Bind: true,
		IgnoreLimit: m.GetIgnoreGlobalConnLimit(), BypassOverload: m.GetBypassOverloadManager(),
		FiltersTimeout:    defaultFiltersTimeout,
		ContinueOnTimeout: m.GetContinueOnListenerFiltersTimeout(),
	}
	if n := m.GetPerConnectionBufferLimitBytes(); n != nil {
		p.Info.BufferBytes = int(n.GetValue())
	}
	p.Info.HighWatermarkTimeout = highWatermarkTimeout(s, m, p.Info.BufferBytes)
	if d := m.GetListenerFiltersTimeout(); d != nil {
		p.FiltersTimeout = d.AsDuration()
	}
	switch {
	case m.GetInternalListener() != nil:
		p.Internal = true
		addressless(s, m)
		listenerFields.Check(s, socketless(s, m))
	case m.GetAddress().GetEnvoyInternalAddress() != nil:
		p.Internal = true
		oldInternalListener(s, m, p)
		listenerFields.Check(s, socketless(s, m))
	default:
		listenerFields.Check(s, m)
		p.Addresses = addresses(s, m)
	}
	balance(s, m, p)
	p.AcceptMost = int(m.GetMaxConnectionsToAcceptPerSocketEvent().GetValue())
	p.Filters = listenerFilters(s.Field("listener_filters"), m.GetListenerFilters())
	redirected(s, m, p)
	p.AccessLogs = accesslog.Compile(s.Field("access_log"), m.GetAccessLog())
	chains(s, m, p)
	p.Hash = withSecrets(s, hash(m), asked)
	return p
}

// balance compiles how connections are spread over workers.
func balance(s *extension.Scope, m *listenerv3.Listener, p *plan.Listener) {
	if b := m.GetConnectionBalanceConfig(); b != nil {
		balanceFields.Check(s.Field("connection_balance_config"), b)
		p.Balance = b.GetExactBalance() != nil
	}
	if v1 := m.GetDeprecatedV1(); v1 != nil {
		deprecatedFields.Check(s.Field("deprecated_v1"), v1)
	}
}

// listenerFilters compiles listener filters; s is the place of their list.
func listenerFilters(s *extension.Scope, list []*listenerv3.ListenerFilter) []filter.ListenerFilterFactory {
	var out []filter.ListenerFilterFactory
	for i, f := range list {
		s := s.Index(i)
		listenerFilterFields.Check(s, f)
		if f.GetConfigDiscovery() != nil || !typed(s, f.GetName(), f.GetTypedConfig()) {
			continue
		}
		at := s.Field("typed_config")
		c, ok := extension.Compile(at, extension.ListenerFilter, f.GetTypedConfig())
		if !ok || c == nil {
			continue
		}
		if f.GetFilterDisabled() != nil {
			c = conditional{c, disabling(s.Field("filter_disabled"), f.GetFilterDisabled())}
		}
		out = append(out, c)
	}
	return out
}

// redirected compiles how a listener takes part in the hand-off of redirected connections.
// One that hands off has an original_dst filter behind the others.
func redirected(s *extension.Scope, m *listenerv3.Listener, p *plan.Listener) {
	if b := m.GetBindToPort(); b != nil {
		p.Bind = b.GetValue()
	}
	if b := m.GetDeprecatedV1().GetBindToPort(); b != nil {
		p.Bind = p.Bind && b.GetValue()
	}
	if !m.GetUseOriginalDst().GetValue() {
		return
	}
	p.UseOriginalDst = !p.Internal
	a, err := anypb.New(&originaldstv3.OriginalDst{})
	s = s.Field("use_original_dst")
	if err != nil {
		s.Errorf("%v", err)
		return
	}
	if f, ok := extension.Compile(s, extension.ListenerFilter, a); ok {
		p.Filters = append(p.Filters, f)
	}
}

// where names a listener by its address, as Envoy does.
func where(p *plan.Listener) string {
	switch {
	case p.Internal:
		return internalText(p.Info.Name)
	case len(p.Addresses) > 0:
		return text(p.Addresses[0])
	}
	return p.Info.Name
}
