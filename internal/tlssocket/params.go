package tlssocket

import (
	"crypto/tls"
	"slices"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
)

// params are what a context, or one of its certificates, agrees to.
type params struct {
	min, max uint16 // versions
	ciphers  []uint16
	curves   []tls.CurveID
}

// override replaces what m sets.
func (p *params) override(s *extension.Scope, m *tlsv3.TlsParameters) {
	if m == nil {
		return
	}
	paramsFields.Check(s, m)
	if v, ok := versions[m.GetTlsMinimumProtocolVersion()]; ok {
		p.min = v
	}
	if v, ok := versions[m.GetTlsMaximumProtocolVersion()]; ok {
		p.max = v
	}
	if len(m.GetCipherSuites()) > 0 {
		p.ciphers = nil
	}
	for i, entry := range m.GetCipherSuites() {
		for _, name := range cipherNames(entry) {
			id, ok := ciphers[name]
			if !ok {
				s.Field("cipher_suites").Index(i).Errorf("Failed to initialize cipher suites %s: crypto/tls has no %s", entry, name)
			} else if !slices.Contains(p.ciphers, id) {
				p.ciphers = append(p.ciphers, id)
			}
		}
	}
	if len(m.GetEcdhCurves()) > 0 {
		p.curves = nil
	}
	for i, name := range m.GetEcdhCurves() {
		id, ok := curves[name]
		if !ok {
			s.Field("ecdh_curves").Index(i).Errorf("Failed to initialize ECDH curves %s", name)
		}
		p.curves = append(p.curves, id)
	}
}

// apply sets them in a configuration.
func (p *params) apply(cfg *tls.Config) {
	cfg.MinVersion, cfg.MaxVersion, cfg.CipherSuites, cfg.CurvePreferences = p.min, p.max, p.ciphers, p.curves
}

// ofCertificate returns the parameters of connections that are shown a certificate; nil: those
// of the context. Envoy does not look at those of a client's.
func (c *common) ofCertificate(s *extension.Scope, m *tlsv3.TlsParameters) *params {
	switch {
	case m == nil:
		return nil
	case c.stapling == noStapling:
		s.Warnf("those of a client's certificate are not looked at")
		return nil
	}
	own := c.params
	own.override(s, m)
	if own.min > own.max {
		s.Errorf("Per-certificate tls_params: effective min protocol version exceeds effective max (considering inherited context bounds)")
	}
	return &own
}
