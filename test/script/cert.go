package script

import (
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
)

// A certificate is made by the script, and signed by another one of its own.
type certificate struct {
	*x509.Certificate
	key   crypto.Signer
	chain []byte // PEM of it and of what signed it, without authorities that nobody signed
	root  bool
}

// cmdCert makes a certificate and its key: $WORK/NAME.pem and NAME.key.
func (s *session) cmdCert(_ *testscript.TestScript, neg bool, args []string) error {
	var f flag.FlagSet
	f.SetOutput(io.Discard)
	ca := f.Bool("ca", false, "an authority")
	by := f.String("by", "", "who signs it; itself if nobody is named")
	cn := f.String("cn", "", "common name; NAME if none is given")
	dns, uri := f.String("dns", "", "DNS names, by commas"), f.String("uri", "", "URIs")
	ip, email := f.String("ip", "", "addresses"), f.String("email", "", "mail addresses")
	isRSA := f.Bool("rsa", false, "an RSA key in place of P-256")
	expired, future := f.Bool("expired", false, "since a day"), f.Bool("future", false, "good from tomorrow")
	purpose := f.String("for", "", "client or server alone")
	serial := f.Int64("serial", 0, "")
	staple := f.Bool("staple", false, "it must come with an OCSP response")
	encipher := f.Bool("encipher", false, "key usage without signatures")
	if err := f.Parse(args); err != nil || f.NArg() != 1 || neg {
		return errors.New("usage: cert [-ca] [-by NAME] [-cn NAME] [-dns|-uri|-ip|-email LIST] [-rsa] [-expired|-future] [-for client|server] [-serial N] [-encipher] [-staple] NAME")
	}
	name := f.Arg(0)
	t := &x509.Certificate{
		SerialNumber: big.NewInt(int64(100 + len(s.certs))), Subject: pkix.Name{CommonName: name, Organization: []string{"ginnel"}},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, DNSNames: list(*dns), EmailAddresses: list(*email),
	}
	if *cn != "" {
		t.Subject.CommonName = *cn
	}
	if *serial != 0 {
		t.SerialNumber = big.NewInt(*serial)
	}
	for _, u := range list(*uri) {
		x, err := url.Parse(u)
		if err != nil {
			return err
		}
		t.URIs = append(t.URIs, x)
	}
	for _, a := range list(*ip) {
		t.IPAddresses = append(t.IPAddresses, net.ParseIP(a))
	}
	switch {
	case *expired:
		t.NotAfter = time.Now().Add(-24 * time.Hour)
	case *future:
		t.NotBefore = time.Now().Add(24 * time.Hour)
	}
	if *encipher {
		t.KeyUsage = x509.KeyUsageKeyEncipherment
	}
	if *staple { // status_request, RFC 7633
		t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}}
	}
	switch *purpose {
	case "client":
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	case "server":
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	if *ca {
		t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign|x509.KeyUsageDigitalSignature
	}
	return s.sign(name, t, *by, *isRSA)
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
