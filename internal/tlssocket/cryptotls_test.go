package tlssocket

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// What is known of crypto/tls by its texts alone still stands in its source: this fails
// where another version of Go says it in other words.
func TestCryptoTLS(t *testing.T) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "crypto/tls").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var source strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(b)
	}
	for _, l := range local {
		if !strings.Contains(source.String(), l.part) {
			t.Errorf("crypto/tls does not say %q any more", l.part)
		}
	}
}

// A try is a handshake that fails.
type try struct {
	client, server *tls.Config
	raw            string // what the client sends in place of a hello
	ofClient       bool   // it is the client's failure that is asked for
	want           string
}

// Failures as they come from crypto/tls have Envoy's reasons.
func TestReasons(t *testing.T) {
	ca := issue(t, nil, authority)
	leaf := issue(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} })
	pair := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leaf.key, Leaf: leaf.Certificate}
	server := func(f func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{pair}}
		f(c)
		return c
	}
	client := func(f func(*tls.Config)) *tls.Config {
		c := &tls.Config{InsecureSkipVerify: true}
		f(c)
		return c
	}
	plain := func(*tls.Config) {}
	for name, c := range map[string]try{
		"no certificate": {client: client(plain), server: server(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }),
			want: "268435648:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE"},
		"old client": {client: client(func(c *tls.Config) { c.MaxVersion, c.MinVersion = tls.VersionTLS11, tls.VersionTLS10 }), server: server(plain),
			want: "268435696:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL"},
		"old client is told": {client: client(func(c *tls.Config) { c.MaxVersion, c.MinVersion = tls.VersionTLS11, tls.VersionTLS10 }), server: server(plain), ofClient: true,
			want: "268436526:SSL routines:OPENSSL_internal:TLSV1_ALERT_PROTOCOL_VERSION"},
		"no cipher": {client: client(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
		}), server: server(func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384} }),
			want: "268435640:SSL routines:OPENSSL_internal:NO_SHARED_CIPHER"},
		"no group": {client: client(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} }),
			server: server(func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }), want: "268435722:SSL routines:OPENSSL_internal:NO_SHARED_GROUP"},
		"too long a message": {raw: "\x16\x03\x01\x00\x04\x01\xff\xff\xff", server: server(plain), want: "268435606:SSL routines:OPENSSL_internal:EXCESSIVE_MESSAGE_SIZE"},
		"too long a record":  {raw: "\x16\x03\x01\xff\xff", server: server(plain), want: "268435602:SSL routines:OPENSSL_internal:ENCRYPTED_LENGTH_TOO_LONG"},
		"another message":    {raw: "\x16\x03\x01\x00\x04\x14\x00\x00\x00", server: server(plain), want: "268435679:SSL routines:OPENSSL_internal:UNEXPECTED_MESSAGE"},
		"another record":     {raw: "\x17\x03\x01\x00\x01x", server: server(plain), want: "268435681:SSL routines:OPENSSL_internal:UNEXPECTED_RECORD"},
		"half a hello":       {raw: "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", server: server(plain), want: "268435587:SSL routines:OPENSSL_internal:CLIENTHELLO_PARSE_FAILED"},
		"a request":          {raw: "GET / HTTP/1.1\r\n\r\n", server: server(plain), want: "268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST"},
		"a CONNECT":          {raw: "CONNECT a:1 HTTP/1.1\r\n\r\n", server: server(plain), want: "268435611:SSL routines:OPENSSL_internal:HTTPS_PROXY_REQUEST"},
		"something else":     {raw: "something else", server: server(plain), want: "268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER"},
		"no response to staple": {client: client(plain), server: server(func(c *tls.Config) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errStaple }
			c.Certificates = nil
		}), want: "268435589:SSL routines:OPENSSL_internal:CONNECTION_REJECTED"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := explainHello(c.fails(t)).reason; !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// fails returns the error of one side's handshake.
func (c *try) fails(t *testing.T) error {
	a, b := pipeEnds(t)
	deadline := time.Now().Add(10 * time.Second)
	side := func(s filter.Stream, of func(*wire) *tls.Conn) chan error {
		w := newWire(s)
		done := make(chan error, 1)
		go func() {
			err := shake(&Conn{wire: w, tls: of(w)}, deadline, nil)
			s.Close()
			done <- err
		}()
		return done
	}
	served := side(b, func(w *wire) *tls.Conn { return tls.Server(w, c.server) })
	var asked chan error
	if c.raw != "" {
		if _, err := a.Write([]byte(c.raw)); err != nil {
			t.Fatal(err)
		}
		defer a.Close()
	} else {
		asked = side(a, func(w *wire) *tls.Conn { return tls.Client(w, c.client) })
	}
	err := <-served
	if asked != nil {
		if e := <-asked; c.ofClient {
			err = e
		}
	}
	if err == nil {
		t.Fatal("nothing went wrong")
	}
	return err
}

// How the peer has signed is known.
func TestPeerSigned(t *testing.T) {
	pairs(t, func(t *testing.T, client, _ *Conn) {
		cs := client.tls.ConnectionState()
		if got := peerSigned(&cs); got != "ecdsa_secp256r1_sha256" {
			t.Errorf("%q: the field of crypto/tls has gone?", got)
		}
	})
}

// TestSocketErrors: what a socket says is no fault of TLS, though crypto/tls tells alerts by
// the type that sockets use.
func TestSocketErrors(t *testing.T) {
	late := explain(&net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded})
	if late.reason != "" || late.kind == failedTLS {
		t.Errorf("a handshake that took too long: %q", late.reason)
	}
	reset := explain(&net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET})
	if !strings.Contains(reset.reason, ":system library:") {
		t.Errorf("a handshake that was reset: %q", reset.reason)
	}
}
