package tlssocket

import (
	"cmp"
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
	lifetime  time.Duration // of sessions; 0: those of crypto/tls
}

func compileDownstream(s *extension.Scope, m *tlsv3.DownstreamTlsContext) filter.TransportFactory {
	downstreamFields.Check(s, m)
	d := &downstream{
		common:    compileCommon(s.Field("common_tls_context"), m.GetCommonTlsContext(), false, staplingOf(m.GetOcspStaplePolicy())),
		require:   m.GetRequireClientCertificate().GetValue(),
		fullScan:  m.GetFullScanCertsOnSniMismatch().GetValue(),
		noTickets: m.GetDisableStatelessSessionResumption(),
		lifetime:  m.GetSessionTimeout().AsDuration(),
	}
	if k := m.GetSessionTicketKeys(); k != nil {
		ticketFields.Check(s.Field("session_ticket_keys"), k)
		d.tickets = ticketKeys(s.Field("session_ticket_keys.keys"), k.GetKeys())
	}
	if x := m.GetSessionTicketKeysSdsSecretConfig(); x != nil {
		d.ticketSecret(s.Field("session_ticket_keys_sds_secret_config"), x)
	}
	if c := m.GetCommonTlsContext(); len(c.GetTlsCertificates()) == 0 && len(c.GetTlsCertificateSdsSecretConfigs()) == 0 {
		s.Field("common_tls_context").Errorf("No TLS certificates found for server context")
	}
	if d.require && !d.asksPeers() {
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
	keys, err := d.keys.open(env.LogFiles)
	if err != nil {
		return nil, err
	}
	t := &server{plan: d, stats: newStats(scope, "server"), keys: keys}
	t.supply = newSupply(&d.common, t.stats, d.serves)
	t.supply.begin(env.Secrets)
	return t, nil
}

// A serving is what handshakes of a server go by. It does not change.
type serving struct {
	*material
	certs  *selection
	config *tls.Config
}

// serves makes of secrets what handshakes go by.
func (d *downstream) serves(m *material) serving {
	s := serving{m, newSelection(m.certificates, d.fullScan, d.stapling), d.base()}
	s.config.SessionTicketsDisabled = d.noTickets
	if len(m.tickets) > 0 {
		s.config.SetSessionTicketKeys(m.tickets)
	}
	if m.validation.asks() || d.require {
		s.config.ClientAuth = tls.RequestClientCert
		if d.require || m.validation.demands() {
			s.config.ClientAuth = tls.RequireAnyClientCert
		}
		if v := m.validation; v != nil && v.roots != nil && !v.hideCAs {
			s.config.ClientCAs = v.roots
		}
	}
	return s
}

// A server is a downstream for one filter chain.
type server struct {
	plan   *downstream
	supply *supply[serving]
	stats  *stats
	keys   keyWriter
}

// Close implements io.Closer.
func (t *server) Close() error {
	t.supply.close()
	return nil
}

// A meeting is one handshake.
type meeting struct {
	*serving
	server    *server
	wire      *wire
	local     *certificate
	validated bool
	met       *filter.TLS // what is known of a client whose certificate was not accepted
}

// Wrap implements filter.Transport.
func (t *server) Wrap(s filter.Stream, info *filter.Info, deadline time.Time) (filter.Stream, error) {
	now := t.supply.now.Load()
	if now == nil {
		t.stats.notReady.Add(1)
		info.More().DownFailure = notSupplied.reason
		return nil, notSupplied
	}
	m := &meeting{serving: now, server: t}
	cfg := now.config.Clone()
	cfg.GetConfigForClient = m.adapt(cfg)
	cfg.GetCertificate = m.choose
	cfg.VerifyConnection = m.verify
	cfg.WrapSession, cfg.UnwrapSession = m.wrapSession, m.unwrapSession
	cfg.KeyLogWriter = t.keys.of(info.Local, info.Remote)

	m.wire = newWire(s)
	c := &Conn{wire: m.wire, tls: tls.Server(m.wire, cfg)}
	err := shake(c, deadline, nil)
	m.wire.holdNoMore()
	if err != nil {
		f := explain(err)
		if c.tls.ConnectionState().Version == 0 {
			f = explainHello(err)
		}
		t.stats.failed(f)
		info.More().DownFailure, info.Extra.DownTLS = f.reason, m.known(c)
		return nil, f
	}
	m.settle(c, info)
	return c, nil
}

// known is what is said of a connection whose handshake failed: without a version it is
// that of TLS 1.2 (Envoy).
func (m *meeting) known(c *Conn) *filter.TLS {
	if m.met == nil {
		m.met = &filter.TLS{Version: cmp.Or(versionName(c.tls.ConnectionState().Version), versionName(tls.VersionTLS12))}
	}
	return m.met
}

// adapt makes of the configuration one for what a client says: ALPN is left out where the client
// and this side have none in common (Envoy goes on without, crypto/tls would fail), and a
// certificate may have parameters of its own.
func (m *meeting) adapt(cfg *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		strange := len(cfg.NextProtos) > 0 && len(h.SupportedProtos) > 0 &&
			!slices.ContainsFunc(h.SupportedProtos, func(p string) bool { return slices.Contains(cfg.NextProtos, p) })
		var own *params
		if m.certs.params {
			m.local = m.certs.choose(h, asksStaple(h))
			own = m.local.params
		}
		if !strange && own == nil {
			return nil, nil
		}
		adapted := cfg.Clone()
		if strange {
			adapted.NextProtos = nil
		}
		if own != nil {
			own.apply(adapted)
		}
		return adapted, nil
	}
}

