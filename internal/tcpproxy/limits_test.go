package tcpproxy_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/tcpproxy"
	"github.com/ginnel/ginnel/test/origin"
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

// Each side has its own limit of how long it may be full, and a pump's verdict of
// that is told as Envoy does: a full listener's side closes both, a full host's side
// is the reason of that side only.
func TestHighWatermarkTimeouts(t *testing.T) {
	end := origin.Listen(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	for cause, want := range map[filter.Cause]string{
		filter.DownstreamHighWatermarkReached: "flags=- down=Normal/buffer_high_watermark_timeout_reached up=Normal/buffer_high_watermark_timeout_reached",
		filter.UpstreamHighWatermarkReached:   "flags=- down=Normal/ up=Normal/buffer_high_watermark_timeout_reached",
	} {
		c := cluster("up", end)
		c.HighWatermarkTimeout = 2 * time.Second
		w := newWorld(t, false, c)
		w.highWatermark = 3 * time.Second
		p := &verdicts{Pumps: w.env.Pumps, cause: cause}
		w.env.Pumps = p
		client, err := net.Dial("tcp", w.listen("street", netip.MustParseAddrPort("127.0.0.1:0"), &tcpproxy.Config{Cluster: "up"}).String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read: %v", err)
		}
		client.Close()
		w.await(1)
		if want = "street TcpConnectionEnd in=0 out=0 " + want; w.logs[0] != want {
			t.Errorf("logged %q, want %q", w.logs[0], want)
		}
		if l := p.limits; l.DownstreamHighWatermark != 3*time.Second || l.UpstreamHighWatermark != 2*time.Second {
			t.Errorf("limits %+v", l)
		}
		s := w.store.Scope("cluster.up.")
		if local, remote := s.Counter("upstream_cx_destroy_local").Value(), s.Counter("upstream_cx_destroy_remote").Value(); local != 1 || remote != 0 {
			t.Errorf("destroyed by us %d, by the host %d", local, remote)
		}
	}
}

// verdicts ends what it is to pump for a cause.
type verdicts struct {
	filter.Pumps
	cause  filter.Cause
	limits filter.Limits
}

func (v *verdicts) Start(down, up filter.Stream, hop filter.Outer, _ func() error) filter.Pump {
	v.limits = hop.Limits()
	down.Close()
	up.Close()
	hop.Ended(filter.Ending{Cause: v.cause})
	return nil
}

// Of equal limits, and the default idle time is one, each hop says that its own has ended
// the chain, whichever way it goes. One that has longer does not.
func TestEqualLimits(t *testing.T) {
	for reason, config := range map[string]tcpproxy.Config{
		"tcp_session_idle_timeout":        {IdleTimeout: time.Hour},
		"max_connection_duration_reached": {MaxDuration: time.Hour},
	} {
		for _, pipes := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/pipes=%v", reason, pipes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { equalLimits(t, pipes, config, reason) })
			})
		}
	}
}

func equalLimits(t *testing.T, pipes bool, config tcpproxy.Config, reason string) {
	const hops = 4
	w := newWorld(t, pipes, chainClusters(hops, filter.InternalAddr{Listener: "echo"})...)
	w.network.Register("echo", echoes{})
	for i := range hops + 1 {
		c := config
		if i == 2 {
			c.IdleTimeout, c.MaxDuration = c.IdleTimeout*11/10, c.MaxDuration*11/10
		}
		c.Cluster = fmt.Sprintf("to%d", i+1)
		w.listen(fmt.Sprintf("hop%d", i), netip.AddrPort{}, &c)
	}
	s, err := w.network.Connect(&inproc.Dial{Addr: filter.InternalAddr{Listener: "hop0"}})
	if err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("x"))
	if b, err := io.ReadAll(s); string(b) != "x" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	s.Close()
	w.pumps.Wait()
	for _, line := range w.logs {
		if name, tail, _ := cut(line); strings.Contains(tail, reason) != (name != "hop2") {
			t.Error(line)
		}
	}
	if len(w.logs) != hops+1 {
		t.Errorf("%d lines", len(w.logs))
	}
}

// The lower of the limits of the listener (1 MiB here) and of the cluster holds.
func TestClusterLimitsBuffers(t *testing.T) {
	end := origin.Listen(t, origin.Echo)
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
