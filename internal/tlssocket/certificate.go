package tlssocket

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/state"
)

// A certificate is one of a context's, with its key.
type certificate struct {
	tls.Certificate
	names []string // DNS names, lower case; "*.x" is a wildcard
	ecdsa bool
}

func compileCertificate(s *extension.Scope, m *tlsv3.TlsCertificate) *certificate {
	certificateFields.Check(s, m)
	if m.GetCertificateChain() == nil || m.GetPrivateKey() == nil {
		s.Errorf("TLS certificates need a certificate_chain and a private_key")
		return nil
	}
	chain, ok1 := read(s.Field("certificate_chain"), m.GetCertificateChain())
	key, ok2 := read(s.Field("private_key"), m.GetPrivateKey())
	if !ok1 || !ok2 {
		return nil
	}
	pair, err := tls.X509KeyPair([]byte(chain), []byte(key))
	if err == nil && pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	if err != nil {
		s.Errorf("Failed to load certificate chain or private key from %s: %v", where(m.GetCertificateChain()), err)
		return nil
	}
	c := &certificate{Certificate: pair, names: names(pair.Leaf)}
	if err := c.judge(); err != nil {
		s.Errorf("Failed to load certificate chain from %s, %v", where(m.GetCertificateChain()), err)
	}
	return c
}

// judge refuses keys that Envoy refuses.
func (c *certificate) judge() error {
	switch k := c.Leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		c.ecdsa = true
		if bits := k.Curve.Params().BitSize; bits != 256 && bits != 384 && bits != 521 {
			return errors.New("only P-256, P-384 or P-521 ECDSA certificates are supported")
		}
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return errors.New("only RSA certificates with 2048-bit or larger keys are supported")
		}
	default:
		return errors.New("only RSA and ECDSA certificates are supported")
	}
	return nil
}

// names are those of a certificate that a client may ask for: DNS names, or without any
// the common name.
func names(c *x509.Certificate) []string {
	var out []string
	for _, n := range c.DNSNames {
		out = append(out, strings.ToLower(n))
	}
	if len(out) == 0 && c.Subject.CommonName != "" {
		out = append(out, strings.ToLower(c.Subject.CommonName))
	}
	return out
}

// where names a source as Envoy does in its errors.
func where(d *corev3.DataSource) string {
	switch x := d.GetSpecifier().(type) {
	case *corev3.DataSource_Filename:
		return x.Filename
	case *corev3.DataSource_EnvironmentVariable:
		return "<environment variable>"
	}
	return "<inline>"
}

func read(s *extension.Scope, d *corev3.DataSource) (string, bool) {
	text, ok := state.ReadSource(s, d)
	if ok && text == "" {
		s.Errorf("DataSource cannot be empty")
		return "", false
	}
	return text, ok
}

// parseCertificates reads all certificates and CRLs of a PEM text.
func parseCertificates(text string) (certs []*x509.Certificate, crls []*x509.RevocationList, err error) {
	rest := []byte(text)
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return certs, crls, nil
		}
		switch b.Type {
		case "CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE":
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, nil, err
			}
			certs = append(certs, c)
		case "X509 CRL":
			c, err := x509.ParseRevocationList(b.Bytes)
			if err != nil {
				return nil, nil, err
			}
			crls = append(crls, c)
		}
	}
}

// A selection is the certificates of a server by the names they are for, in the order of
// the configuration.
type selection struct {
	all      []*certificate
	byName   map[string][]*certificate
	fullScan bool // without one for the name any that fits is taken; else the first
}

func newSelection(all []*certificate, fullScan bool) *selection {
	s := &selection{all: all, byName: make(map[string][]*certificate), fullScan: fullScan}
	for _, c := range all {
		for _, n := range c.names {
			if !hasType(s.byName[n], c.ecdsa) { // the first of a name and type counts
				s.byName[n] = append(s.byName[n], c)
			}
		}
	}
	return s
}

func hasType(list []*certificate, ecdsa bool) bool {
	for _, c := range list {
		if c.ecdsa == ecdsa {
			return true
		}
	}
	return false
}

// choose returns the certificate for a client: of its name, then of a wildcard, then any;
// ECDSA before RSA where the client takes both.
func (s *selection) choose(hello *tls.ClientHelloInfo) *certificate {
	if len(s.all) == 1 {
		return s.all[0]
	}
	plain := *hello
	plain.ServerName = "" // or SupportsCertificate compares it
	name := strings.ToLower(hello.ServerName)
	lists := [][]*certificate{s.byName[name]}
	if _, parent, ok := strings.Cut(name, "."); ok {
		lists = append(lists, s.byName["*."+parent])
	}
	if name == "" || s.fullScan {
		lists = append(lists, s.all)
	}
	for _, list := range lists {
		if c := fitting(list, &plain); c != nil {
			return c
		}
	}
	for _, list := range lists { // the handshake will fail for the right reason
		if len(list) > 0 {
			return list[0]
		}
	}
	return s.all[0]
}

func fitting(list []*certificate, hello *tls.ClientHelloInfo) *certificate {
	var other *certificate
	for _, c := range list {
		if hello.SupportsCertificate(&c.Certificate) != nil {
			continue
		}
		if c.ecdsa {
			return c
		}
		if other == nil {
			other = c
		}
	}
	return other
}
