package tlssocket

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/ginnel/ginnel/extension"
)

func inline(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

func inlinePEM(typ string, der []byte) *corev3.DataSource {
	return inline(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
}

// load compiles a certificate, and returns all errors.
func load(m *tlsv3.TlsCertificate) (c *certificate, faults string) {
	var r extension.Report
	c = new(common).certificate(extension.NewScope(&r, nil, nil), m, "")
	for _, i := range r.Issues {
		faults += i.Path + ": " + i.Message + "\n"
	}
	return c, faults
}

// TestEncryptedKeys reads what openssl has written of the key of plain.key, by the password
// "secret".
func TestEncryptedKeys(t *testing.T) {
	plain, err := os.ReadFile("testdata/plain.key")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(plain)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	own := issueFor(t, key.(*ecdsa.PrivateKey), nil, nil)
	for _, c := range []struct{ file, password, want string }{
		{"plain", "", ""},
		{"plain", "secret", ""},
		{"aes128", "secret", ""},
		{"aes192", "secret", ""},
		{"aes256", "secret", ""},
		{"des3", "secret", ""},
		{"hmacsha1", "secret", ""},
		{"traditional", "secret", ""},
		{"aes256", "wrong", "OPENSSL_internal:BAD_DECRYPT"},
		{"aes256", "secret\n", "OPENSSL_internal:BAD_DECRYPT"},
		{"traditional", "wrong", "OPENSSL_internal:BAD_DECRYPT"},
		{"aes256", "", "OPENSSL_internal:BAD_PASSWORD_READ"},
		{"traditional", "", "OPENSSL_internal:BAD_PASSWORD_READ"},
		{"hmacsha512", "secret", "OPENSSL_internal:UNSUPPORTED_PRF"},
		{"scrypt", "secret", "OPENSSL_internal:UNSUPPORTED_KEY_DERIVATION_FUNCTION"},
		{"pbes1", "secret", "encryption 1.2.840.113549.1.12.1.3 is not known"},
	} {
		path := filepath.Join("testdata", c.file+".key")
		m := &tlsv3.TlsCertificate{
			CertificateChain: inlinePEM("CERTIFICATE", own.Raw),
			PrivateKey:       &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}},
		}
		if c.password != "" {
			m.Password = inline([]byte(c.password))
		}
		got, faults := load(m)
		switch {
		case c.want == "" && (faults != "" || got == nil || !key.(*ecdsa.PrivateKey).Equal(got.PrivateKey)):
			t.Errorf("%s by %q: %s", c.file, c.password, faults)
		case c.want != "" && (!strings.Contains(faults, c.want) || !strings.HasPrefix(faults, ": Failed to load private key from "+path+", Cause: ")):
			t.Errorf("%s by %q: got %q, want %q", c.file, c.password, faults, c.want)
		}
	}
}

