package script

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// tlsFlags are what both sides of a connection may be told.
type tlsFlags struct {
	flag.FlagSet
	cert, ca, alpn, min, max, cipher, curve, sni *string
	resume, plain, private                       *bool
}

func newTLSFlags() *tlsFlags {
	f := new(tlsFlags)
	f.SetOutput(io.Discard)
	f.cert, f.ca = f.String("cert", "", "the own one"), f.String("ca", "", "whose certificates are good")
	f.alpn, f.sni = f.String("alpn", "", "protocols, by commas"), f.String("sni", "", "the server's name")
	f.min, f.max = f.String("min", "", "version"), f.String("max", "", "version")
	f.cipher, f.curve = f.String("cipher", "", "of TLS 1.2, as Go names it"), f.String("curve", "", "")
	f.resume = f.Bool("resume", false, "go on with the client's last session, if it had one")
	f.private = f.Bool("private", false, "what came of it is no answer")
	f.plain = f.Bool("http", false, "an origin in place of a story")
	return f
}

var tlsVersions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

var tlsCurves = map[string]tls.CurveID{"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521}

// config makes the configuration that the flags ask for.
func (f *tlsFlags) config(s *session) (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tlsVersions[*f.min], MaxVersion: tlsVersions[*f.max], ServerName: *f.sni, NextProtos: list(*f.alpn),
		InsecureSkipVerify: true,
	}
	if *f.curve != "" {
		c.CurvePreferences = []tls.CurveID{tlsCurves[*f.curve]}
	}
	for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if suite.Name == *f.cipher {
			c.CipherSuites = []uint16{suite.ID}
		}
	}
	if *f.cipher != "" && c.CipherSuites == nil {
		return nil, fmt.Errorf("no cipher %s", *f.cipher)
	}
	if *f.cert != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(s.work, *f.cert+".pem"), filepath.Join(s.work, *f.cert+".key"))
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
		// Whoever the server trusts, it shall see this one.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	if *f.ca != "" {
		text, err := os.ReadFile(filepath.Join(s.work, *f.ca+".pem"))
		if err != nil {
			return nil, err
		}
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AppendCertsFromPEM(text)
		c.RootCAs, c.ClientAuth = c.ClientCAs, tls.RequireAndVerifyClientCert
		c.InsecureSkipVerify = *f.sni == ""
	}
	return c, nil
}

// cmdTLS connects a client, which is then one for stories. With ! the handshake must be
// refused, in TLS 1.3 also behind its end. What came of it is stdout and an answer.
func (s *session) cmdTLS(ts *testscript.TestScript, neg bool, args []string) error {
	f := newTLSFlags()
	if err := f.Parse(args); err != nil || f.NArg() != 2 {
		return errors.New("usage: tls [-sni NAME] [-alpn LIST] [-cert NAME] [-ca NAME] [-min|-max VERSION] [-cipher NAME] [-curve NAME] [-resume] [-private] CLIENT NAME|ADDR")
	}
	cfg, err := f.config(s)
	if err != nil {
		return err
	}
	name := f.Arg(0)
	if *f.resume {
		if s.sessions == nil {
			s.sessions = make(map[string]tls.ClientSessionCache)
		}
		if s.sessions[name] == nil {
			s.sessions[name] = tls.NewLRUClientSessionCache(1)
		}
		cfg.ClientSessionCache = s.sessions[name]
		if cfg.ServerName == "" {
			cfg.ServerName = "resume.example"
		}
	}
	if err := s.connect(name, []string{f.Arg(1)}); err != nil {
		return err
	}
	raw := s.clients[name].conn
	raw.SetDeadline(time.Now().Add(stepTimeout))
	c := tls.Client(raw, cfg)
	err = c.Handshake()
	if err == nil && neg {
		_, err = c.Read(make([]byte, 1))
	}
	said := refusal(err)
	if err == nil {
		said = tlsText(c.ConnectionState())
		s.clients[name].conn = &secureConn{Conn: c, raw: raw}
	}
	fmt.Fprintln(ts.Stdout(), said)
	if !*f.private {
		s.answer("tls "+strings.Join(args, " "), said)
	}
	switch {
	case neg && err == nil:
		return errors.New("nothing went wrong")
	case neg:
		raw.Close()
		return nil
	}
	return err
}

// refusal says how a handshake failed: by which alert is a matter of libraries.
func refusal(err error) string {
	switch {
	case err == nil:
		return ""
	case strings.Contains(err.Error(), "remote error"):
		return "an alert"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return "an end"
	}
	return err.Error()
}

