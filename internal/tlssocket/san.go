package tlssocket

import (
	"crypto/x509"
	"encoding/asn1"
	"net/netip"
	"strings"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// A sanMatcher asks a certificate for a subject alternative name.
type sanMatcher func(*sans) bool

// sans are the subject alternative names of a certificate, as text. Their lengths are
// those of the certificate: a NUL is a byte as any other.
type sans struct {
	dns, uri, email, ip []string
	other               map[string][]string // by OID
}

func compileSAN(s *extension.Scope, m *tlsv3.SubjectAltNameMatcher) sanMatcher {
	sanFields.Check(s, m)
	at := s.Field("matcher")
	match := httpmatch.String(at, m.GetMatcher())
	switch m.GetSanType() {
	case tlsv3.SubjectAltNameMatcher_DNS:
		if exact, ok := m.GetMatcher().GetMatchPattern().(*matcherv3.StringMatcher_Exact); ok {
			return func(n *sans) bool { return anyOf(n.dns, func(have string) bool { return covers(have, exact.Exact) }) }
		}
		return func(n *sans) bool { return anyOf(n.dns, match) }
	case tlsv3.SubjectAltNameMatcher_URI:
		return func(n *sans) bool { return anyOf(n.uri, match) }
	case tlsv3.SubjectAltNameMatcher_EMAIL:
		return func(n *sans) bool { return anyOf(n.email, match) }
	case tlsv3.SubjectAltNameMatcher_IP_ADDRESS:
		return func(n *sans) bool { return anyOf(n.ip, match) }
	case tlsv3.SubjectAltNameMatcher_OTHER_NAME:
		oid := m.GetOid()
		if oid == "" {
			s.Field("oid").Errorf("Failed to create string SAN matcher of type OTHER_NAME: an oid is required")
		}
		return func(n *sans) bool { return anyOf(n.other[oid], match) }
	}
	s.Field("san_type").Errorf("value must not be SAN_TYPE_UNSPECIFIED")
	return func(*sans) bool { return false }
}

// olderSAN is a matcher that is for names of all kinds.
func olderSAN(s *extension.Scope, m *matcherv3.StringMatcher) sanMatcher {
	match := httpmatch.String(s, m)
	exact, isExact := m.GetMatchPattern().(*matcherv3.StringMatcher_Exact)
	return func(n *sans) bool {
		dns := match
		if isExact {
			dns = func(have string) bool { return covers(have, exact.Exact) }
		}
		return anyOf(n.dns, dns) || anyOf(n.uri, match) || anyOf(n.email, match) || anyOf(n.ip, match)
	}
}

// named asks for one of a list of names of any kind, as connections ask for them.
func named(list []string) sanMatcher {
	return func(n *sans) bool {
		for _, want := range list {
			equal := func(have string) bool { return have == want }
			if anyOf(n.dns, func(have string) bool { return covers(have, want) }) || anyOf(n.uri, equal) ||
				anyOf(n.email, equal) || anyOf(n.ip, equal) {
				return true
			}
		}
		return false
	}
}

func anyOf(list []string, f func(string) bool) bool {
	for _, v := range list {
		if f(v) {
			return true
		}
	}
	return false
}

// covers reports whether a DNS name of a certificate, perhaps with a wildcard in its first
// label, is for a name (RFC 6125, as Envoy reads it: no wildcard in an A-label, none for
// a top-level domain).
func covers(pattern, name string) bool {
	pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	if pattern == name {
		return true
	}
	label, rest, ok := strings.Cut(pattern, ".")
	have, parent, ok2 := strings.Cut(name, ".")
	if !ok || !ok2 || rest != parent || !strings.Contains(rest, ".") || strings.HasPrefix(label, "xn--") {
		return false
	}
	before, after, ok := strings.Cut(label, "*")
	return ok && !strings.Contains(after, "*") && len(have) >= len(before)+len(after)+1 &&
		strings.HasPrefix(have, before) && strings.HasSuffix(have, after)
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// sansOf reads the names as they stand in the certificate: crypto/x509 parses URIs, and
// leaves other names aside.
func sansOf(c *x509.Certificate) *sans {
	n := new(sans)
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
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

// add takes a GeneralName (RFC 5280, 4.2.1.6).
func (n *sans) add(tag int, b []byte) {
	switch tag {
	case 0:
		if oid, text, ok := otherName(b); ok {
			if n.other == nil {
				n.other = make(map[string][]string)
			}
			n.other[oid] = append(n.other[oid], text)
		}
	case 1:
		n.email = append(n.email, string(b))
	case 2:
		n.dns = append(n.dns, string(b))
	case 6:
		n.uri = append(n.uri, string(b))
	case 7:
		if ip, ok := netip.AddrFromSlice(b); ok {
			n.ip = append(n.ip, ip.String())
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
