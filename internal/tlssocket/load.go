package tlssocket

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/state"
)

// loadPEM reads a certificate and its key, each from a source of its own. Its leaf is parsed;
// false: it was reported why there is none.
func loadPEM(s *extension.Scope, m *tlsv3.TlsCertificate) (pair tls.Certificate, ok bool) {
	switch {
	case m.GetCertificateChain() == nil && m.GetPrivateKey() == nil:
		s.Errorf("TlsCertificates must have a certificate specified")
		return pair, false
	case m.GetCertificateChain() == nil:
		s.Errorf("Failed to load incomplete certificate from : certificate chain not set")
		return pair, false
	case m.GetPrivateKey() == nil:
		s.Errorf("Failed to load incomplete private key from path: ")
		return pair, false
	}
	chain, ok1 := read(s.Field("certificate_chain"), m.GetCertificateChain())
	key, ok2 := read(s.Field("private_key"), m.GetPrivateKey())
	password, ok3 := readPassword(s, m)
	if !ok1 || !ok2 || !ok3 {
		return pair, false
	}
	private, err := decryptKey([]byte(key), password)
	if err == nil {
		pair, err = tls.X509KeyPair([]byte(chain), private)
	}
	if err == nil && pair.Leaf == nil {
		pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0])
	}
	if err != nil {
		s.Errorf("%s", pairFault(m, chain, private, err))
		return pair, false
	}
	return pair, true
}

// pairFault says what of a certificate and its key cannot be used.
func pairFault(m *tlsv3.TlsCertificate, chain string, key []byte, err error) string {
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
func isKey(text []byte) bool {
	for rest := text; ; {
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

// loadPKCS12 is loadPEM for a file that holds the certificate, its key, and the chain.
func loadPKCS12(s *extension.Scope, m *tlsv3.TlsCertificate) (pair tls.Certificate, ok bool) {
	switch {
	case m.GetCertificateChain() != nil:
		s.Errorf("Certificate configuration can't have both pkcs12 and certificate_chain")
		return pair, false
	case m.GetPrivateKey() != nil:
		s.Errorf("Certificate configuration can't have both pkcs12 and private_key")
		return pair, false
	}
	file, ok1 := read(s.Field("pkcs12"), m.GetPkcs12())
	password, ok2 := readPassword(s, m)
	if !ok1 || !ok2 {
		return pair, false
	}
	key, first, more, err := pkcs12.DecodeChain([]byte(file), password)
	if err != nil {
		s.Field("pkcs12").Errorf("Failed to load pkcs12 from %s: %v", where(m.GetPkcs12()), err)
		return pair, false
	}
	certs := append([]*x509.Certificate{first}, more...)
	own := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return isKeyOf(key, c) })
	if own < 0 {
		s.Field("pkcs12").Errorf("Failed to load certificate from %s: none in it is of its key", where(m.GetPkcs12()))
		return pair, false
	}
	pair.PrivateKey, pair.Leaf = key, certs[own]
	pair.Certificate = [][]byte{certs[own].Raw}
	for _, c := range slices.Delete(certs, own, own+1) {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, true
}

// isKeyOf reports whether a certificate is for a private key.
func isKeyOf(private any, c *x509.Certificate) bool {
	signer, ok := private.(crypto.Signer)
	if !ok {
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// readPassword returns "" where there is none.
func readPassword(s *extension.Scope, m *tlsv3.TlsCertificate) (string, bool) {
	if m.GetPassword() == nil {
		return "", true
	}
	return readSource(s.Field("password"), m.GetPassword())
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

// read returns what a source holds, which must be something.
func read(s *extension.Scope, d *corev3.DataSource) (string, bool) {
	text, ok := readSource(s, d)
	if ok && text == "" {
		s.Errorf("DataSource cannot be empty")
		return "", false
	}
	return text, ok
}

// readSource reads a source once, as Envoy does whose contexts look at no watched_directory;
// for secrets of sources, and for trust bundles, files are watched without it.
func readSource(s *extension.Scope, d *corev3.DataSource) (string, bool) {
	if d.GetWatchedDirectory() != nil {
		s.Field("watched_directory").Warnf("it is not looked at here (as in Envoy)")
		d = &corev3.DataSource{Specifier: d.GetSpecifier()}
	}
	return state.ReadSource(s, d)
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
