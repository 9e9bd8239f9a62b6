// Package tlssocket is the TLS transport sockets, of filter chains and of clusters, by
// crypto/tls.
//
// What crypto/tls cannot do is refused by name when a configuration is compiled. Peers'
// certificates are verified here, not by crypto/tls, for Envoy's rules are others:
// partial chains, pins, names of all kinds, CRLs.
package tlssocket

import (
	"crypto/sha256"
	"crypto/tls"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ginnel/ginnel/extension"
)

// common is what both sides of a connection are configured with.
type common struct {
	min, max     uint16
	ciphers      []uint16
	curves       []tls.CurveID
	protocols    []string // of ALPN
	certificates []*certificate
	validation   *validation       // nil: nothing is asked of peers
	id           [sha256.Size]byte // of all that a session depends on
}

// Register adds the sockets of this package.
func Register(r *extension.Registry) {
	extension.Register(r, extension.DownstreamSocket, compileDownstream)
	extension.Register(r, extension.UpstreamSocket, compileUpstream)
}

func compileCommon(s *extension.Scope, m *tlsv3.CommonTlsContext, client bool) common {
	commonFields.Check(s, m)
	c := common{min: tls.VersionTLS12, max: tls.VersionTLS13, ciphers: defaultCiphers, curves: defaultCurves}
	if client {
		c.max = tls.VersionTLS12
	}
	c.params(s.Field("tls_params"), m.GetTlsParams())
	c.protocols = m.GetAlpnProtocols()
	for i, p := range c.protocols {
		if p == "" || len(p) > 255 {
			s.Field("alpn_protocols").Index(i).Errorf("Invalid ALPN protocol string")
		}
	}
	for i, x := range m.GetTlsCertificates() {
		if k := compileCertificate(s.Field("tls_certificates").Index(i), x); k != nil {
			c.certificates = append(c.certificates, k)
		}
	}
	c.secrets(s, m)
	c.validation = validationOf(s, m)
	c.id = c.identity(m)
	return c
}

// identity binds sessions to what was asked of the peer when they began.
func (c *common) identity(m *tlsv3.CommonTlsContext) (id [sha256.Size]byte) {
	h := sha256.New()
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	h.Write(b)
	for _, k := range c.certificates {
		h.Write(k.Leaf.Raw)
	}
	if c.validation != nil {
		for _, a := range c.validation.authorities {
			h.Write(a.Raw)
		}
	}
	h.Sum(id[:0])
	return id
}

func (c *common) params(s *extension.Scope, m *tlsv3.TlsParameters) {
	if m == nil {
		return
	}
	paramsFields.Check(s, m)
	if v, ok := versions[m.GetTlsMinimumProtocolVersion()]; ok {
		c.min = v
	}
	if v, ok := versions[m.GetTlsMaximumProtocolVersion()]; ok {
		c.max = v
	}
	if c.min > c.max {
		s.Errorf("the minimum protocol version is above the maximum")
	}
	if len(m.GetCipherSuites()) > 0 {
		c.ciphers = nil
	}
	for i, entry := range m.GetCipherSuites() {
		for _, name := range cipherNames(entry) {
			id, ok := ciphers[name]
			if !ok {
				s.Field("cipher_suites").Index(i).Errorf("Failed to initialize cipher suites %s: crypto/tls has no %s", entry, name)
			} else if !slices.Contains(c.ciphers, id) {
				c.ciphers = append(c.ciphers, id)
			}
		}
	}
	if len(m.GetEcdhCurves()) > 0 {
		c.curves = nil
	}
	for i, name := range m.GetEcdhCurves() {
		id, ok := curves[name]
		if !ok {
			s.Field("ecdh_curves").Index(i).Errorf("Failed to initialize ECDH curves %s", name)
		}
		c.curves = append(c.curves, id)
	}
}

// secrets adds the certificates that static secrets hold.
func (c *common) secrets(s *extension.Scope, m *tlsv3.CommonTlsContext) {
	for i, x := range m.GetTlsCertificateSdsSecretConfigs() {
		at := s.Field("tls_certificate_sds_secret_configs").Index(i)
		if secret := staticSecret(at, x); secret != nil {
			if t := secret.GetTlsCertificate(); t == nil {
				at.Errorf("the secret %q is no tls_certificate", x.GetName())
			} else if k := compileCertificate(at.Field("tls_certificate"), t); k != nil {
				c.certificates = append(c.certificates, k)
			}
		}
	}
}

