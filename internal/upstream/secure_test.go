package upstream

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/plan"
)

// A sealing is a transport socket that counts what it has made of clusters.
type sealing struct{ made, closed atomic.Int64 }

func (*sealing) Transparent() bool                               { return false }
func (*sealing) Passthrough() ([]extension.MetadataSource, bool) { return nil, false }

func (s *sealing) NewUpstream(*extension.UpstreamEnv) filter.UpstreamTransport {
	s.made.Add(1)
	return seal{s, nil}
}

type seal struct {
	of *sealing
	filter.UpstreamTransport
}

func (s seal) Close() error {
	s.of.closed.Add(1)
	return nil
}

// Hosts that are made as they are asked for share the transport of their cluster, and
// whatever is made is closed, though the cluster ends meanwhile or has before.
func TestTransportsOfMadeHosts(t *testing.T) {
	for range 20 {
		socket := new(sealing)
		p := originally(plan.OriginalDst{})
		p.Transport.Socket = socket
		s, _ := run(t, Options{}, p)
		x, _ := s.Cluster("c")
		c := x.(*Cluster)
		o := c.origin.(*originals)
		var asking sync.WaitGroup
		for i := range 4 {
			asking.Go(func() { o.host(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i+1))) })
		}
		if err := s.Apply(nil); err != nil {
			t.Fatal(err)
		}
		asking.Wait()
		if made, closed := socket.made.Load(), socket.closed.Load(); made != 1 || closed != 1 {
			t.Fatalf("%d made, %d closed", made, closed)
		}
	}
}
