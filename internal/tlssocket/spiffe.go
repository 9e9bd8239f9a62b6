package tlssocket

import (
	"crypto/x509"
	"strings"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/certtext"
)

// A trustDomain has authorities of its own: none of them can vouch for a peer of another.
type trustDomain struct {
	name        string // without "spiffe://"
	source      string // of the authorities, as Envoy names it
	authorities []*x509.Certificate
	roots       *x509.CertPool
}

// spiffe compiles envoy.tls.cert_validator.spiffe, which verifies peers in place of the
// bundle, the pins and the CRLs.
func (v *validation) spiffe(s *extension.Scope, m *tlsv3.CertificateValidationContext) {
	x := m.GetCustomValidatorConfig()
	at := s.Field("custom_validator_config.typed_config")
	c := new(tlsv3.SPIFFECertValidatorConfig)
	if err := x.GetTypedConfig().UnmarshalTo(c); err != nil { // secrets that are delivered have no resolver of types
		at.Errorf("ginnel has envoy.tls.cert_validator.spiffe alone: %v", err)
		return
	}
	spiffeFields.Check(at, c)
	if d := c.GetTrustBundles(); d != nil {
		v.bundles(at.Field("trust_bundles"), d)
		if len(c.GetTrustDomains()) > 0 {
			at.Field("trust_domains").Warnf("trust_bundles takes their place")
		}
	} else {
		v.trustDomains(at.Field("trust_domains"), c.GetTrustDomains())
	}
	v.roots = v.pool(v.authorities)
	for _, o := range []struct {
		field string
		set   bool
	}{
		{"trusted_ca", m.GetTrustedCa() != nil}, {"system_root_certs", m.GetSystemRootCerts() != nil}, {"crl", m.GetCrl() != nil},
		{"verify_certificate_hash", len(m.GetVerifyCertificateHash()) > 0}, {"verify_certificate_spki", len(m.GetVerifyCertificateSpki()) > 0},
		{"trust_chain_verification", m.GetTrustChainVerification() != tlsv3.CertificateValidationContext_VERIFY_TRUST_CHAIN},
	} {
		if o.set {
			s.Field(o.field).Warnf("envoy.tls.cert_validator.spiffe does not look at it")
		}
	}
}

func (v *validation) trustDomains(s *extension.Scope, list []*tlsv3.SPIFFECertValidatorConfig_TrustDomain) {
	if len(list) == 0 {
		s.Errorf("value must contain at least 1 item(s)")
	}
	for i, d := range list {
		v.domain(s.Index(i), d)
	}
}

func (v *validation) domain(s *extension.Scope, m *tlsv3.SPIFFECertValidatorConfig_TrustDomain) {
	trustDomainFields.Check(s, m)
	if m.GetName() == "" {
		s.Field("name").Errorf("value length must be at least 1 characters")
	}
	if v.bundleOf(m.GetName()) != nil {
		s.Field("name").Errorf("Multiple trust bundles are given for one trust domain for %s", m.GetName())
	}
	text, ok := read(s.Field("trust_bundle"), m.GetTrustBundle())
	if !ok {
		return
	}
	certs, _, err := parseCertificates(text)
	if err != nil || len(certs) == 0 {
		s.Field("trust_bundle").Errorf("Failed to load trusted CA certificate for %s from %s%s", m.GetName(), where(m.GetTrustBundle()), because(err))
		return
	}
	v.domains = append(v.domains, trustDomain{m.GetName(), m.GetName() + ": " + where(m.GetTrustBundle()), certs, v.pool(certs)})
	v.authorities = append(v.authorities, certs...)
}

// bundleOf returns nil where there is none, and for a peer without a domain.
func (v *validation) bundleOf(domain string) *trustDomain {
	for i := range v.domains {
		if domain != "" && v.domains[i].name == domain {
			return &v.domains[i]
		}
	}
	return nil
}

// examineSVID is examine for a peer that has a SPIFFE identity. It is good until the
// returned time.
func (v *validation) examineSVID(chain []*x509.Certificate, names askedNames, now, until time.Time) (time.Time, error) {
	leaf := chain[0]
	if leaf.IsCA || leaf.KeyUsage == 0 || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return until, &flaw{flawChain, "verify cert failed: cert precheck", nil}
	}
	have := certtext.NamesOf(leaf)
	bundle := v.bundleOf(domainOf(have))
	if bundle == nil {
		return until, &flaw{flawChain, "verify cert failed: no trust bundle store", nil}
	}
	path, err := v.path(bundle.roots, chain, x509.ExtKeyUsageAny, now)
	if err != nil {
		return until, &flaw{flawChain, "verify cert failed: X509_verify_cert: " + chainDetail(chain, err), err}
	}
	if len(v.sans) > 0 && !oneOf(v.sans, &certtext.Names{URI: have.URI}) || len(names.list) > 0 && !named(names.list)(have) {
		return until, &flaw{flawSAN, "verify cert failed: SAN match", nil}
	}
	return v.goodUntil(path, until), nil
}

// domainOf is the trust domain of the first URI of a certificate, for an SVID has one;
// "": it is no SPIFFE ID.
func domainOf(n *certtext.Names) string {
	if len(n.URI) == 0 {
		return ""
	}
	id, ok := strings.CutPrefix(n.URI[0], "spiffe://")
	domain, _, path := strings.Cut(id, "/")
	if !ok || !path {
		return ""
	}
	return domain
}

// isSPIFFE reports whether a validator of its own is asked for.
func isSPIFFE(m *tlsv3.CertificateValidationContext) bool {
	return m.GetCustomValidatorConfig() != nil
}
