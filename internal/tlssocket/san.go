package tlssocket

import (
	"crypto/x509"
	"strings"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/certtext"
	"github.com/ginnel/ginnel/internal/httpmatch"
)

// A sanMatcher asks a certificate for a subject alternative name.
type sanMatcher func(*certtext.Names) bool

// CompileSAN compiles a matcher of the subject alternative names of a certificate.
func CompileSAN(s *extension.Scope, m *tlsv3.SubjectAltNameMatcher) func(*certtext.Names) bool {
	return compileSAN(s, m)
}

func compileSAN(s *extension.Scope, m *tlsv3.SubjectAltNameMatcher) sanMatcher {
	sanFields.Check(s, m)
	at := s.Field("matcher")
	match := httpmatch.String(at, m.GetMatcher())
	switch m.GetSanType() {
	case tlsv3.SubjectAltNameMatcher_DNS:
		if exact, ok := m.GetMatcher().GetMatchPattern().(*matcherv3.StringMatcher_Exact); ok {
			return func(n *certtext.Names) bool {
				return anyOf(n.DNS, func(have string) bool { return covers(have, exact.Exact) })
			}
		}
		return func(n *certtext.Names) bool { return anyOf(n.DNS, match) }
	case tlsv3.SubjectAltNameMatcher_URI:
		return func(n *certtext.Names) bool { return anyOf(n.URI, match) }
	case tlsv3.SubjectAltNameMatcher_EMAIL:
		return func(n *certtext.Names) bool { return anyOf(n.Email, match) }
	case tlsv3.SubjectAltNameMatcher_IP_ADDRESS:
		return func(n *certtext.Names) bool { return anyOf(n.IP, match) }
	case tlsv3.SubjectAltNameMatcher_OTHER_NAME:
		oid := m.GetOid()
		if oid == "" {
			s.Field("oid").Errorf("Failed to create string SAN matcher of type OTHER_NAME: an oid is required")
		} else if _, err := x509.ParseOID(oid); err != nil {
			s.Field("oid").Errorf("Failed to create SAN matcher for OTHER_NAME with OID: %s: numbers with dots between them are expected", oid)
		}
		return func(n *certtext.Names) bool { return anyOf(n.Other[oid], match) }
	}
	s.Field("san_type").Errorf("value must not be SAN_TYPE_UNSPECIFIED")
	return func(*certtext.Names) bool { return false }
}

// olderSAN is a matcher that is for names of all kinds.
func olderSAN(s *extension.Scope, m *matcherv3.StringMatcher) sanMatcher {
	match := httpmatch.String(s, m)
	exact, isExact := m.GetMatchPattern().(*matcherv3.StringMatcher_Exact)
	return func(n *certtext.Names) bool {
		dns := match
		if isExact {
			dns = func(have string) bool { return covers(have, exact.Exact) }
		}
		return anyOf(n.DNS, dns) || anyOf(n.URI, match) || anyOf(n.Email, match) || anyOf(n.IP, match)
	}
}

// named asks for one of a list of names of any kind, as connections ask for them.
func named(list []string) sanMatcher {
	return func(n *certtext.Names) bool {
		for _, want := range list {
			equal := func(have string) bool { return have == want }
			if anyOf(n.DNS, func(have string) bool { return covers(have, want) }) || anyOf(n.URI, equal) ||
				anyOf(n.Email, equal) || anyOf(n.IP, equal) {
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
