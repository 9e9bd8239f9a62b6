package tlssocket

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/ginnel/ginnel/filter"
)

// stats are those of one socket, under Envoy's names.
type stats struct {
	scope                                        filter.Scope
	connectionError, handshake, reused           filter.Counter
	noCertificate, noCert, verifyError           filter.Counter
	verifySAN, verifyHash                        filter.Counter
	ocspFailed, ocspOmitted, ocspResp, ocspRqust filter.Counter
	updated, notReady                            filter.Counter
}

// newStats makes the statistics in the scope of a listener or cluster; side is "server" or
// "client".
func newStats(in filter.Scope, side string) *stats {
	s, factory := in.Scope("ssl."), in.Scope(side+"_ssl_socket_factory.")
	notReady := map[string]filter.Counter{
		"server": factory.Counter("downstream_context_secrets_not_ready"),
		"client": factory.Counter("upstream_context_secrets_not_ready"),
	}
	return &stats{
		updated: factory.Counter("ssl_context_update_by_sds"), notReady: notReady[side],

		scope:           s,
		connectionError: s.Counter("connection_error"), handshake: s.Counter("handshake"), reused: s.Counter("session_reused"),
		noCertificate: s.Counter("no_certificate"), noCert: s.Counter("fail_verify_no_cert"),
		verifyError: s.Counter("fail_verify_error"), verifySAN: s.Counter("fail_verify_san"),
		verifyHash: s.Counter("fail_verify_cert_hash"),
		ocspFailed: s.Counter("ocsp_staple_failed"), ocspOmitted: s.Counter("ocsp_staple_omitted"),
		ocspResp: s.Counter("ocsp_staple_responses"), ocspRqust: s.Counter("ocsp_staple_requests"),
	}
}

// Envoy names certificates that are no secrets like this, all of them.
const (
	unnamed   = "unnamed_cert_e3b0c442"
	unnamedCA = "unnamed_ca_cert_e3b0c442"
)

// show tells of the certificates in use.
func (st *stats) show(m *material) {
	for _, c := range m.certificates {
		st.expires(cmp.Or(c.name, unnamed), c.Leaf)
	}
	if v := m.validation; v != nil && v.domains != nil {
		for i, a := range v.authorities {
			st.expires(fmt.Sprintf("unnamed_ca_cert_%d", i), a)
		}
	} else if v != nil && len(v.authorities) > 0 {
		st.expires(cmp.Or(v.name, unnamedCA), v.authorities[0])
	}
}

// expires shows when a certificate does. Of several of one name it is the last one.
func (st *stats) expires(name string, c *x509.Certificate) {
	g, ok := st.scope.Gauge("certificate." + name + ".expiration_unix_time_seconds").(interface{ Set(uint64) })
	if ok {
		g.Set(uint64(max(c.NotAfter.Unix(), 0)))
	}
}

// shook counts a handshake that was completed.
func (st *stats) shook(t *filter.TLS, cs *tls.ConnectionState) {
	st.handshake.Add(1)
	if t.Resumed {
		st.reused.Add(1)
	}
	if len(t.Peer) == 0 {
		st.noCertificate.Add(1)
	}
	st.scope.Counter("ciphers." + t.Cipher).Add(1)
	st.scope.Counter("versions." + t.Version).Add(1)
	if t.Group != "" {
		st.scope.Counter("curves." + t.Group).Add(1)
	}
	if name := peerSigned(cs); name != "" {
		st.scope.Counter("sigalgs." + name).Add(1)
	}
}

// failed counts one that was not.
func (st *stats) failed(f *failure) {
	switch f.kind {
	case failedTLS, failedKeyUsage:
		st.connectionError.Add(1)
	case failedMissing:
		st.noCert.Add(1)
	case failedChain:
		st.verifyError.Add(1)
	case failedSAN:
		st.verifySAN.Add(1)
	case failedHash:
		st.verifyHash.Add(1)
	}
}
