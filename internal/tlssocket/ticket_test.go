package tlssocket

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

// A server's ticket of TLS 1.3 goes with what it says next, whatever way the handshake took, and
// the client goes on with it.
func TestTicketWaits(t *testing.T) {
	ca := issue(t, nil, authority)
	leaf := issue(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"a.example"} })
	cert := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: leaf.key, Leaf: leaf.Certificate}
	for name, c := range map[string]struct {
		require bool
		curves  []tls.CurveID // of the server; the client's first choice is X25519
		version uint16
	}{
		"without certificates":     {false, defaultCurves, tls.VersionTLS13},
		"with certificates":        {true, defaultCurves, tls.VersionTLS13},
		"retry":                    {false, []tls.CurveID{tls.CurveP384}, tls.VersionTLS13},
		"retry, with certificates": {true, []tls.CurveID{tls.CurveP384}, tls.VersionTLS13},
		"TLS 1.2":                  {true, defaultCurves, tls.VersionTLS12},
	} {
		t.Run(name, func(t *testing.T) {
			d := &downstream{require: c.require, common: common{
				params:       params{c.version, c.version, defaultCiphers, c.curves},
				certificates: []*certificate{{Certificate: cert, ecdsa: true}}, validation: trusting(ca),
			}}
			server, err := d.NewTransport(&filter.Env{Stats: teststats.New()})
			if err != nil {
				t.Fatal(err)
			}
			client := &tls.Config{
				Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1),
				ServerName: "a.example", CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384},
			}
			for i, resumed := range []bool{false, true, true} {
				if got := meet(t, server, client, c.version == tls.VersionTLS13); got != resumed {
					t.Errorf("connection %d: resumed %v", i, got)
				}
			}
		})
	}
}

func TestLastRecord(t *testing.T) {
	record := func(n int) string {
		return "\x17\x03\x03" + string([]byte{byte(n >> 8), byte(n)}) + strings.Repeat("x", n)
	}
	for _, c := range []struct {
		p    string
		want int
	}{
		{"", 0},
		{record(0), 0},
		{record(300), 0},
		{record(300) + record(1), 305},
		{record(1) + record(2) + record(600), 13},
		{record(1)[:5], 5},              // cut off
		{record(1) + record(2)[:4], 10}, // in the header
		{record(1) + "xxxxx", 11},
	} {
		if got := lastRecord([]byte(c.p)); got != c.want {
			t.Errorf("%q: %d, want %d", c.p, got, c.want)
		}
	}
}

// meet makes one connection, on which the server speaks, and reports whether it was resumed. With
// waits nothing may come from the server before it speaks.
func meet(t *testing.T, server filter.Transport, cfg *tls.Config, waits bool) (resumed bool) {
	one, other := sockets(t)
	type met struct {
		filter.Stream
		error
	}
	served := make(chan met, 1)
	go func() {
		s, err := server.Wrap(one, new(filter.Info), time.Now().Add(10*time.Second))
		served <- met{s, err}
	}()
	w := newWire(other)
	c := &Conn{wire: w, tls: tls.Client(w, cfg)}
	if err := c.tls.Handshake(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := <-served
	if s.error != nil {
		t.Fatal(s.error)
	}
	if waits && (len(w.ahead) > 0 || readable(t, other.(*netconn.Socket))) {
		t.Error("something has come before the server spoke")
	}
	if _, err := s.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	return c.tls.ConnectionState().DidResume
}

func readable(t *testing.T, s *netconn.Socket) (yes bool) {
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(p, 0)
		yes = n > 0
	}); err != nil {
		t.Fatal(err)
	}
	return yes
}
