package clienthello_test

import (
	"testing"

	"github.com/ginnel/ginnel/internal/clienthello"
)

// FuzzParse: no bytes make the parser fail, what it says does not depend on the pieces
// in which they come, and what it asks for is what it goes on with.
func FuzzParse(f *testing.F) {
	f.Add(rec(hello(sni("a.example"), alpn("h2"))), byte(1))
	f.Add(v2(0x0301, "\x00\x00\x2f", 4, 16, ""), byte(3))
	f.Add(cat(warning(), rec(nil), rec(hello()[:9]), rec(hello()[9:])), byte(5))
	f.Fuzz(func(t *testing.T, p []byte, step byte) {
		h, need, err := new(clienthello.Parser).Parse(p)
		switch {
		case h == nil && err == nil && need <= len(p):
			t.Fatalf("%d bytes are not enough, %d would be", len(p), need)
		case h != nil && (err == nil) != (h.Version >= 0x0301 && h.Version <= 0x0304):
			t.Fatalf("version %x, %v", h.Version, err)
		}
		if h != nil {
			h.JA4()
		}
		h2, need2, x, err2 := parseAll(p, int(step)+1)
		if reason(h2, err2) != reason(h, err) || need2 != need || x.Seen() > len(p) {
			t.Fatalf("in pieces of %d: %s, needs %d; at once %s, %d", int(step)+1, reason(h2, err2), need2, reason(h, err), need)
		}
		if h != nil && (h.ServerName != h2.ServerName || h.JA3() != h2.JA3() || h.JA4() != h2.JA4()) {
			t.Fatalf("in pieces another hello: %q, %q", h2.ServerName, h.ServerName)
		}
		if h == nil && err == nil {
			follow(t, p)
		}
	})
}

// follow gives the parser only what it asks for.
func follow(t *testing.T, p []byte) {
	x := new(clienthello.Parser)
	for n := 0; n <= len(p); {
		h, need, err := x.Parse(p[:n])
		if h != nil || err != nil || need <= n {
			t.Fatalf("of %d bytes: %s, needs %d", n, reason(h, err), need)
		}
		n = need
	}
}