func asksStaple(h *tls.ClientHelloInfo) bool {
	return slices.Contains(h.Extensions, extensionStatusRequest)
}

// choose returns the certificate that the client is shown.
func (m *meeting) choose(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	asks := asksStaple(h)
	if m.local == nil {
		m.local = m.certs.choose(h, asks)
	}
	return m.server.stats.staple(m.local, asks, m.server.plan.stapling)
}

// verify looks at the client's certificate, also of a session that is resumed.
func (m *meeting) verify(s tls.ConnectionState) (err error) {
	if len(s.PeerCertificates) == 0 {
		return nil
	}
	if err := keyUsage(s.PeerCertificates[0]); err != nil {
		return err
	}
	if m.validation == nil {
		return nil
	}
	m.validated, err = m.validation.verify(s.PeerCertificates, x509.ExtKeyUsageClientAuth, askedNames{})
	if err != nil {
		met := describe(&s)
		m.met = &met
	}
	return err
}

// settle notes what is known after the handshake.
func (m *meeting) settle(c *Conn, info *filter.Info) {
	s := c.tls.ConnectionState()
	c.info = describe(&s)
	c.info.Broken = c.brokenBy
	c.info.Validated, c.info.Took = m.validated, time.Since(info.Start)
	if m.local != nil {
		c.info.Local = m.local.Leaf
	} else if len(m.certs.all) == 1 {
		c.info.Local = m.certs.all[0].Leaf
	}
	m.server.stats.shook(&c.info, &s)
	info.More().DownTLS = &c.info
}

func (m *meeting) wrapSession(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
	if cs.Version == tls.VersionTLS13 {
		m.wire.hold()
	}
	ss.Extra = append(ss.Extra, sessionStamp(m.id, time.Now()))
	return m.config.EncryptTicket(cs, ss)
}

// unwrapSession refuses sessions that are too old, or that began where other things were
// asked of the client.
func (m *meeting) unwrapSession(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	ss, err := m.config.DecryptTicket(ticket, cs)
	if err != nil || ss == nil || !stampHolds(ss.Extra, m.id, m.server.plan.lifetime, time.Now()) {
		return nil, err
	}
	return ss, nil
}
