package reliability

import (
	"io"
	"net"
	"testing"

	"github.com/ginnel/ginnel/test/proxy"
)

// TestSlowloris: thousands of clients that never finish their requests keep nobody else
// from being served.
func TestSlowloris(t *testing.T) {
	n := min(10_000, descriptors()-200)
	if testing.Short() {
		n = min(n, 1000)
	}
	h := newHost(t)
	p := proxy.Start(t, proxy.Build(t), config(h))
	served(t, p.Addr("one"))
	before := heap(t, p)
	for i := range n {
		c, err := net.Dial("tcp", p.Addr("one"))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nX: "); err != nil {
			t.Fatal(err)
		}
	}
	p.Await(t, "http.one.downstream_cx_active", n)
	for range 20 {
		served(t, p.Addr("one"))
	}
	t.Logf("%d clients, %d bytes each", n, (heap(t, p)-before)/n)
}
