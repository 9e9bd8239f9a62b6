package rbac

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	mtlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/rbac/principals/mtls_authenticated/v3"
	typematcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/certtext"
	"github.com/ginnel/ginnel/internal/httpmatch"
	"github.com/ginnel/ginnel/internal/matcher"
	"github.com/ginnel/ginnel/internal/tlssocket"
)

// authenticated compiles a rule of who came by TLS: without a name everybody who did, also
// without a certificate (Envoy).
func authenticated(s *extension.Scope, m *rbacv3.Principal_Authenticated) rule {
	authenticatedFields.Check(s, m)
	if m.GetPrincipalName() == nil {
		return func(s subject) bool { return s.conn.Rest().DownTLS != nil }
	}
	fits := httpmatch.String(s.Field("principal_name"), m.PrincipalName)
	return func(s subject) bool {
		t := s.conn.Rest().DownTLS
		if t == nil {
			return false
		}
		if len(t.Peer) == 0 {
			return fits("")
		}
		n := certtext.NamesOf(t.Peer[0])
		for _, names := range [][]string{n.URI, n.DNS} {
			for _, name := range names {
				if fits(name) {
					return true
				}
			}
		}
		return fits(certtext.Name(t.Peer[0].RawSubject))
	}
}

// custom compiles a principal that is an extension.
func custom(s *extension.Scope, m *corev3.TypedExtensionConfig) rule {
	return extended(s, m, "principal", validated)
}

// extended compiles a rule that is an extension, of which there is one for what it is used as.
func extended[M proto.Message](s *extension.Scope, m *corev3.TypedExtensionConfig, as string, compile func(*extension.Scope, M) rule) rule {
	s = s.Field("typed_config")
	if m.GetTypedConfig() == nil {
		s.Errorf("is required")
		return never
	}
	msg, ok := s.Unpack(m.TypedConfig)
	if !ok {
		return never
	}
	c, ok := msg.(M)
	if !ok {
		s.Errorf("%s is a known type, but ginnel does not implement it as a %s (implemented: %s)",
			msg.ProtoReflect().Descriptor().FullName(), as, c.ProtoReflect().Descriptor().FullName())
		return never
	}
	return compile(s, c)
}

// validated compiles a rule of who came with a certificate that was found to be in order.
func validated(s *extension.Scope, m *mtlsv3.Config) rule {
	mtlsFields.Check(s, m)
	fits := func(*certtext.Names) bool { return true }
	switch {
	case m.GetSanMatcher() != nil:
		fits = tlssocket.CompileSAN(s.Field("san_matcher"), m.SanMatcher)
	case !m.GetAnyValidatedClientCertificate():
		s.Errorf("envoy.rbac.principals.mtls_authenticated did not have any configured validation. At least one configuration field must be set.")
	}
	return func(s subject) bool {
		t := s.conn.Rest().DownTLS
		return t != nil && t.Validated && len(t.Peer) > 0 && fits(certtext.NamesOf(t.Peer[0]))
	}
}

// inputs are what a matcher may ask for.
func (c compiler) inputs() *matcher.Inputs[subject] {
	in := new(matcher.Inputs[subject])
	matcher.AddNetwork(in, func(s subject) *filter.Info { return s.info })
	matcher.AddTLS(in, func(s subject) *filter.Info { return s.conn })
	in.Strict("Envoy's RBAC filters do not have it", &networkv3.TransportProtocolInput{}, &networkv3.ApplicationProtocolInput{})
	if c.http {
		matcher.AddRequest(in, func(s subject) *httpmsg.Request { return s.request })
		return in
	}
	in.Strict("Envoy's network filter does not have it", &networkv3.SourceTypeInput{}, &networkv3.DynamicMetadataInput{})
	in.Refuse("RBAC network filter cannot match it: connections have no headers", &typematcherv3.HttpRequestHeaderMatchInput{},
		&typematcherv3.HttpRequestQueryParamMatchInput{})
	return in
}
