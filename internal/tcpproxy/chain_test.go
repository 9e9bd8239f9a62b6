package tcpproxy_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/listener"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/pump"
	"github.com/ginnel/ginnel/internal/stats"
	"github.com/ginnel/ginnel/internal/tcpproxy"
	"github.com/ginnel/ginnel/internal/upstream"
	"github.com/ginnel/ginnel/test/origin"
)

// A world is what stands around the filter: listeners, clusters, pumps.
type world struct {
	t       testing.TB
	store   *stats.Store
	pumps   *pump.Group
	network *inproc.Network
	hosts   *upstream.Set
	env     *filter.Env

	quiet bool // no log lines: for benchmarks

	highWatermark time.Duration // timeout of the listeners

	mu   sync.Mutex
	logs []string
}

type scope struct{ in *stats.Scope }

func (s scope) Scope(p string) filter.Scope         { return scope{s.in.Scope(p)} }
func (s scope) Counter(n string) filter.Counter     { return s.in.Counter(n) }
func (s scope) Gauge(n string) filter.Gauge         { return gauge{s.in.Gauge(n)} }
func (s scope) Histogram(n string) filter.Histogram { return s.in.Histogram(n, stats.Unspecified) }
func (s scope) Close()                              { s.in.Close() }

type gauge struct{ *stats.Gauge }

func (g gauge) Add(n int64) { g.Gauge.Add(uint64(n)) }

type noRuntime struct{}

func (noRuntime) Enabled(string, uint32) bool      { return false }
func (noRuntime) Uint(_ string, def uint64) uint64 { return def }

func newWorld(t testing.TB, pipes bool, clusters ...*plan.Cluster) *world {
	w := &world{t: t, store: stats.New(stats.Options{}), pumps: &pump.Group{}}
	w.network = inproc.New(inproc.Options{ForcePipes: pipes})
	root := scope{w.store.Scope("")}
	w.hosts = upstream.NewSet(upstream.Options{Stats: root, Network: w.network, Runtime: noRuntime{}})
	if err := w.hosts.Apply(clusters); err != nil {
		t.Fatal(err)
	}
	w.env = &filter.Env{Stats: root, Clusters: w.hosts, Pumps: w.pumps, Log: slog.New(slog.DiscardHandler), Runtime: noRuntime{}}
	return w
}

// NewAccessLog implements filter.AccessLogFactory: the lines stay in memory.
func (w *world) NewAccessLog(*filter.Env) (filter.AccessLog, error) { return w, nil }

// Log implements filter.AccessLog.
func (w *world) Log(i *filter.Info, t filter.AccessLogType) {
	if w.quiet {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logs = append(w.logs, fmt.Sprintf("%s %s in=%d out=%d flags=%s down=%s/%s up=%s/%s", i.Listener.Name, t,
		i.Received, i.Sent, i.Flags, i.DownClose, i.Rest().DownReason, i.UpClose, i.Rest().UpReason))
}

// listen adds a listener with a TCP proxy to a cluster; internal when addr is not
// valid.
func (w *world) listen(name string, addr netip.AddrPort, c *tcpproxy.Config) net.Addr {
	c.StatPrefix, c.AccessLogs = name, []filter.AccessLogFactory{w}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = 1
	}
	p := &plan.Listener{
		Info:     filter.ListenerInfo{Name: name, BufferBytes: 1 << 20, HighWatermarkTimeout: w.highWatermark},
		Internal: !addr.IsValid(), Bind: addr.IsValid(), Addresses: []plan.Address{{Addr: addr}},
		Chains: []*plan.Chain{{Terminal: c}},
	}
	l, err := listener.New(p, w.env, listener.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	if p.Internal {
		w.network.Register(name, l.Internal())
		return nil
	}
	if err := l.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		l.Stop()
		l.CloseConns("test over")
		l.Wait()
		w.pumps.Wait()
	})
	return l.Addrs()[0]
}

type rawBuffer struct{}

func (rawBuffer) Transparent() bool                               { return true }
func (rawBuffer) Passthrough() ([]extension.MetadataSource, bool) { return nil, false }

func cluster(name string, addr net.Addr) *plan.Cluster {
	b := plan.Breaker{MaxConnections: 1 << 20, MaxPending: 1 << 20, MaxRequests: 1 << 20, MaxRetries: 3}
	if tcp, ok := addr.(*net.TCPAddr); ok {
		addr = filter.IPAddr{AddrPort: tcp.AddrPort()}
	}
	return &plan.Cluster{
		Name: name, StatName: name, ConnectTimeout: 5 * time.Second, Breakers: [2]plan.Breaker{b, b},
		Transport: plan.Transport{Socket: rawBuffer{}},
		Assignment: plan.Assignment{OverprovisionFactor: 140, Localities: []plan.Locality{{
			Endpoints: []plan.Endpoint{{Addr: addr, Weight: 1}},
		}}},
		LB: plan.LB{PanicPercent: 50},
	}
}

