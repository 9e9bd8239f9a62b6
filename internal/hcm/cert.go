package hcm

import (
	"crypto/x509"
	"strings"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/certtext"
)

const forwardedCert = "x-forwarded-client-cert"

// certForwarding is forward_client_cert_details.
type certForwarding uint8

const (
	sanitizeCert certForwarding = iota
	forwardCertOnly
	appendCert
	setCert
	alwaysForwardCert
)

// certDetails is set_current_client_cert_details.
type certDetails struct{ cert, chain, subject, uri, dns, issuer bool }

func (r *requestOptions) certs(s *extension.Scope, m *hcmv3.HttpConnectionManager) {
	switch m.GetForwardClientCertDetails() {
	case hcmv3.HttpConnectionManager_FORWARD_ONLY:
		r.forwardCert = forwardCertOnly
	case hcmv3.HttpConnectionManager_APPEND_FORWARD:
		r.forwardCert = appendCert
	case hcmv3.HttpConnectionManager_SANITIZE_SET:
		r.forwardCert = setCert
	case hcmv3.HttpConnectionManager_ALWAYS_FORWARD_ONLY:
		r.forwardCert = alwaysForwardCert
	}
	d := m.GetSetCurrentClientCertDetails()
	certFields.Check(s.Field("set_current_client_cert_details"), d)
	r.certDetails = certDetails{
		cert: d.GetCert(), chain: d.GetChain(), subject: d.GetSubject().GetValue(), uri: d.GetUri(), dns: d.GetDns(), issuer: d.GetIssuer(),
	}
}

// tls is what is known of the client's TLS; nil: it has none.
func (c *conn) tls() *filter.TLS { return c.filter.Info.Rest().DownTLS }

// clientCert settles what x-forwarded-client-cert says.
func (s *stream) clientCert(h *httpmsg.Header, has bool) {
	o := &s.conn.service.config.Request
	t := s.conn.tls()
	known := t != nil && len(t.Peer) > 0
	switch {
	case o.forwardCert == alwaysForwardCert, o.forwardCert == forwardCertOnly && known:
		return
	case o.forwardCert == sanitizeCert, !known:
		if has {
			h.Del(forwardedCert)
		}
		return
	}
	said := s.conn.certSaid(o.certDetails, t)
	before, ok := h.Joined(forwardedCert)
	if o.forwardCert == appendCert && ok && before != "" {
		said = before + "," + said
	}
	h.Set(forwardedCert, said)
}

// certSaid is the element of the connection, which is the same for all its requests.
func (c *conn) certSaid(d certDetails, t *filter.TLS) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cert == nil {
		said := d.element(t)
		c.cert = &said
	}
	return *c.cert
}

// element describes both sides' certificates, in Envoy's order.
func (d certDetails) element(t *filter.TLS) string {
	var parts []string
	if t.Local != nil {
		if by := certtext.NamesOf(t.Local).URI; len(by) > 0 {
			parts = append(parts, "By="+by[0])
		}
	}
	leaf := t.Peer[0]
	parts = append(parts, "Hash="+certtext.SHA256(leaf))
	if d.cert {
		parts = append(parts, `Cert="`+certtext.PEM(leaf)+`"`)
	}
	if d.chain {
		parts = append(parts, `Chain="`+certtext.PEM(t.Peer...)+`"`)
	}
	if d.subject {
		parts = append(parts, `Subject="`+certtext.Name(leaf.RawSubject)+`"`)
	}
	parts = append(parts, d.names(leaf)...)
	if d.issuer {
		parts = append(parts, `Issuer="`+certtext.Name(leaf.RawIssuer)+`"`)
	}
	return strings.Join(parts, ";")
}

func (d certDetails) names(leaf *x509.Certificate) (parts []string) {
	n := certtext.NamesOf(leaf)
	if d.uri {
		for _, u := range n.URI {
			parts = append(parts, "URI="+u)
		}
		if len(n.URI) == 0 {
			parts = append(parts, "URI=")
		}
	}
	if d.dns {
		for _, name := range n.DNS {
			parts = append(parts, "DNS="+name)
		}
	}
	return parts
}