// staticSecret finds a secret of static_resources; nil when an error was reported.
func staticSecret(s *extension.Scope, m *tlsv3.SdsSecretConfig) *tlsv3.Secret {
	if m.GetSdsConfig() != nil {
		s.Field("sds_config").Errorf("not supported yet: secrets come from static_resources.secrets, by name and without sds_config")
		return nil
	}
	secret, ok := s.Secret(m.GetName()).(*tlsv3.Secret)
	if !ok {
		s.Field("name").Errorf("Unknown static secret: %s", m.GetName())
		return nil
	}
	return secret
}

func validationOf(s *extension.Scope, m *tlsv3.CommonTlsContext) *validation {
	switch x := m.GetValidationContextType().(type) {
	case *tlsv3.CommonTlsContext_ValidationContext:
		return compileValidation(s.Field("validation_context"), x.ValidationContext)
	case *tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig:
		at := s.Field("validation_context_sds_secret_config")
		if v := staticValidation(at, x.ValidationContextSdsSecretConfig); v != nil {
			return compileValidation(at.Field("validation_context"), v)
		}
	case *tlsv3.CommonTlsContext_CombinedValidationContext:
		at := s.Field("combined_validation_context")
		combinedFields.Check(at, x.CombinedValidationContext)
		v := staticValidation(at.Field("validation_context_sds_secret_config"), x.CombinedValidationContext.GetValidationContextSdsSecretConfig())
		if v == nil {
			return nil
		}
		both := proto.CloneOf(x.CombinedValidationContext.GetDefaultValidationContext())
		if both == nil {
			both = new(tlsv3.CertificateValidationContext)
		}
		proto.Merge(both, v) // as Envoy does: lists are added, values replaced
		return compileValidation(at.Field("default_validation_context"), both)
	}
	return nil
}

func staticValidation(s *extension.Scope, m *tlsv3.SdsSecretConfig) *tlsv3.CertificateValidationContext {
	secret := staticSecret(s, m)
	if secret == nil {
		return nil
	}
	v := secret.GetValidationContext()
	if v == nil {
		s.Errorf("the secret %q is no validation_context", m.GetName())
	}
	return v
}

// base is the configuration that connections share.
func (c *common) base() *tls.Config {
	return &tls.Config{
		MinVersion: c.min, MaxVersion: c.max, CipherSuites: c.ciphers, CurvePreferences: c.curves,
		NextProtos: c.protocols,
		// Records are as large as they may be: who sends little sends it at once anyway.
		DynamicRecordSizingDisabled: true,
	}
}

// ticketKeys are those of Envoy's files: 80 bytes each, of which the first one is used
// for new tickets.
func ticketKeys(s *extension.Scope, list []*corev3.DataSource) (keys [][32]byte) {
	for i, d := range list {
		text, ok := read(s.Index(i), d)
		if !ok {
			continue
		}
		if len(text) != 80 {
			s.Index(i).Errorf("Incorrect TLS session ticket key length. Length %d, expected length 80.", len(text))
			continue
		}
		keys = append(keys, sha256.Sum256([]byte(text)))
	}
	return keys
}

// sessionStamp is what a session carries of the context that it began in.
func sessionStamp(id [sha256.Size]byte, now time.Time) []byte {
	b := make([]byte, 0, len(id)+8)
	b = append(b, id[:]...)
	for n, t := 0, uint64(now.Unix()); n < 8; n++ {
		b = append(b, byte(t>>(8*n)))
	}
	return b
}

// stampHolds reports whether a session may be resumed in a context; limit 0: at any age.
func stampHolds(stamps [][]byte, id [sha256.Size]byte, limit time.Duration, now time.Time) bool {
	for _, b := range stamps {
		if len(b) != len(id)+8 || [sha256.Size]byte(b) != id {
			continue
		}
		var t uint64
		for n := range 8 {
			t |= uint64(b[len(id)+n]) << (8 * n)
		}
		age := now.Sub(time.Unix(int64(t), 0))
		return limit == 0 || age <= limit
	}
	return false
}
