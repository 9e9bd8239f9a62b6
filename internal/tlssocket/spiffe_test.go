package tlssocket

import (
	"crypto/x509"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/ginnel/ginnel/internal/certtext"
)

// A peer is verified by the authorities of its own trust domain, whoever else is trusted.
func TestSPIFFE(t *testing.T) {
	one, two := issue(t, nil, authority), issue(t, nil, authority)
	v := &validation{maxDepth: 100}
	for name, ca := range map[string]*issued{"one.test": one, "two.test": two} {
		certs := chainOf(ca)
		v.domains = append(v.domains, trustDomain{name, name + ": pem", certs, v.pool(certs)})
		v.authorities = append(v.authorities, certs...)
	}
	v.sans = []sanMatcher{func(n *certtext.Names) bool {
		return len(n.DNS) == 0 && anyOf(n.URI, func(u string) bool { return u == "spiffe://one.test/w" || u == "spiffe://two.test/w" })
	}}
	svid := func(by *issued, change func(*x509.Certificate), uris ...string) *issued {
		return issue(t, by, func(c *x509.Certificate) {
			c.DNSNames = []string{"not.looked.at"}
			for _, text := range uris {
				u, err := url.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				c.URIs = append(c.URIs, u)
			}
			if change != nil {
				change(c)
			}
		})
	}
	const id, other = "spiffe://one.test/w", "spiffe://two.test/w"
	const chain, precheck, store = "verify cert failed: X509_verify_cert: certificate verification error at depth 0: ", "verify cert failed: cert precheck", "verify cert failed: no trust bundle store"
	for name, c := range map[string]struct {
		leaf *issued
		want string // "": good
	}{
		"of one":                   {svid(one, nil, id), ""},
		"of two":                   {svid(two, nil, other), ""},
		"by an authority of two":   {svid(two, nil, id), chain + "unable to get local issuer certificate"},
		"of neither":               {svid(one, nil, "spiffe://three.test/w"), store},
		"no URI":                   {svid(one, nil), store},
		"another scheme":           {svid(one, nil, "https://one.test/w"), store},
		"no path":                  {svid(one, nil, "spiffe://one.test"), store},
		"the first of two":         {svid(one, nil, id, other), ""},
		"not the first of two":     {svid(two, nil, id, other), chain + "unable to get local issuer certificate"},
		"another name":             {svid(one, nil, "spiffe://one.test/v"), "verify cert failed: SAN match"},
		"an authority":             {svid(one, authority, id), precheck},
		"no key usage":             {svid(one, func(c *x509.Certificate) { c.KeyUsage = 0 }, id), precheck},
		"it may sign certificates": {svid(one, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, id), precheck},
		"expired":                  {svid(one, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, id), chain + "certificate has expired"},
		"for servers":              {svid(one, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, id), ""},
	} {
		for range 2 { // the second time from memory
			good, err := v.verify(chainOf(c.leaf), x509.ExtKeyUsageClientAuth, askedNames{})
			var f *flaw
			errors.As(err, &f)
			if good != (c.want == "") || (f == nil) != good || f != nil && f.detail != c.want {
				t.Errorf("%s: %v, %v", name, good, err)
			}
		}
	}
	if !v.demands() {
		t.Error("a client may come without a certificate")
	}
	if _, err := v.verify(chainOf(svid(one, nil, id)), x509.ExtKeyUsageServerAuth, askedNames{list: []string{"a.example"}}); err == nil {
		t.Error("the name that a connection asks for is not looked at")
	}
}
