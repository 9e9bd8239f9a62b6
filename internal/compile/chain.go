package compile

import (
	"bytes"
	"encoding/json"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	internalupstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// chains compiles the filter chains of a listener into p.
func chains(s *extension.Scope, m *listenerv3.Listener, p *plan.Listener) {
	matched := m.GetFilterChainMatcher() != nil
	for i, c := range m.GetFilterChains() {
		at := s.Field("filter_chains").Index(i)
		x := chain(at, c)
		if at := at.Field("filter_chain_match"); matched {
			withoutMatch(at, c)
		} else {
			x.Match = chainMatch(at, c)
		}
		p.Chains = append(p.Chains, x)
	}
	if c := m.GetDefaultFilterChain(); c != nil {
		at := s.Field("default_filter_chain")
		if c.GetFilterChainMatch() != nil {
			at.Field("filter_chain_match").Warnf("is without effect: the default filter chain takes what no other chain matches")
		}
		p.Default = chain(at, c)
	}
	if len(p.Chains) == 0 && p.Default == nil && m.GetFcdsConfig() == nil {
		s.Errorf("error adding listener '%s': no filter chains specified", where(p))
	}
	if matched {
		chainMatcher(s, m, p)
	} else {
		distinct(s.Field("filter_chains"), m.GetFilterChains(), p)
	}
}

func chain(s *extension.Scope, c *listenerv3.FilterChain) *plan.Chain {
	asked := len(s.SecretsAsked())
	chainFields.Check(s, c)
	p := &plan.Chain{
		Transport:      downstreamSocket(s.Field("transport_socket"), c.GetTransportSocket()),
		Info:           filter.ChainInfo{Name: c.GetName(), Metadata: c.GetMetadata()},
		ConnectTimeout: c.GetTransportSocketConnectTimeout().AsDuration(),
	}
	for i, f := range c.GetFilters() {
		networkFilter(s.Field("filters").Index(i), f, i == len(c.GetFilters())-1, p)
	}
	p.Hash = withSecrets(s, hash(c), asked)
	return p
}

// downstreamSocket compiles the transport socket of a chain; nil: plain text, which is
// what none means too.
func downstreamSocket(s *extension.Scope, t *corev3.TransportSocket) filter.TransportFactory {
	if t == nil || !typed(s, t.GetName(), t.GetTypedConfig()) {
		return nil
	}
	at := s.Field("typed_config")
	m, ok := at.Unpack(t.GetTypedConfig())
	if !ok {
		return nil
	}
	switch m.(type) {
	case *rawv3.RawBuffer:
		return nil
	case *internalupstreamv3.InternalUpstreamTransport:
		at.Errorf("Didn't find a registered implementation for '%s' with type URL: '%s': envoy.transport_sockets.internal_upstream is for clusters, not for filter chains", t.GetName(), m.ProtoReflect().Descriptor().FullName())
		return nil
	}
	c, _ := extension.Compile(at, extension.DownstreamSocket, t.GetTypedConfig())
	return c
}

// networkFilter compiles one filter of a chain into p. Only the last one may, and
// must, be terminal.
func networkFilter(s *extension.Scope, f *listenerv3.Filter, last bool, p *plan.Chain) {
	filterFields.Check(s, f)
	if f.GetConfigDiscovery() != nil || !typed(s, f.GetName(), f.GetTypedConfig()) {
		return
	}
	a, at := f.GetTypedConfig(), s.Field("typed_config")
	if extension.Has(at, extension.TerminalFilter, a) {
		if !last {
			s.Errorf("terminal filter named %s of type %s must be the last filter in a network filter chain", f.GetName(), typeOf(at, a))
		}
		if t, ok := extension.Compile(at, extension.TerminalFilter, a); ok {
			p.Terminal = t
		}
		return
	}
	m, ok := at.Unpack(a)
	if !ok {
		return
	}
	switch name := m.ProtoReflect().Descriptor().FullName(); {
	case extension.Has(at, extension.NetworkFilter, a):
		if last {
			s.Errorf("non-terminal filter named %s of type %s is the last filter in a network filter chain", f.GetName(), name)
		}
		if n, ok := extension.Compile(at, extension.NetworkFilter, a); ok {
			p.Filters = append(p.Filters, n)
		}
	default:
		// Compile reports it with the filters that there are.
		extension.Compile(at, extension.NetworkFilter, a)
	}
}

// typeOf names the message in an Any that can be unpacked.
func typeOf(s *extension.Scope, a *anypb.Any) string {
	m, ok := s.Unpack(a)
	if !ok {
		return a.GetTypeUrl()
	}
	return string(m.ProtoReflect().Descriptor().FullName())
}

// compactJSON prints a message as Envoy does; protojson varies its spaces.
func compactJSON(m proto.Message) string {
	long, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	var b bytes.Buffer
	if err == nil {
		err = json.Compact(&b, long)
	}
	if err != nil {
		return err.Error()
	}
	return b.String()
}
