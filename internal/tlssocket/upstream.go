package tlssocket

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/clienthello"
)

// An upstream is a compiled UpstreamTlsContext. It implements extension.UpstreamTransport.
type upstream struct {
	common
	sni           string
	hostSNI       bool // the host's name in place of sni, if it has one
	checkSNI      bool // the host's certificate must be for the name that was asked for
	renegotiation bool
	sessions      int // that are kept; 0: none are resumed
}

var (
	_ extension.UpstreamTransport = (*upstream)(nil)
	_ extension.UpstreamFactory   = (*upstream)(nil)
	_ extension.Negotiator        = (*upstream)(nil)
	_ extension.LogWriter         = (*upstream)(nil)
)

func compileUpstream(s *extension.Scope, m *tlsv3.UpstreamTlsContext) extension.UpstreamTransport {
	upstreamFields.Check(s, m)
	u := &upstream{
		common: compileCommon(s.Field("common_tls_context"), m.GetCommonTlsContext(), true, noStapling),
		sni:    m.GetSni(), hostSNI: m.GetAutoHostSni(), checkSNI: m.GetAutoSniSanValidation(),
		renegotiation: m.GetAllowRenegotiation(), sessions: 1,
	}
	if len(u.sni) > 255 {
		s.Field("sni").Errorf("value length must be at most 255 bytes")
	}
	if strings.IndexByte(u.sni, 0) >= 0 {
		s.Field("sni").Errorf("SNI names containing NULL-byte are not allowed")
	}
	if n := m.GetMaxSessionKeys(); n != nil {
		u.sessions = int(n.Value)
	}
	if len(u.certificates)+u.fetchedCerts() > 1 {
		s.Field("common_tls_context").Errorf("Multiple TLS certificates are not supported for client contexts")
	}
	u.needsAuthority = u.checkSNI
	if u.checkSNI && !u.fetchesTrust() && (u.validation == nil || u.validation.authorities == nil) {
		s.Field("auto_sni_san_validation").Errorf("'auto_sni_san_validation' was configured without a validation context with a trusted CA")
	}
	return u
}

// Transparent implements extension.UpstreamTransport.
func (*upstream) Transparent() bool { return false }

// Passthrough implements extension.UpstreamTransport.
func (*upstream) Passthrough() ([]extension.MetadataSource, bool) { return nil, false }

// Negotiates implements extension.Negotiator.
func (*upstream) Negotiates() bool { return true }

// LogPaths implements extension.LogWriter.
func (u *upstream) LogPaths() []string {
	if u.keys == nil {
		return nil
	}
	return []string{u.keys.path}
}

// NewUpstream implements extension.UpstreamFactory.
func (u *upstream) NewUpstream(env *extension.UpstreamEnv) filter.UpstreamTransport {
	c := &client{plan: u, stats: newStats(env.Stats, "client")}
	c.keys, _ = u.keys.open(env.LogFiles) // the cluster has opened it: see LogPaths
	c.supply = newSupply(&u.common, c.stats, u.begins)
	c.supply.begin(env.Secrets)
	return c
}

// An asking is what handshakes of a client go by. It does not change.
type asking struct {
	*material
	config *tls.Config
}

// begins makes of secrets what handshakes go by. Sessions begin anew with it.
func (u *upstream) begins(m *material) asking {
	a := asking{m, u.base()}
	a.config.InsecureSkipVerify = true // verify does it
	if u.renegotiation {
		a.config.Renegotiation = tls.RenegotiateFreelyAsClient
	}
	if u.sessions > 0 {
		a.config.ClientSessionCache = tls.NewLRUClientSessionCache(u.sessions)
	}
	return a
}

// A client is an upstream for one cluster.
type client struct {
	plan   *upstream
	supply *supply[asking]
	stats  *stats
	keys   keyWriter
}

// Close implements io.Closer.
func (t *client) Close() error {
	t.supply.close()
	return nil
}

// A calling is one handshake of a client.
type calling struct {
	*asking
	names     askedNames
	heard     bool // the host has shown a certificate
	validated bool
	local     *x509.Certificate // nil: none was asked for
}

// Wrap implements filter.UpstreamTransport.
func (t *client) Wrap(s filter.Stream, o *filter.TransportOptions, deadline time.Time, cancel <-chan struct{}) (filter.Stream, error) {
	begun := time.Now()
	now := t.supply.now.Load()
	if now == nil {
		t.stats.notReady.Add(1)
		return nil, notSupplied
	}
	cfg := now.config.Clone()
	cfg.ServerName = t.serverName(o)
	switch {
	case o.Protocols != nil:
		cfg.NextProtos = o.Protocols
	case len(cfg.NextProtos) == 0:
		cfg.NextProtos = o.Fallback
	}
	cfg.KeyLogWriter = t.keys.of(s.LocalAddr(), s.RemoteAddr())
	a := &calling{asking: now, names: askedNames{list: o.ServerSANs}}
	if a.names.list == nil && t.plan.checkSNI && cfg.ServerName != "" {
		a.names = askedNames{[]string{cfg.ServerName}, true}
	}
	cfg.VerifyConnection, cfg.GetClientCertificate = a.verify, a.show

	w := newWire(s)
	c := &Conn{wire: w, tls: tls.Client(w, cfg)}
	if err := shake(c, deadline, cancel); err != nil {
		f := explain(err)
		if !a.heard {
			f.reason = strings.Replace(f.reason, refusal, refusal+refusedHello, 1)
		}
		t.stats.failed(f)
		return nil, f
	}
	cs := c.tls.ConnectionState()
	c.info = describe(&cs)
	c.info.ServerName, c.info.Validated, c.info.Local, c.info.Took = cfg.ServerName, a.validated, a.local, time.Since(begun)
	t.stats.shook(&c.info, &cs)
	return c, nil
}

// verify looks at the host's certificate, also of a session that is resumed.
func (a *calling) verify(cs tls.ConnectionState) (err error) {
	a.heard = true
	if err := keyUsage(cs.PeerCertificates[0]); err != nil {
		return err
	}
	a.validated, err = a.validation.verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, a.names)
	return err
}

// show returns the certificate that the host has asked for; without one there is none.
func (a *calling) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if len(a.certificates) == 0 {
		return new(tls.Certificate), nil
	}
	own := a.certificates[0]
	a.local = own.Leaf
	return &own.Certificate, nil
}

var refusal = clienthello.AlertName(40) // handshake_failure

// refusedHello is what BoringSSL adds where a server's first word is an alert.
var refusedHello = fmt.Sprintf("|%d:SSL routines:OPENSSL_internal:HANDSHAKE_FAILURE_ON_CLIENT_HELLO", libSSL|154)

// serverName is what the host is asked for: an address is not sent (RFC 6066).
func (t *client) serverName(o *filter.TransportOptions) string {
	switch {
	case o.ServerName != "":
		return o.ServerName
	case t.plan.hostSNI && o.Host != nil && o.Host.Hostname != "" && net.ParseIP(o.Host.Hostname) == nil:
		return o.Host.Hostname
	}
	return t.plan.sni
}
