package tlssocket

import (
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ginnel/ginnel/extension"
)

// A stapling is what a server does about OCSP responses.
type stapling uint8

const (
	lenientStapling stapling = iota // without one, and with one that has expired, there is none
	strictStapling                  // a certificate whose response has expired is not used
	mustStaple                      // each certificate has one
	noStapling                      // of clients
)

func staplingOf(p tlsv3.DownstreamTlsContext_OcspStaplePolicy) stapling {
	switch p {
	case tlsv3.DownstreamTlsContext_STRICT_STAPLING:
		return strictStapling
	case tlsv3.DownstreamTlsContext_MUST_STAPLE:
		return mustStaple
	}
	return lenientStapling
}

// An ocspResponse is what the authority says of one certificate. Its signature is the
// client's to look at.
type ocspResponse struct {
	der    []byte
	serial *big.Int
	from   time.Time
	until  time.Time // zero: it is never good
}

func (r *ocspResponse) good(now time.Time) bool { return r != nil && now.Before(r.until) }

// featureStatusRequest is the TLS feature by which a certificate asks for a response (RFC 7633).
const featureStatusRequest = 5

var oidFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

// staple reads the response of a certificate, and looks whether it must have one.
func (c *certificate) staple(s *extension.Scope, m *tlsv3.TlsCertificate, policy stapling) {
	if policy == noStapling {
		if m.GetOcspStaple() != nil {
			s.Field("ocsp_staple").Errorf("not supported: a client shows no OCSP response")
		}
		return
	}
	for _, e := range c.Leaf.Extensions {
		var features []int
		if _, err := asn1.Unmarshal(e.Value, &features); e.Id.Equal(oidFeature) && err == nil {
			c.must = slices.Contains(features, featureStatusRequest)
		}
	}
	d := m.GetOcspStaple()
	if d == nil {
		switch {
		case policy == mustStaple:
			s.Errorf("Required OCSP response is missing from TLS context")
		case c.must:
			s.Errorf("OCSP response is required for must-staple certificate")
		}
		return
	}
	at := s.Field("ocsp_staple")
	text, ok := read(at, d)
	if !ok {
		return
	}
	r, err := parseOCSP([]byte(text))
	switch {
	case err != nil:
		at.Errorf("%v", err)
	case r.serial.Cmp(c.Leaf.SerialNumber) != 0:
		at.Errorf("OCSP response does not match its TLS certificate")
	default:
		c.ocsp = r
	}
}

// extensionStatusRequest is that of a ClientHello that asks for a response.
const extensionStatusRequest = 5

var errStaple = errors.New("no OCSP response for a certificate that must have one")

// staple returns a certificate with its response, and counts.
func (st *stats) staple(c *certificate, asked bool, policy stapling) (*tls.Certificate, error) {
	if !asked {
		return &c.Certificate, nil
	}
	st.ocspRqust.Add(1)
	b, ok := c.stapled(policy, time.Now())
	switch {
	case !ok:
		st.ocspFailed.Add(1)
		return nil, errStaple
	case b == nil:
		st.ocspOmitted.Add(1)
		return &c.Certificate, nil
	}
	st.ocspResp.Add(1)
	with := c.Certificate
	with.OCSPStaple = b
	return &with, nil
}

// stapled returns the certificate as a client gets it that asks for a response, or does
// not. ok is false where the certificate must not be used.
func (c *certificate) stapled(policy stapling, now time.Time) (staple []byte, ok bool) {
	switch {
	case c.ocsp.good(now):
		return c.ocsp.der, true
	case policy == mustStaple, c.must, policy == strictStapling && c.ocsp != nil:
		return nil, false
	}
	return nil, true
}

// Structures of RFC 6960, 4.2.1.
type (
	ocspOuter struct {
		Status asn1.Enumerated
		Bytes  ocspBytes `asn1:"explicit,tag:0,optional"`
	}
	ocspBytes struct {
		Type     asn1.ObjectIdentifier
		Response []byte
	}
	ocspData struct {
		Version   int `asn1:"explicit,tag:0,default:0,optional"`
		Responder asn1.RawValue
		Produced  time.Time `asn1:"generalized"`
		Responses []ocspSingle
	}
	ocspSingle struct {
		ID         ocspID
		Status     asn1.RawValue
		ThisUpdate time.Time `asn1:"generalized"`
		NextUpdate time.Time `asn1:"generalized,explicit,tag:0,optional"`
	}
	ocspID struct {
		Algorithm asn1.RawValue
		Name, Key []byte
		Serial    *big.Int
	}
)

var oidBasicOCSP = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}

// parseOCSP reads a response as far as Envoy does.
func parseOCSP(der []byte) (*ocspResponse, error) {
	var outer ocspOuter
	rest, err := asn1.Unmarshal(der, &outer)
	switch {
	case err != nil:
		return nil, fmt.Errorf("OCSP response: %w", err)
	case len(rest) > 0:
		return nil, errors.New("Data contained more than a single OCSP response") //nolint:staticcheck // Envoy's text
	case outer.Status != 0:
		return nil, errors.New("OCSP response was unsuccessful")
	case !outer.Bytes.Type.Equal(oidBasicOCSP):
		return nil, fmt.Errorf("Unknown OCSP Response type with OID: %v", outer.Bytes.Type) //nolint:staticcheck // Envoy's text
	}
	var seq asn1.RawValue
	if _, err := asn1.Unmarshal(outer.Bytes.Response, &seq); err != nil {
		return nil, fmt.Errorf("OCSP response: %w", err)
	}
	var data ocspData
	if _, err := asn1.Unmarshal(seq.Bytes, &data); err != nil {
		return nil, fmt.Errorf("OCSP response: %w", err)
	}
	if len(data.Responses) != 1 {
		return nil, errors.New("OCSP Response must be for one certificate only")
	}
	one := &data.Responses[0]
	return &ocspResponse{der, one.ID.Serial, one.ThisUpdate, one.NextUpdate}, nil
}
