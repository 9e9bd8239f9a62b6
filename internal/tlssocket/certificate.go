package tlssocket

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
)

// A certificate is one of a context's, with its key.
type certificate struct {
	tls.Certificate
	name   string   // of the secret, for statistics; "": it is none
	path   string   // as Envoy names where it is from
	names  []string // DNS names, lower case; "*.x" is a wildcard
	ecdsa  bool
	params *params       // nil: those of the context
	ocsp   *ocspResponse // nil: there is none
	must   bool          // the certificate itself asks for one
}

// certificate compiles a certificate. name is that of the secret that it is; "": it is none.
func (c *common) certificate(s *extension.Scope, m *tlsv3.TlsCertificate, name string) *certificate {
	certificateFields.Check(s, m)
	load, from := loadPEM, m.GetCertificateChain()
	if m.GetPkcs12() != nil {
		load, from = loadPKCS12, m.GetPkcs12()
	}
	pair, ok := load(s, m)
	if !ok {
		return nil
	}
	k := &certificate{Certificate: pair, name: name, path: where(from), names: names(pair.Leaf)}
	if err := k.judge(); err != nil {
		s.Errorf("Failed to load certificate chain from %s, %v", where(from), err)
	}
	k.staple(s, m, c.stapling)
	k.params = c.ofCertificate(s.Field("tls_params"), m.GetTlsParams())
	return k
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

// A selection is the certificates of a server by the names they are for, in the order of
// the configuration.
type selection struct {
	all      []*certificate
	byName   map[string][]*certificate
	fullScan bool // without one for the name any that fits is taken; else the first
	stapling stapling
	params   bool // some have parameters of their own
}

func newSelection(all []*certificate, fullScan bool, staple stapling) *selection {
	s := &selection{stapling: staple, all: all, byName: make(map[string][]*certificate), fullScan: fullScan}
	for _, c := range all {
		s.params = s.params || c.params != nil
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
