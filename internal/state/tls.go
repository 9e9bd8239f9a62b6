package state

import (
	"crypto/x509"
	"maps"
	"strings"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/certtext"
)

// withTLS adds the operators of TLS to those of all connections.
func withTLS(all map[string]commandSpec) map[string]commandSpec {
	maps.Copy(all, map[string]commandSpec{
		"DOWNSTREAM_TRANSPORT_FAILURE_REASON": {bare, textOf(func(m moment) string {
			i := connection(m).Rest()
			why := i.DownFailure
			if t := i.DownTLS; why == "" && t != nil && t.Broken != nil {
				why = t.Broken()
			}
			return strings.ReplaceAll(why, " ", "_")
		})},
		"DOWNSTREAM_HANDSHAKE_DURATION": {bare, millis(func(m moment) (time.Duration, bool) {
			t := downTLS(m)
			if t == nil || t.Version == "" || t.Took == 0 {
				return 0, false
			}
			return t.Took, true
		})},
		"TLS_JA3_FINGERPRINT":  {bare, fingerprint(func(f *filter.Fingerprints) string { return f.JA3 })},
		"TLS_JA4_FINGERPRINT":  {bare, fingerprint(func(f *filter.Fingerprints) string { return f.JA4 })},
		"UPSTREAM_SERVER_NAME": {bare, tlsText(upTLS, func(t *filter.TLS) string { return t.ServerName })},

		"DOWNSTREAM_PEER_ISSUER":                 {bare, ofPeer(downTLS, func(c *x509.Certificate) string { return certtext.Name(c.RawIssuer) })},
		"DOWNSTREAM_PEER_SERIAL":                 {bare, ofPeer(downTLS, certtext.Serial)},
		"DOWNSTREAM_PEER_FINGERPRINT_256":        {bare, ofPeer(downTLS, certtext.SHA256)},
		"DOWNSTREAM_PEER_FINGERPRINT_1":          {bare, ofPeer(downTLS, certtext.SHA1)},
		"DOWNSTREAM_PEER_CHAIN_SERIALS":          {bare, ofChain(certtext.Serial)},
		"DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256": {bare, ofChain(certtext.SHA256)},
		"DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1":   {bare, ofChain(certtext.SHA1)},
		"DOWNSTREAM_PEER_ISSUER_SERIAL":          {bare, ofIssuer(certtext.Serial)},
		"DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256": {bare, ofIssuer(certtext.SHA256)},
		"DOWNSTREAM_LOCAL_SUBJECT":               {bare, ofLocal(downTLS, func(c *x509.Certificate) string { return certtext.Name(c.RawSubject) })},
		"UPSTREAM_PEER_ISSUER":                   {bare, ofPeer(upTLS, func(c *x509.Certificate) string { return certtext.Name(c.RawIssuer) })},
	})
	for side, tls := range map[string]func(moment) *filter.TLS{"DOWNSTREAM": downTLS, "UPSTREAM": upTLS} {
		maps.Copy(all, map[string]commandSpec{
			side + "_TLS_VERSION":       {bare, tlsText(tls, func(t *filter.TLS) string { return t.Version })},
			side + "_TLS_CIPHER":        {bare, tlsText(tls, func(t *filter.TLS) string { return t.Cipher })},
			side + "_TLS_GROUP":         {bare, tlsText(tls, func(t *filter.TLS) string { return t.Group })},
			side + "_TLS_SESSION_ID":    {bare, tlsText(tls, func(t *filter.TLS) string { return t.SessionID })},
			side + "_PEER_SUBJECT":      {bare, ofPeer(tls, func(c *x509.Certificate) string { return certtext.Name(c.RawSubject) })},
			side + "_PEER_CERT":         {bare, ofPeer(tls, func(c *x509.Certificate) string { return certtext.PEM(c) })},
			side + "_PEER_CERT_V_START": {argsOptional, peerClock(tls, func(c *x509.Certificate) time.Time { return c.NotBefore })},
			side + "_PEER_CERT_V_END":   {argsOptional, peerClock(tls, func(c *x509.Certificate) time.Time { return c.NotAfter })},
		})
		for kind, of := range map[string]func(*certtext.Names) []string{
			"URI": func(n *certtext.Names) []string { return n.URI }, "DNS": func(n *certtext.Names) []string { return n.DNS },
			"IP": func(n *certtext.Names) []string { return n.IP }, "EMAIL": func(n *certtext.Names) []string { return n.Email },
		} {
			names := func(c *x509.Certificate) string { return strings.Join(of(certtext.NamesOf(c)), ",") }
			if kind == "EMAIL" && side == "UPSTREAM" {
				continue // Envoy has none of it
			}
			all[side+"_PEER_"+kind+"_SAN"] = commandSpec{bare, ofPeer(tls, names)}
			all[side+"_LOCAL_"+kind+"_SAN"] = commandSpec{bare, ofLocal(tls, names)}
		}
	}
	return all
}

// connection is what a request came by, or the connection itself.
func connection(m moment) *filter.Info {
	if h := m.HTTP(); h != nil && h.Conn != nil {
		return h.Conn
	}
	return m.Info
}

func fingerprint(of func(*filter.Fingerprints) string) builder {
	return textOf(func(m moment) string {
		if f := connection(m).Rest().Inspected.Fingerprints; f != nil {
			return of(f)
		}
		return ""
	})
}

func downTLS(m moment) *filter.TLS { return connection(m).Rest().DownTLS }

func upTLS(m moment) *filter.TLS { return m.Rest().UpTLS }

func tlsText(tls func(moment) *filter.TLS, f func(*filter.TLS) string) builder {
	return textOf(func(m moment) string {
		if t := tls(m); t != nil {
			return f(t)
		}
		return ""
	})
}

func ofPeer(tls func(moment) *filter.TLS, f func(*x509.Certificate) string) builder {
	return tlsText(tls, func(t *filter.TLS) string {
		if len(t.Peer) == 0 {
			return ""
		}
		return f(t.Peer[0])
	})
}

func ofLocal(tls func(moment) *filter.TLS, f func(*x509.Certificate) string) builder {
	return tlsText(tls, func(t *filter.TLS) string {
		if t.Local == nil {
			return ""
		}
		return f(t.Local)
	})
}

// ofChain says something of each certificate that the client has sent.
func ofChain(f func(*x509.Certificate) string) builder {
	return tlsText(downTLS, func(t *filter.TLS) string {
		var all []string
		for _, c := range t.Peer {
			all = append(all, f(c))
		}
		return strings.Join(all, ",")
	})
}

// ofIssuer says something of the certificate after the client's own.
func ofIssuer(f func(*x509.Certificate) string) builder {
	return tlsText(downTLS, func(t *filter.TLS) string {
		if len(t.Peer) < 2 {
			return ""
		}
		return f(t.Peer[1])
	})
}

func peerClock(tls func(moment) *filter.TLS, f func(*x509.Certificate) time.Time) builder {
	return func(a args) (operator, error) {
		c, err := newClock(a.text, false)
		if err != nil {
			return operator{}, err
		}
		return operator{text: func(dst []byte, m moment) ([]byte, bool) {
			t := tls(m)
			if t == nil || len(t.Peer) == 0 {
				return dst, false
			}
			return c.append(dst, f(t.Peer[0])), true
		}}, nil
	}
}
