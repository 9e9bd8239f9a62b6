// Package certtext says of certificates what Envoy says of them: in logs, headers and
// matchers.
package certtext

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"net/netip"
	"strings"
)

// attributes are the short names of BoringSSL.
var attributes = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
	"2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN", "2.5.4.43": "initials", "2.5.4.46": "dnQualifier",
	"1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
}

// Name returns a subject or issuer, given as DER, in the form of RFC 2253: the last part
// comes first. "" is what cannot be read.
func Name(der []byte) string {
	var seq pkix.RDNSequence
	if _, err := asn1.Unmarshal(der, &seq); err != nil {
		return ""
	}
	var b strings.Builder
	for i := len(seq) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		for j, a := range seq[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			attribute(&b, &a)
		}
	}
	return b.String()
}

func attribute(b *strings.Builder, a *pkix.AttributeTypeAndValue) {
	name, known := attributes[a.Type.String()]
	text, isText := a.Value.(string)
	if !known {
		name = a.Type.String()
	}
	b.WriteString(name)
	b.WriteByte('=')
	if !known || !isText {
		der, _ := asn1.Marshal(a.Value)
		b.WriteByte('#')
		b.WriteString(strings.ToUpper(hex.EncodeToString(der)))
		return
	}
	for i := range len(text) {
		escape(b, text[i], i == 0, i == len(text)-1)
	}
}

func escape(b *strings.Builder, c byte, first, last bool) {
	const digits = "0123456789ABCDEF"
	switch {
	case c < ' ' || c >= 0x7f:
		b.WriteByte('\\')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
		return
	case strings.IndexByte(`,+"\<>;`, c) >= 0, c == ' ' && (first || last), c == '#' && first:
		b.WriteByte('\\')
	}
	b.WriteByte(c)
}

// Serial returns the serial number in hexadecimal.
func Serial(c *x509.Certificate) string {
	return hex.EncodeToString(c.SerialNumber.Bytes())
}

// SHA256 returns the fingerprint of a certificate.
func SHA256(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// SHA1 returns the older fingerprint.
func SHA1(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw)
	return hex.EncodeToString(sum[:])
}

// PEM returns certificates, URL encoded as in x-forwarded-client-cert.
func PEM(certs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return urlEncoding.Replace(b.String())
}

// urlEncoding is for what Envoy encodes of PEM.
var urlEncoding = strings.NewReplacer("\n", "%0A", " ", "%20", "+", "%2B", "/", "%2F", "=", "%3D")

// Names are the subject alternative names of a certificate, as text. Their lengths are
// those of the certificate: a NUL is a byte as any other.
type Names struct {
	DNS, URI, Email, IP []string
	Other               map[string][]string // by OID
}

// SubjectAltName is the OID of the names of a certificate.
var SubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// NamesOf reads the names as they stand in the certificate: crypto/x509 parses URIs, and
// leaves other names aside.
func NamesOf(c *x509.Certificate) *Names {
	n := new(Names)
	for _, e := range c.Extensions {
		if !e.Id.Equal(SubjectAltName) {
			continue
		}
		var seq, v asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &seq); err != nil {
			return n
		}
		for rest := seq.Bytes; len(rest) > 0; {
			var err error
			if rest, err = asn1.Unmarshal(rest, &v); err != nil {
				return n
			}
			if v.Class == asn1.ClassContextSpecific {
				n.add(v.Tag, v.Bytes)
			}
		}
	}
	return n
}

// All returns every name, in Envoy's order of kinds.
func (n *Names) All() (all []string) {
	all = append(all, n.DNS...)
	all = append(all, n.URI...)
	all = append(all, n.Email...)
	return append(all, n.IP...)
}

// add takes a GeneralName (RFC 5280, 4.2.1.6).
func (n *Names) add(tag int, b []byte) {
	switch tag {
	case 0:
		if oid, text, ok := otherName(b); ok {
			if n.Other == nil {
				n.Other = make(map[string][]string)
			}
			n.Other[oid] = append(n.Other[oid], text)
		}
	case 1:
		n.Email = append(n.Email, string(b))
	case 2:
		n.DNS = append(n.DNS, string(b))
	case 6:
		n.URI = append(n.URI, string(b))
	case 7:
		if ip, ok := netip.AddrFromSlice(b); ok {
			n.IP = append(n.IP, ip.String())
		}
	}
}

func otherName(b []byte) (oid, text string, ok bool) {
	var id asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(b, &id)
	if err != nil {
		return "", "", false
	}
	var outer, v asn1.RawValue
	if _, err := asn1.Unmarshal(rest, &outer); err != nil {
		return "", "", false
	}
	if _, err := asn1.Unmarshal(outer.Bytes, &v); err != nil {
		return "", "", false
	}
	return id.String(), string(v.Bytes), true
}