// TestEncryptedKeysCutOff finds no text that does more than fail.
func TestEncryptedKeysCutOff(t *testing.T) {
	for _, file := range []string{"aes256", "des3", "scrypt", "pbes1"} {
		text, err := os.ReadFile(filepath.Join("testdata", file+".key"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := pem.Decode(text)
		for n := range b.Bytes {
			if _, err := decryptPKCS8(&pem.Block{Type: b.Type, Bytes: b.Bytes[:n]}, "secret"); err == nil {
				t.Errorf("%s: the first %d bytes are a key", file, n)
			}
		}
	}
}

func TestPKCS12(t *testing.T) {
	ca := issue(t, nil, authority)
	own := issue(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} })
	encode := func(key any, first *x509.Certificate, more ...*x509.Certificate) []byte {
		b, err := pkcs12.Modern.WithIterations(10).Encode(key, first, more, "secret")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole := encode(own.key, own.Certificate, ca.Certificate)
	secret := inline([]byte("secret"))
	for _, c := range []struct {
		name string
		m    *tlsv3.TlsCertificate
		want string // the error; "": there is none
	}{
		{"whole", &tlsv3.TlsCertificate{Pkcs12: inline(whole), Password: secret}, ""},
		{"in another order", &tlsv3.TlsCertificate{Pkcs12: inline(encode(own.key, ca.Certificate, own.Certificate)), Password: secret}, ""},
		{"wrong password", &tlsv3.TlsCertificate{Pkcs12: inline(whole), Password: inline([]byte("x"))}, "pkcs12: Failed to load pkcs12 from <inline>: pkcs12: decryption password incorrect"},
		{"no password", &tlsv3.TlsCertificate{Pkcs12: inline(whole)}, "pkcs12: Failed to load pkcs12 from <inline>: "},
		{"no such password", &tlsv3.TlsCertificate{Pkcs12: inline(whole), Password: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: "testdata/nowhere"}}}, "password.filename: "},
		{"cut off", &tlsv3.TlsCertificate{Pkcs12: inline(whole[:50]), Password: secret}, "pkcs12: Failed to load pkcs12 from <inline>: "},
		{"nothing", &tlsv3.TlsCertificate{Pkcs12: inline(nil), Password: secret}, "pkcs12: DataSource cannot be empty"},
		{"another's key", &tlsv3.TlsCertificate{Pkcs12: inline(encode(own.key, ca.Certificate)), Password: secret}, "pkcs12: Failed to load certificate from <inline>: none in it is of its key"},
		{"no key", &tlsv3.TlsCertificate{Pkcs12: inline(bags(t, certBag(t, own.Raw)))}, "pkcs12: Failed to load pkcs12 from <inline>: pkcs12: private key missing"},
		{"no certificate", &tlsv3.TlsCertificate{Pkcs12: inline(bags(t, keyBag(t, own.key)))}, "pkcs12: Failed to load pkcs12 from <inline>: pkcs12: certificate missing"},
		{"two keys", &tlsv3.TlsCertificate{Pkcs12: inline(bags(t, certBag(t, own.Raw), keyBag(t, own.key), keyBag(t, ca.key)))}, "pkcs12: Failed to load pkcs12 from <inline>: pkcs12: expected exactly one key bag"},
		{"a chain beside it", &tlsv3.TlsCertificate{Pkcs12: inline(whole), Password: secret, CertificateChain: inline(nil)}, "can't have both pkcs12 and certificate_chain"},
		{"a key beside it", &tlsv3.TlsCertificate{Pkcs12: inline(whole), Password: secret, PrivateKey: inline(nil)}, "can't have both pkcs12 and private_key"},
	} {
		got, faults := load(c.m)
		switch {
		case c.want != "" && !strings.Contains(faults, c.want):
			t.Errorf("%s: got %q, want %q", c.name, faults, c.want)
		case c.want == "" && (faults != "" || got == nil):
			t.Errorf("%s: %s", c.name, faults)
		case c.want == "" && (!got.Leaf.Equal(own.Certificate) || len(got.Certificate.Certificate) != 2 || got.path != "<inline>" || got.names[0] != "a.example"):
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// A folder to watch is said not to be looked at, and is no reason to refuse.
func TestWatchedDirectory(t *testing.T) {
	own := issue(t, nil, nil)
	der, err := x509.MarshalPKCS8PrivateKey(own.key)
	if err != nil {
		t.Fatal(err)
	}
	chain := inlinePEM("CERTIFICATE", own.Raw)
	chain.WatchedDirectory = &corev3.WatchedDirectory{Path: "x"}
	var r extension.Report
	c := new(common).certificate(extension.NewScope(&r, nil, nil), &tlsv3.TlsCertificate{CertificateChain: chain, PrivateKey: inlinePEM("PRIVATE KEY", der)}, "")
	if c == nil || len(r.Issues) != 1 || r.Issues[0].Severity == extension.Error || r.Issues[0].Path != "certificate_chain.watched_directory" {
		t.Error(c, r.Issues)
	}
}

// Structures of RFC 7292 without encryption, and without a code.
type (
	pfx struct {
		Version int
		Auth    contentInfo
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	bag struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
)

func marshal(t *testing.T, x any) []byte {
	b, err := asn1.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newBag(t *testing.T, id int, value []byte) bag {
	return bag{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, id}, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: value}}
}

func keyBag(t *testing.T, key any) bag {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return newBag(t, 1, der)
}

func certBag(t *testing.T, der []byte) bag {
	return newBag(t, 3, marshal(t, contentInfo{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}, der}))
}

func bags(t *testing.T, list ...bag) []byte {
	data := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	inside := marshal(t, []contentInfo{{data, marshal(t, list)}})
	return marshal(t, pfx{3, contentInfo{data, inside}})
}

// A key of more rounds than a CPU has time for is refused before it is tried.
func TestEncryptedKeyIterations(t *testing.T) {
	for n, want := range map[int]string{0: "0 iterations", -1: "-1 iterations", mostIterations + 1: "100000001 iterations"} {
		k := marshal(t, pbkdf2Params{Salt: []byte("salt"), Iterations: n, Hash: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}}})
		p := pbes2Params{
			KeyDerivation: pkix.AlgorithmIdentifier{Algorithm: oidPBKDF2, Parameters: asn1.RawValue{FullBytes: k}},
			Encryption:    pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}},
		}
		if _, err := p.decrypter("secret"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", n, err)
		}
	}
}