func tlsText(cs tls.ConnectionState) string {
	text := fmt.Sprintf("%s %s %v alpn=%q server=%q resumed=%v", tls.VersionName(cs.Version), tls.CipherSuiteName(cs.CipherSuite), cs.CurveID,
		cs.NegotiatedProtocol, cs.PeerCertificates[0].Subject.CommonName, cs.DidResume)
	if len(cs.OCSPResponse) > 0 {
		text += " stapled"
	}
	return text
}

// A secureConn is a TLS connection whose socket can be reset.
type secureConn struct {
	*tls.Conn
	raw    net.Conn
	resets bool
}

// SetLinger is that of the socket: the next Close is a reset.
func (c *secureConn) SetLinger(sec int) error {
	l, ok := c.raw.(interface{ SetLinger(int) error })
	if !ok {
		return errors.ErrUnsupported
	}
	c.resets = true
	return l.SetLinger(sec)
}

// Close sends close_notify, but for a reset.
func (c *secureConn) Close() error {
	if c.resets {
		return c.raw.Close()
	}
	return c.Conn.Close()
}

// Read hides that a socket ended without close_notify, and tells of an end by itself.
func (c *secureConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// cmdTLSBackend is a backend, or an origin, behind TLS. Connections whose handshake fails do
// not reach it.
func (s *session) cmdTLSBackend(_ *testscript.TestScript, neg bool, args []string) error {
	f := newTLSFlags()
	if err := f.Parse(args); err != nil || f.NArg() < 1 || neg {
		return errors.New("usage: tlsbackend -cert NAME [-ca NAME] [-alpn LIST] [-min|-max VERSION] [-cipher NAME] [-http] NAME [STORY]")
	}
	cfg, err := f.config(s)
	if err != nil {
		return err
	}
	name := f.Arg(0)
	port, err := s.ports.get(name)
	if err != nil {
		return err
	}
	ln, err := listen("127.0.0.1:" + strconv.Itoa(port))
	if err != nil {
		return err
	}
	if *f.plain {
		s.origins[name] = originOn(name, &secureListener{ln, cfg})
		return nil
	}
	story, err := parseStory(f.Args()[1:])
	if err != nil {
		ln.Close()
		return err
	}
	s.backends[name] = backendOn(name, &secureListener{ln, cfg}, story)
	return nil
}

// A secureListener hands out connections whose handshake is over.
type secureListener struct {
	net.Listener
	config *tls.Config
}

// Accept implements net.Listener. Handshakes follow one another.
func (l *secureListener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		raw.SetDeadline(time.Now().Add(stepTimeout))
		c := tls.Server(raw, l.config)
		if c.Handshake() == nil {
			raw.SetDeadline(time.Time{})
			return &secureConn{Conn: c, raw: raw}, nil
		}
		c.Close()
	}
}

// originOn is an origin on a listener of its own making; HTTP/2 by ALPN.
func originOn(name string, ln net.Listener) *origin {
	o := newOrigin(name)
	o.server.TLSConfig = &tls.Config{}
	o.wg.Go(func() { o.server.Serve(&protocolListener{ln}) })
	return o
}

// A protocolListener hands connections out as net/http knows them.
type protocolListener struct{ net.Listener }

// Accept implements net.Listener.
func (l *protocolListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if s, ok := c.(*secureConn); ok {
		return s.Conn, err // net/http looks for ALPN there
	}
	return c, err
}

var _ http.Handler = (*origin)(nil)

// cmdHTTPS makes a client of the command http one of TLS: it speaks what ALPN chooses.
func (s *session) cmdHTTPS(_ *testscript.TestScript, neg bool, args []string) error {
	f := newTLSFlags()
	if err := f.Parse(args); err != nil || f.NArg() != 1 || neg {
		return errors.New("usage: https [-sni NAME] [-alpn LIST] [-cert NAME] [-ca NAME] CLIENT")
	}
	cfg, err := f.config(s)
	if err != nil {
		return err
	}
	h2 := slices.Contains(cfg.NextProtos, "h2")
	var p http.Protocols
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	t := &http.Transport{Protocols: &p, DisableCompression: true, MaxIdleConnsPerHost: 100, TLSClientConfig: cfg}
	s.https[fmt.Sprint(f.Arg(0), false)] = t
	return nil
}

// secure reports whether a client of the command http is one of TLS. That it has a
// TLSClientConfig does not say so: net/http makes one for any that speaks HTTP/2.
func secure(t *http.Transport) bool {
	return !t.Protocols.UnencryptedHTTP2() && t.TLSClientConfig != nil
}
