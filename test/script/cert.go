package script

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"software.sslmate.com/src/go-pkcs12"
)

// A certificate is made by the script, and signed by another one of its own.
type certificate struct {
	*x509.Certificate
	key   crypto.Signer
	chain []byte // PEM of it and of what signed it, without authorities that nobody signed
	root  bool
}

// certFlags are what a script may ask of a certificate.
type certFlags struct {
	flag.FlagSet
	ca, rsa, expired, future, staple, encipher bool
	by, cn, dns, uri, ip, email, purpose       string
	password                                   string
	serial                                     int64
}

func newCertFlags() *certFlags {
	f := new(certFlags)
	f.SetOutput(io.Discard)
	f.BoolVar(&f.ca, "ca", false, "an authority")
	f.StringVar(&f.by, "by", "", "who signs it; itself if nobody is named")
	f.StringVar(&f.cn, "cn", "", "common name; NAME if none is given")
	f.StringVar(&f.dns, "dns", "", "DNS names, by commas")
	f.StringVar(&f.uri, "uri", "", "URIs")
	f.StringVar(&f.ip, "ip", "", "addresses")
	f.StringVar(&f.email, "email", "", "mail addresses")
	f.BoolVar(&f.rsa, "rsa", false, "an RSA key in place of P-256")
	f.BoolVar(&f.expired, "expired", false, "since a day")
	f.BoolVar(&f.future, "future", false, "good from tomorrow")
	f.StringVar(&f.purpose, "for", "", "client or server alone")
	f.Int64Var(&f.serial, "serial", 0, "")
	f.BoolVar(&f.staple, "staple", false, "it must come with an OCSP response")
	f.StringVar(&f.password, "password", "", "it protects the key, and NAME.p12 with the key, the certificate and its chain")
	f.BoolVar(&f.encipher, "encipher", false, "key usage without signatures")
	return f
}

// cmdCert makes a certificate and its key: $WORK/NAME.pem and NAME.key.
func (s *session) cmdCert(_ *testscript.TestScript, neg bool, args []string) error {
	f := newCertFlags()
	if err := f.Parse(args); err != nil || f.NArg() != 1 || neg {
		return errors.New("usage: cert [-ca] [-by NAME] [-cn NAME] [-dns|-uri|-ip|-email LIST] [-rsa] [-expired|-future] [-for client|server] [-serial N] [-encipher] [-staple] [-password TEXT] NAME")
	}
	t, err := f.template(f.Arg(0))
	if err != nil {
		return err
	}
	if f.password != "" && f.rsa {
		return errors.New("cert: -password is for keys of P-256")
	}
	t.SerialNumber = big.NewInt(cmp.Or(f.serial, int64(100+len(s.certs))))
	if err := s.sign(f.Arg(0), t, f.by, f.rsa); err != nil || f.password == "" {
		return err
	}
	return s.protect(f.Arg(0), f.password)
}

// protect encrypts the key of a certificate in its file, and makes $WORK/NAME.p12 and
// NAME.password.
func (s *session) protect(name, password string) error {
	c := s.certs[name]
	var chain []*x509.Certificate
	for b, rest := pem.Decode(c.chain); b != nil; b, rest = pem.Decode(rest) {
		x, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return err
		}
		chain = append(chain, x)
	}
	p12, err := pkcs12.Modern.Encode(c.key, chain[0], chain[1:], password)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(c.key.(*ecdsa.PrivateKey))
	if err != nil {
		return err
	}
	key, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte(password), x509.PEMCipherAES256)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(s.work, name+".key"), pem.EncodeToMemory(key), 0o600),
		os.WriteFile(filepath.Join(s.work, name+".p12"), p12, 0o600),
		os.WriteFile(filepath.Join(s.work, name+".password"), []byte(password), 0o600),
	)
}

// template is the certificate before it has a number and is signed.
func (f *certFlags) template(name string) (*x509.Certificate, error) {
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: cmp.Or(f.cn, name), Organization: []string{"ginnel"}},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: list(f.dns), EmailAddresses: list(f.email),
	}
	for _, u := range list(f.uri) {
		x, err := url.Parse(u)
		if err != nil {
			return nil, err
		}
		t.URIs = append(t.URIs, x)
	}
	for _, a := range list(f.ip) {
		t.IPAddresses = append(t.IPAddresses, net.ParseIP(a))
	}
	switch {
	case f.expired:
		t.NotAfter = time.Now().Add(-24 * time.Hour)
	case f.future:
		t.NotBefore = time.Now().Add(24 * time.Hour)
	}
	f.use(t)
	return t, nil
}

// use says what the certificate is for.
func (f *certFlags) use(t *x509.Certificate) {
	if f.encipher {
		t.KeyUsage = x509.KeyUsageKeyEncipherment
	}
	if f.staple { // status_request, RFC 7633
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}
	}
	switch f.purpose {
	case "client":
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case "server":
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if f.ca {
		t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign|x509.KeyUsageDigitalSignature
	}
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (s *session) sign(name string, t *x509.Certificate, by string, isRSA bool) (err error) {
	c := &certificate{root: by == ""}
	if isRSA {
		c.key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return err
	}
	parent, key := t, c.key
	if by != "" {
		p := s.certs[by]
		if p == nil {
			return fmt.Errorf("no certificate %s", by)
		}
		parent, key = p.Certificate, p.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, c.key.Public(), key)
	if err != nil {
		return err
	}
	if c.Certificate, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	c.chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if p := s.certs[by]; p != nil && !p.root {
		c.chain = append(c.chain, p.chain...)
	}
	if s.certs == nil {
		s.certs = make(map[string]*certificate)
	}
	s.certs[name] = c
	private, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return err
	}
	spki := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	hash := sha256.Sum256(der)
	return errors.Join(
		os.WriteFile(filepath.Join(s.work, name+".pem"), c.chain, 0o644),
		os.WriteFile(filepath.Join(s.work, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		os.WriteFile(filepath.Join(s.work, name+".spki"), []byte(base64.StdEncoding.EncodeToString(spki[:])), 0o644),
		os.WriteFile(filepath.Join(s.work, name+".hash"), []byte(hex.EncodeToString(hash[:])), 0o644),
	)
}

// cmdCRL makes $WORK/NAME.crl, a list of what an authority has revoked.
func (s *session) cmdCRL(_ *testscript.TestScript, neg bool, args []string) error {
	var f flag.FlagSet
	f.SetOutput(io.Discard)
	by := f.String("by", "", "the authority")
	expired := f.Bool("expired", false, "")
	if err := f.Parse(args); err != nil || f.NArg() < 1 || neg || s.certs[*by] == nil {
		return errors.New("usage: crl -by NAME [-expired] NAME [CERT...]")
	}
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-48 * time.Hour), NextUpdate: time.Now().Add(24 * time.Hour)}
	if *expired {
		l.NextUpdate = time.Now().Add(-time.Hour)
	}
	for _, name := range f.Args()[1:] {
		c := s.certs[name]
		if c == nil {
			return fmt.Errorf("no certificate %s", name)
		}
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, s.certs[*by].Certificate, s.certs[*by].key)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.work, f.Arg(0)+".crl"), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o644)
}

// certText is what pins a certificate.
func (s *session) certText(name, what string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.work, name+"."+what))
	return string(b), err
}

// x5c is a certificate as a JWK has it.
func (s *session) x5c(name string) (string, error) {
	c := s.certs[name]
	if c == nil {
		return "", fmt.Errorf("no certificate %s", name)
	}
	return base64.StdEncoding.EncodeToString(c.Raw), nil
}