// chain is a street listener and n internal ones.
func (w *world) chain(n int) net.Addr {
	for i := 1; i <= n; i++ {
		w.listen(fmt.Sprintf("hop%d", i), netip.AddrPort{}, &tcpproxy.Config{Cluster: fmt.Sprintf("to%d", i+1)})
	}
	if w.quiet { // dialled in-process
		return w.listen("street", netip.AddrPort{}, &tcpproxy.Config{Cluster: "to1"})
	}
	return w.listen("street", netip.MustParseAddrPort("127.0.0.1:0"), &tcpproxy.Config{Cluster: "to1"})
}

func chainClusters(n int, end net.Addr) []*plan.Cluster {
	var all []*plan.Cluster
	for i := 1; i <= n; i++ {
		all = append(all, cluster(fmt.Sprintf("to%d", i), filter.InternalAddr{Listener: fmt.Sprintf("hop%d", i)}))
	}
	return append(all, cluster(fmt.Sprintf("to%d", n+1), end))
}

func TestChainEnds(t *testing.T) {
	for _, pipes := range []bool{false, true} {
		for _, hops := range []int{0, 1, 4} {
			for _, c := range []struct {
				name   string
				serve  func(*net.TCPConn)
				client func(*testing.T, *net.TCPConn)
				log    string
			}{
				{"half close", func(c *net.TCPConn) {
					b, _ := io.ReadAll(c)
					c.Write(append(b, '!'))
				}, func(t *testing.T, c *net.TCPConn) {
					io.WriteString(c, "hello")
					c.CloseWrite()
					if b, err := io.ReadAll(c); string(b) != "hello!" || err != nil {
						t.Errorf("read %q, %v", b, err)
					}
				}, "TcpConnectionEnd in=5 out=6 flags=- down=Normal/ up=Normal/"},
				{"backend reset", func(c *net.TCPConn) {
					var b [5]byte
					io.ReadFull(c, b[:])
					c.SetLinger(0)
				}, func(t *testing.T, c *net.TCPConn) {
					io.WriteString(c, "hello")
					if _, err := io.ReadAll(c); !isReset(err) {
						t.Errorf("read: %v", err)
					}
				}, "TcpConnectionEnd in=5 out=0 flags=UR down=LocalReset/ up=RemoteReset/"},
			} {
				t.Run(fmt.Sprintf("%s/hops=%d/pipes=%v", c.name, hops, pipes), func(t *testing.T) {
					w := newWorld(t, pipes, chainClusters(hops, origin.Listen(t, c.serve))...)
					conn, err := net.Dial("tcp", w.chain(hops).String())
					if err != nil {
						t.Fatal(err)
					}
					c.client(t, conn.(*net.TCPConn))
					conn.Close()
					w.await(hops + 1)
					for _, line := range w.logs {
						if _, tail, _ := cut(line); tail != c.log {
							t.Errorf("log %q, want %q", tail, c.log)
						}
					}
				})
			}
		}
	}
}

// TestSetUpBlocksNobody: where a loop sets connections up, one that must wait, for the
// network or for an internal listener that takes its time, keeps no other one waiting.
func TestSetUpBlocksNobody(t *testing.T) {
	full, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	fill(t, full)
	echo := origin.Listen(t, origin.Echo)
	w := newWorld(t, false,
		cluster("full", full.Addr()), cluster("mute", filter.InternalAddr{Listener: "mute"}),
		cluster("inner", filter.InternalAddr{Listener: "hop"}), cluster("echo", echo))
	w.pumps.Loops = 1
	mute := make(hesitant)
	w.network.Register("mute", mute)
	w.listen("hop", netip.AddrPort{}, &tcpproxy.Config{Cluster: "full"})
	any := netip.MustParseAddrPort("127.0.0.1:0")
	ok := w.listen("ok", any, &tcpproxy.Config{Cluster: "echo"})
	var waiting []net.Conn
	for _, c := range []string{"full", "mute", "inner"} {
		to := w.listen("to "+c, any, &tcpproxy.Config{Cluster: c})
		for range 3 {
			conn, err := net.Dial("tcp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, conn)
		}
		conn, err := net.Dial("tcp", ok.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(2 * time.Second)) // less than the connect timeout
		var b [1]byte
		if _, err := conn.Write(b[:]); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			t.Errorf("while others wait for %s: %v", c, err)
		}
		conn.Close()
	}
	close(mute)
	for _, c := range waiting {
		c.Close()
	}
}

