package tlssocket

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/ginnel/ginnel/internal/certtext"
)

// An issued certificate with its key.
type issued struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

var serial int64

func issue(t testing.TB, by *issued, change func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issueFor(t, key, by, change)
}

func issueFor(t testing.TB, key *ecdsa.PrivateKey, by *issued, change func(*x509.Certificate)) *issued {
	t.Helper()
	serial++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "c"}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(tmpl)
	}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{c, key}
}

func authority(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	c.Subject.CommonName = "ca"
}

func trusting(cas ...*issued) *validation {
	v := &validation{maxDepth: 100}
	for _, c := range cas {
		v.authorities = append(v.authorities, c.Certificate)
	}
	v.roots = v.pool(v.authorities)
	return v
}

func chainOf(list ...*issued) (all []*x509.Certificate) {
	for _, c := range list {
		all = append(all, c.Certificate)
	}
	return all
}

func TestVerify(t *testing.T) {
	ca, other := issue(t, nil, authority), issue(t, nil, authority)
	mid := issue(t, ca, func(c *x509.Certificate) { authority(c); c.Subject.CommonName = "mid" })
	leaf, deep := issue(t, ca, nil), issue(t, mid, nil)
	old := issue(t, ca, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	})
	lenient := trusting(ca)
	lenient.expired = true
	lenient.roots = lenient.pool(lenient.authorities)
	shallow := trusting(ca)
	shallow.maxDepth = 0
	untrusting := trusting(other)
	untrusting.untrusted = true
	pinnedTo := &validation{hashes: [][sha256.Size]byte{sha256.Sum256(leaf.Raw)}}
	for name, c := range map[string]struct {
		v     *validation
		chain []*x509.Certificate
		good  bool
		kind  flawKind
	}{
		"by the authority":              {trusting(ca), chainOf(leaf), true, 0},
		"by another":                    {trusting(other), chainOf(leaf), false, flawChain},
		"by one in between":             {trusting(ca), chainOf(deep, mid), true, 0},
		"the one in between is missing": {trusting(ca), chainOf(deep), false, flawChain},
		"the one in between is trusted": {trusting(mid), chainOf(deep), true, 0},
		"itself is trusted":             {trusting(leaf), chainOf(leaf), true, 0},
		"too deep":                      {shallow, chainOf(deep, mid), false, flawChain},
		"expired":                       {trusting(ca), chainOf(old), false, flawChain},
		"expired, which is allowed":     {lenient, chainOf(old), true, 0},
		"untrusted, which is allowed":   {untrusting, chainOf(leaf), false, 0},
		"pinned":                        {pinnedTo, chainOf(leaf), true, 0},
		"not the pinned one":            {pinnedTo, chainOf(deep), false, flawHash},
		"nothing is asked":              {nil, chainOf(leaf), false, 0},
	} {
		for range 2 { // the second time from memory
			good, err := c.v.verify(c.chain, x509.ExtKeyUsageClientAuth, askedNames{})
			var f *flaw
			errors.As(err, &f)
			if good != c.good || (f == nil) != (c.kind == 0) || f != nil && f.kind != c.kind {
				t.Errorf("%s: %v, %v", name, good, err)
			}
		}
	}
}

// What was found good under one question is not taken for the answer to another.
func TestMemoryIsOfTheQuestion(t *testing.T) {
	ca := issue(t, nil, authority)
	leaf := issue(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"a.example", "b.example"} })
	v := trusting(ca)
	ask := func(names ...string) bool {
		_, err := v.verify(chainOf(leaf), x509.ExtKeyUsageServerAuth, askedNames{list: names})
		return err == nil
	}
	if !ask() || !ask("a.example") || ask("c.example") || !ask("c.example", "b.example") || ask("c.example") {
		t.Error("wrong")
	}
	if n := len(v.cache.good); n != 3 {
		t.Errorf("%d answers are kept, those of failures too?", n)
	}
}

func TestMemoryExpiresWithTheChain(t *testing.T) {
	var c chainCache
	now := time.Now()
	key := cacheKey(nil, []string{"x"})
	c.put(key, now.Add(time.Minute), now)
	if !c.has(key, now) || c.has(key, now.Add(time.Minute)) || len(c.good) != 0 {
		t.Error("it stays")
	}
	if c.put(key, now, now); len(c.good) != 0 {
		t.Error("what has expired is kept")
	}
	for i := range 2 * cacheChains {
		c.put([sha256.Size]byte{byte(i), byte(i >> 8)}, now.Add(time.Hour), now)
	}
	if len(c.good) > cacheChains {
		t.Errorf("%d are kept", len(c.good))
	}
}

func TestRevoked(t *testing.T) {
	ca := issue(t, nil, authority)
	mid := issue(t, ca, func(c *x509.Certificate) { authority(c); c.Subject.CommonName = "mid" })
	leaf, gone := issue(t, mid, nil), issue(t, mid, nil)
	list := func(by *issued, next time.Duration, of ...*issued) *x509.RevocationList {
		l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(next)}
		for _, c := range of {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
		}
		der, err := x509.CreateRevocationList(rand.Reader, l, by.Certificate, by.key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	ofMid, ofCA := list(mid, time.Hour, gone), list(ca, time.Hour)
	for name, c := range map[string]struct {
		leaf     *issued
		crls     []*x509.RevocationList
		leafOnly bool
		good     bool
	}{
		"not in it":                   {leaf, []*x509.RevocationList{ofMid, ofCA}, false, true},
		"in it":                       {gone, []*x509.RevocationList{ofMid, ofCA}, false, false},
		"none of the root's":          {leaf, []*x509.RevocationList{ofMid}, false, false},
		"none of the root's, nor any": {leaf, []*x509.RevocationList{ofMid}, true, true},
		"too old":                     {leaf, []*x509.RevocationList{list(mid, -time.Minute), ofCA}, false, false},
		"the one in between is in it": {leaf, []*x509.RevocationList{ofMid, list(ca, time.Hour, mid)}, false, false},
	} {
		v := trusting(ca)
		v.crls, v.leafCRL = c.crls, c.leafOnly
		if _, err := v.verify(chainOf(c.leaf, mid), x509.ExtKeyUsageClientAuth, askedNames{}); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.example", "a.example", true}, {"A.example", "a.EXAMPLE", true}, {"a.example", "b.example", false},
		{"*.a.example", "x.a.example", true}, {"*.a.example", "x.y.a.example", false}, {"*.a.example", "a.example", false},
		{"*.example", "a.example", false}, {"x*.a.example", "xy.a.example", true}, {"x*.a.example", "y.a.example", false},
		{"*x.a.example", "yx.a.example", true}, {"xn--*.a.example", "xn--y.a.example", false},
		{"a.*.example", "a.b.example", false}, {"*", "a", false}, {"a.example\x00.evil", "a.example", false},
	} {
		if got := covers(c.pattern, c.name); got != c.want {
			t.Errorf("%q covers %q: %v", c.pattern, c.name, got)
		}
	}
}

// A name is as long as the certificate says, whatever bytes it has.
func TestNamesWithZeroBytes(t *testing.T) {
	n := &certtext.Names{DNS: []string{"a.example\x00.evil"}, URI: []string{"spiffe://td/a\x00"}}
	if named([]string{"a.example"})(n) || named([]string{"spiffe://td/a"})(n) {
		t.Error("a name was cut at a zero byte")
	}
}
