package tlssocket

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

// BenchmarkHandshake is both sides of a full handshake of TLS 1.3 with a client
// certificate; what the server does is in a goroutine of its own, as in a listener.
func BenchmarkHandshake(b *testing.B) {
	server, client := benchServer(b)
	b.ReportAllocs()
	for b.Loop() {
		one, other := sockets(b)
		done := make(chan error, 1)
		go func() {
			s, err := server.Wrap(one, new(filter.Info), time.Now().Add(10*time.Second))
			if err == nil {
				err = s.Close()
			}
			done <- err
		}()
		w := newWire(other)
		c := &Conn{wire: w, tls: tls.Client(w, client)}
		if err := c.tls.Handshake(); err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			b.Fatal(err)
		}
		c.Close()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// benchServer returns what ends connections, and what begins them.
func benchServer(b *testing.B) (filter.Transport, *tls.Config) {
	ca := issue(b, nil, authority)
	leaf := issue(b, ca, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} })
	cert := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leaf.key, Leaf: leaf.Certificate}
	d := &downstream{require: true, common: common{
		params:       params{min: tls.VersionTLS13, max: tls.VersionTLS13, curves: defaultCurves},
		certificates: []*certificate{{Certificate: cert, ecdsa: true}}, validation: trusting(ca),
	}}
	server, err := d.NewTransport(&filter.Env{Stats: teststats.New()})
	if err != nil {
		b.Fatal(err)
	}
	return server, &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: d.validation.roots, ServerName: "a.example"}
}

// BenchmarkBulk is both sides of a stream of TLS 1.3, written 256 KiB at a time.
func BenchmarkBulk(b *testing.B) {
	server, client := benchServer(b)
	one, other := sockets(b)
	done := make(chan error, 1)
	go func() {
		s, err := server.Wrap(one, new(filter.Info), time.Now().Add(10*time.Second))
		if err == nil {
			_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{s}, make([]byte, 256<<10))
		}
		done <- err
	}()
	w := newWire(other)
	c := &Conn{wire: w, tls: tls.Client(w, client)}
	if err := c.tls.Handshake(); err != nil {
		b.Fatal(err)
	}
	piece := make([]byte, 256<<10)
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
