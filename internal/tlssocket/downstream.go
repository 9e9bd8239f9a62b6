package tlssocket

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

// A downstream is a compiled DownstreamTlsContext.
type downstream struct {
	common
	require   bool // a client certificate
	fullScan  bool
	noTickets bool
	tickets   [][32]byte    // nil: random ones
	lifetime  time.Duration // of sessions; 0: those of crypto/tls
}

func compileDownstream(s *extension.Scope, m *tlsv3.DownstreamTlsContext) filter.TransportFactory {
	downstreamFields.Check(s, m)
	d := &downstream{
		common:    compileCommon(s.Field("common_tls_context"), m.GetCommonTlsContext(), false),
		require:   m.GetRequireClientCertificate().GetValue(),
		fullScan:  m.GetFullScanCertsOnSniMismatch().GetValue(),
		noTickets: m.GetDisableStatelessSessionResumption(),
		lifetime:  m.GetSessionTimeout().AsDuration(),
	}
	if k := m.GetSessionTicketKeys(); k != nil {
		ticketFields.Check(s.Field("session_ticket_keys"), k)
		d.tickets = ticketKeys(s.Field("session_ticket_keys.keys"), k.GetKeys())
	}
	if c := m.GetCommonTlsContext(); len(c.GetTlsCertificates()) == 0 && len(c.GetTlsCertificateSdsSecretConfigs()) == 0 {
		s.Field("common_tls_context").Errorf("No TLS certificates found for server context")
	}
	if d.require && !d.validation.asks() {
		s.Field("require_client_certificate").Warnf("without a validation context any client certificate will do")
	}
	return d
}

// NewTransport implements filter.TransportFactory.
func (d *downstream) NewTransport(env *filter.Env) (filter.Transport, error) {
	scope := env.Stats
	if env.ListenerStats != nil {
		scope = env.ListenerStats
	}
	t := &server{plan: d, certs: newSelection(d.certificates, d.fullScan), stats: newStats(scope.Scope("ssl."))}
	t.config = d.base()
	t.config.SessionTicketsDisabled = d.noTickets
	if len(d.tickets) > 0 {
		t.config.SetSessionTicketKeys(d.tickets)
	}
	if d.validation.asks() || d.require {
		t.config.ClientAuth = tls.RequestClientCert
		if d.require || d.validation.demands() {
			t.config.ClientAuth = tls.RequireAnyClientCert
		}
		if v := d.validation; v != nil && v.roots != nil && !v.hideCAs {
			t.config.ClientCAs = v.roots
		}
	}
	return t, nil
}

// A server is a downstream for one filter chain.
type server struct {
	plan   *downstream
	certs  *selection
	config *tls.Config
	stats  *stats
}

// A meeting is one handshake.
type meeting struct {
	server    *server
	local     *certificate
	validated bool
	met       *filter.TLS // what is known of a client whose certificate was not accepted
}

// Wrap implements filter.Transport.
func (t *server) Wrap(s filter.Stream, info *filter.Info, deadline time.Time) (filter.Stream, error) {
	m := &meeting{server: t}
	cfg := t.config.Clone()
	cfg.GetConfigForClient = m.protocols(cfg)
	cfg.GetCertificate = m.choose
	cfg.VerifyConnection = m.verify
	cfg.WrapSession, cfg.UnwrapSession = t.wrapSession, t.unwrapSession

	w := newWire(s)
	c := &Conn{wire: w, tls: tls.Server(w, cfg)}
	if err := shake(c, deadline, nil); err != nil {
		f := explain(err)
		t.stats.failed(f)
		info.More().DownFailure, info.Extra.DownTLS = f.reason, m.met
		return nil, f
	}
	m.settle(c, info)
	return c, nil
}

// protocols leaves ALPN out where the client and this side have none in common: Envoy goes
// on without, crypto/tls would fail.
func (m *meeting) protocols(cfg *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, p := range h.SupportedProtos {
			if slices.Contains(cfg.NextProtos, p) {
				return nil, nil
			}
		}
		if len(h.SupportedProtos) == 0 || len(cfg.NextProtos) == 0 {
			return nil, nil
		}
		plain := cfg.Clone()
		plain.NextProtos = nil
		return plain, nil
	}
}

func (m *meeting) choose(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	m.local = m.server.certs.choose(h)
	return &m.local.Certificate, nil
}

// verify looks at the client's certificate, also of a session that is resumed.
func (m *meeting) verify(s tls.ConnectionState) (err error) {
	if len(s.PeerCertificates) == 0 {
		return nil
	}
	if err := keyUsage(s.PeerCertificates[0]); err != nil {
		return err
	}
	if m.server.plan.validation == nil {
		return nil
	}
	m.validated, err = m.server.plan.validation.verify(s.PeerCertificates, x509.ExtKeyUsageClientAuth, askedNames{})
	if err != nil {
		met := describe(&s)
		m.met = &met
	}
	return err
}

// keyUsage asks of a certificate that it is for signing, as all handshakes want it that
// agree on a key by ECDHE.
func keyUsage(c *x509.Certificate) error {
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return &flaw{flawKeyUsage, "KEY_USAGE_BIT_INCORRECT", nil}
	}
	return nil
}

// settle notes what is known after the handshake.
func (m *meeting) settle(c *Conn, info *filter.Info) {
	s := c.tls.ConnectionState()
	c.info = describe(&s)
	c.info.Broken = c.brokenBy
	c.info.Validated, c.info.Took = m.validated, time.Since(info.Start)
	if m.local != nil {
		c.info.Local = m.local.Leaf
	} else if len(m.server.certs.all) == 1 {
		c.info.Local = m.server.certs.all[0].Leaf
	}
	m.server.stats.shook(&c.info)
	info.More().DownTLS = &c.info
}

func (t *server) wrapSession(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	ss.Extra = append(ss.Extra, sessionStamp(t.plan.id, time.Now()))
	return t.config.EncryptTicket(cs, ss)
}

// unwrapSession refuses sessions that are too old, or that began where other things were
// asked of the client.
func (t *server) unwrapSession(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	ss, err := t.config.DecryptTicket(ticket, cs)
	if err != nil || ss == nil || !stampHolds(ss.Extra, t.plan.id, t.plan.lifetime, time.Now()) {
		return nil, err
	}
	return ss, nil
}

// shake performs the handshake.
func shake(c *Conn, deadline time.Time, cancel <-chan struct{}) error {
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	if cancel != nil {
		done, left := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(left)
			select {
			case <-cancel:
				_ = c.SetDeadline(time.Unix(1, 0))
			case <-done:
			}
		}()
		defer func() { close(done); <-left }()
	}
	deepen(0)
	err := c.tls.Handshake()
	select {
	case <-cancel: // never of nil
		return filter.ErrCanceled
	default:
	}
	if err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

func describe(s *tls.ConnectionState) filter.TLS {
	return filter.TLS{
		Version: versionName(s.Version), Cipher: cipherName(s.CipherSuite), Group: curveName(s.CurveID),
		ServerName: s.ServerName, Protocol: s.NegotiatedProtocol, Peer: s.PeerCertificates, Resumed: s.DidResume,
	}
}
