package tlssocket

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/state"
)

// A certificate is one of a context's, with its key.
type certificate struct {
	tls.Certificate
	name  string   // of the secret, for statistics; "": it is none
	path  string   // as Envoy names where it is from
	names []string // DNS names, lower case; "*.x" is a wildcard
	ecdsa bool
	ocsp  *ocspResponse // nil: there is none
	must  bool          // the certificate itself asks for one
}

// compileCertificate compiles a certificate. name is that of the secret that it is; "": it
// is none.
func compileCertificate(s *extension.Scope, m *tlsv3.TlsCertificate, name string, staple stapling) *certificate {
	certificateFields.Check(s, m)
	switch {
	case m.GetCertificateChain() == nil && m.GetPrivateKey() == nil:
		s.Errorf("Failed to load incomplete private key from path: ") // Envoy looks for that first
		return nil
	case m.GetCertificateChain() == nil:
		s.Errorf("Failed to load incomplete certificate from : certificate chain not set")
		return nil
	case m.GetPrivateKey() == nil:
		s.Errorf("Failed to load incomplete private key from path: ")
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
		s.Errorf("%s", pairFault(m, chain, key, err))
		return nil
	}
	c := &certificate{Certificate: pair, name: name, path: where(m.GetCertificateChain()), names: names(pair.Leaf)}
	if err := c.judge(); err != nil {
		s.Errorf("Failed to load certificate chain from %s, %v", where(m.GetCertificateChain()), err)
	}
	c.staple(s, m, staple)
	return c
}

// pairFault says what of a certificate and its key cannot be used.
func pairFault(m *tlsv3.TlsCertificate, chain, key string, err error) string {
	certs, _, cerr := parseCertificates(chain)
	switch {
	case cerr != nil || len(certs) == 0:
		return "Failed to load certificate chain from " + where(m.GetCertificateChain())
	case isKey(key):
		return "Failed to load private key from " + where(m.GetPrivateKey()) + ", Cause: error:0b000074:X.509 certificate routines:OPENSSL_internal:KEY_VALUES_MISMATCH"
	}
	return "Failed to load private key from " + where(m.GetPrivateKey()) + ", Cause: " + err.Error()
}

// isKey reports whether a PEM text holds a private key of a kind that is known.
func isKey(text string) bool {
	for rest := []byte(text); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return false
		}
		_, err1 := x509.ParsePKCS8PrivateKey(b.Bytes)
		_, err2 := x509.ParsePKCS1PrivateKey(b.Bytes)
		_, err3 := x509.ParseECPrivateKey(b.Bytes)
		if err1 == nil || err2 == nil || err3 == nil {
			return true
		}
	}
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
	stapling stapling
}

func newSelection(all []*certificate, fullScan bool, staple stapling) *selection {
	s := &selection{stapling: staple, all: all, byName: make(map[string][]*certificate), fullScan: fullScan}
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
// ECDSA before RSA where the client takes both. One that lacks a response which it must have,
// and which the client asks for, is passed over.
func (s *selection) choose(hello *tls.ClientHelloInfo, staple bool) *certificate {
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
		if c := s.fitting(list, &plain, staple); c != nil {
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

func (s *selection) fitting(list []*certificate, hello *tls.ClientHelloInfo, staple bool) *certificate {
	now := time.Now()
	var other *certificate
	for _, c := range list {
		if hello.SupportsCertificate(&c.Certificate) != nil {
			continue
		}
		if _, ok := c.stapled(s.stapling, now); staple && !ok {
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
