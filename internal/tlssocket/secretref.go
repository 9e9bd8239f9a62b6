package tlssocket

import (
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/source"
)

// secret finds what is configured by its name: a static secret, or with a source one that
// will be fetched. Neither is returned when an error was reported.
func (c *common) secret(s *extension.Scope, m *tlsv3.SdsSecretConfig, kind filter.SecretKind) (static *tlsv3.Secret, later *fetched) {
	secretConfigFields.Check(s, m)
	if m.GetSdsConfig() != nil {
		ref, ok := from(s.Field("sds_config"), m.GetSdsConfig())
		if !ok {
			return nil, nil
		}
		ref.Name, ref.Kind = m.GetName(), kind
		if ref.Name == "" {
			s.Field("name").Errorf("a secret that comes from a source has a name")
		}
		return nil, &fetched{SecretRef: ref}
	}
	x, ok := s.Secret(m.GetName()).(*tlsv3.Secret)
	if !ok {
		s.Field("name").Errorf("Unknown static secret: %s", m.GetName())
		return nil, nil
	}
	return x, nil
}

// from says where a secret comes from.
func from(s *extension.Scope, m *corev3.ConfigSource) (r filter.SecretRef, ok bool) {
	p := source.Compile(s, m)
	if p == nil {
		return r, false // it was said why
	}
	r.Path, r.Dir = p.Path, p.WatchedDir
	if _, err := os.Stat(r.Path); err != nil {
		s.Errorf("paths must refer to an existing path in the system: '%s' does not exist", r.Path)
		return r, false
	}
	return r, true
}

// secrets adds the certificates of secrets.
func (c *common) secrets(s *extension.Scope, m *tlsv3.CommonTlsContext) {
	for i, x := range m.GetTlsCertificateSdsSecretConfigs() {
		at := s.Field("tls_certificate_sds_secret_configs").Index(i)
		static, later := c.secret(at, x, filter.CertificateSecret)
		switch {
		case later != nil:
			later.at = c.fetchedCerts()
			c.fetched = append(c.fetched, *later)
		case static != nil && static.GetTlsCertificate() == nil:
			at.Errorf("the secret %q is no tls_certificate", x.GetName())
		case static != nil:
			if k := c.certificate(at.Field("tls_certificate"), static.GetTlsCertificate(), x.GetName()); k != nil {
				c.certificates = append(c.certificates, k)
			}
		}
	}
	if len(c.certificates) > 0 && c.fetchedCerts() > 0 {
		s.Errorf("certificates of sources can not stand beside others")
	}
}

// trust compiles what is asked of peers.
func (c *common) trust(s *extension.Scope, m *tlsv3.CommonTlsContext) {
	switch x := m.GetValidationContextType().(type) {
	case *tlsv3.CommonTlsContext_ValidationContext:
		c.validation = compileValidation(s.Field("validation_context"), x.ValidationContext, "")
	case *tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig:
		c.trustSecret(s.Field("validation_context_sds_secret_config"), x.ValidationContextSdsSecretConfig, nil)
	case *tlsv3.CommonTlsContext_CombinedValidationContext:
		at := s.Field("combined_validation_context")
		combinedFields.Check(at, x.CombinedValidationContext)
		defaults := x.CombinedValidationContext.GetDefaultValidationContext()
		if defaults == nil {
			defaults = new(tlsv3.CertificateValidationContext)
		}
		validationFields.Check(at.Field("default_validation_context"), defaults)
		c.trustSecret(at.Field("validation_context_sds_secret_config"), x.CombinedValidationContext.GetValidationContextSdsSecretConfig(), defaults)
	}
}

func (c *common) trustSecret(s *extension.Scope, m *tlsv3.SdsSecretConfig, defaults *tlsv3.CertificateValidationContext) {
	static, later := c.secret(s, m, filter.ValidationSecret)
	switch {
	case later != nil:
		later.defaults = defaults
		c.fetched = append(c.fetched, *later)
	case static != nil && static.GetValidationContext() == nil:
		s.Errorf("the secret %q is no validation_context", m.GetName())
	case static != nil:
		c.validation = compileValidation(s.Field("validation_context"), merged(defaults, static.GetValidationContext()), m.GetName())
	}
}

// ticketSecret compiles the keys of session tickets.
func (c *common) ticketSecret(s *extension.Scope, m *tlsv3.SdsSecretConfig) {
	static, later := c.secret(s, m, filter.TicketSecret)
	switch {
	case later != nil:
		c.fetched = append(c.fetched, *later)
	case static != nil && static.GetSessionTicketKeys() == nil:
		s.Errorf("the secret %q is no session_ticket_keys", m.GetName())
	case static != nil:
		at := s.Field("session_ticket_keys")
		ticketFields.Check(at, static.GetSessionTicketKeys())
		c.tickets = ticketKeys(at.Field("keys"), static.GetSessionTicketKeys().GetKeys())
	}
}