// fill connects until l has no room for another one.
func fill(t *testing.T, l net.Listener) {
	rc, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { syscall.Listen(int(fd), 0) }) // the queue gets shorter
	for range 10 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 50*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("the queue never fills")
}

// A hesitant listener refuses when it is closed, not before.
type hesitant chan struct{}

func (hesitant) TakesOver() bool  { return false }
func (hesitant) BufferBytes() int { return 0 }
func (h hesitant) ServeInternal(*inproc.Dial) error {
	<-h
	return io.ErrClosedPipe
}

func cut(line string) (name, tail string, ok bool) {
	for i := range line {
		if line[i] == ' ' {
			return line[:i], line[i+1:], true
		}
	}
	return line, "", false
}

func isReset(err error) bool {
	op, ok := err.(*net.OpError)
	return ok && fmt.Sprint(op.Err) == "read: "+syscall.ECONNRESET.Error()
}

func (w *world) await(lines int) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		n := len(w.logs)
		w.mu.Unlock()
		if n >= lines {
			return
		}
	}
	w.t.Fatalf("%d of %d log lines: %q", len(w.logs), lines, w.logs)
}

// BenchmarkLife is the life of a connection through n internal hops: dial, one byte
// there and back, close. ns/hop and B/hop are what a hop adds to none.
func BenchmarkLife(b *testing.B) {
	for _, pipes := range []bool{false, true} {
		var ns, bytes float64 // without a hop
		for _, hops := range []int{0, 1, 8} {
			b.Run(fmt.Sprintf("pipes=%v/hops=%d", pipes, hops), func(b *testing.B) {
				w := newWorld(b, pipes, chainClusters(hops, filter.InternalAddr{Listener: "echo"})...)
				w.quiet = true
				w.network.Register("echo", echoes{})
				w.chain(hops)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for b.Loop() {
					once(b, w)
				}
				runtime.ReadMemStats(&after)
				n, size := float64(b.Elapsed().Nanoseconds())/float64(b.N), float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N)
				if hops == 0 {
					ns, bytes = n, size
					return
				}
				b.ReportMetric((n-ns)/float64(hops), "ns/hop")
				b.ReportMetric((size-bytes)/float64(hops), "B/hop")
			})
		}
	}
}

func once(b *testing.B, w *world) {
	s, err := w.network.Connect(&inproc.Dial{Addr: filter.InternalAddr{Listener: "street"}})
	if err != nil {
		b.Fatal(err)
	}
	var p [1]byte
	if _, err := s.Write(p[:]); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(s, p[:]); err != nil {
		b.Fatal(err)
	}
	s.Close()
}

// echoes is a listener that sends back one byte at a time.
type echoes struct{}

func (echoes) TakesOver() bool  { return false }
func (echoes) BufferBytes() int { return 0 }
func (echoes) ServeInternal(d *inproc.Dial) error {
	s := d.Stream
	d.Accept()
	var p [1]byte
	for {
		if _, err := io.ReadFull(s, p[:]); err != nil {
			return s.Close()
		}
		s.Write(p[:])
	}
}

// BenchmarkIdle is the memory of open connections on which nothing moves.
func BenchmarkIdle(b *testing.B) {
	const open = 500
	for _, pipes := range []bool{false, true} {
		var none float64
		for _, hops := range []int{0, 8} {
			b.Run(fmt.Sprintf("pipes=%v/hops=%d", pipes, hops), func(b *testing.B) {
				w := newWorld(b, pipes, chainClusters(hops, filter.InternalAddr{Listener: "echo"})...)
				w.quiet = true
				w.network.Register("echo", echoes{})
				w.chain(hops)
				for b.Loop() {
					before := inUse()
					var all []filter.Stream
					for range open {
						s, err := w.network.Connect(&inproc.Dial{Addr: filter.InternalAddr{Listener: "street"}})
						if err != nil {
							b.Fatal(err)
						}
						all = append(all, s)
					}
					each := float64(inUse()-before) / open
					if hops == 0 {
						none = each
					} else {
						b.ReportMetric((each-none)/float64(hops), "B/hop")
					}
					for _, s := range all {
						s.Close()
					}
					w.pumps.Wait()
				}
			})
		}
	}
}

// inUse is the memory of live objects and stacks.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
