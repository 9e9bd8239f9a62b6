package tcpproxy_test

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/tcpproxy"
)

// watched tells the limits of the hops that it serves.
type watched struct {
	filter.Pumps
	seen chan int
}

func (w watched) Start(down, up filter.Stream, hop filter.Outer, first func() error) filter.Pump {
	w.seen <- hop.Limits().BufferBytes
	return w.Pumps.Start(down, up, hop, first)
}

// The lower of the limits of the listener (1 MiB here) and of the cluster holds.
func TestClusterLimitsBuffers(t *testing.T) {
	end := backend(t, func(c *net.TCPConn) { io.Copy(c, c) })
	for limit, want := range map[int]int{0: 1 << 20, 4096: 4096, 2 << 20: 1 << 20} {
		c := cluster("up", end)
		c.BufferBytes = limit
		w := newWorld(t, false, c)
		p := watched{w.env.Pumps, make(chan int, 1)}
		w.env.Pumps = p
		client, err := net.Dial("tcp", w.listen("street", netip.MustParseAddrPort("127.0.0.1:0"), &tcpproxy.Config{Cluster: "up"}).String())
		if err != nil {
			t.Fatal(err)
		}
		if got := <-p.seen; got != want {
			t.Errorf("cluster limit %d: the pump may hold %d bytes, want %d", limit, got, want)
		}
		client.Close()
	}
}
