package clienthello_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/internal/clienthello"
)

// browser is the size of what browsers send: a key share of ML-KEM makes it 1.7 KB.
func browser() []byte {
	return rec(hello(ext(0x1a1a), sni("www.example.com"), ext(23), ext(0xff01, 0), ext(10, vec16(list(0x2a2a, 4588, 29, 23, 24)...)...),
		ext(11, 1, 0), ext(35), alpn("h2", "http/1.1"), ext(5, 1, 0, 0, 0, 0), ext(13, vec16(list(0x403, 0x804, 0x401, 0x503)...)...),
		ext(51, make([]byte, 1263)...), ext(45, 1, 1), versions(0x3a3a, 0x0304, 0x0303), ext(21, make([]byte, 200)...)))
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct {
		name string
		step int
		f    func(*clienthello.Hello)
	}{
		{"whole", 1 << 20, func(*clienthello.Hello) {}},
		{"bytes", 1, func(*clienthello.Hello) {}},
		{"ja3", 1 << 20, func(h *clienthello.Hello) { h.JA3() }},
		{"ja4", 1 << 20, func(h *clienthello.Hello) { h.JA4() }},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := browser()
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				h, _, _, err := parseAll(p, c.step)
				if err != nil {
					b.Fatal(err)
				}
				c.f(h)
			}
		})
	}
}

// TestAllocations: a hello in one record costs its strings and nothing else.
func TestAllocations(t *testing.T) {
	p := browser()
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := new(clienthello.Parser).Parse(p); err != nil {
			t.Error(err)
		}
	}); n > 6 { // the parser, the hello, the name, two protocols and their list
		t.Errorf("%v allocations", n)
	}
}

// TestClientOfGo reads what crypto/tls sends.
func TestClientOfGo(t *testing.T) {
	c, s := net.Pipe()
	defer c.Close()
	go func() {
		tls.Client(c, &tls.Config{ServerName: "go.example", NextProtos: []string{"a", "b"}, InsecureSkipVerify: true}).Handshake()
	}()
	p := make([]byte, 16384)
	n, err := s.Read(p)
	s.Close()
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := new(clienthello.Parser).Parse(p[:n])
	if err != nil || h.ServerName != "go.example" || len(h.Protocols) != 2 || !strings.HasPrefix(h.JA4(), "t13d") {
		t.Errorf("%+v, %v", h, err)
	}
}
