package upstream

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A counts is a filter.Scope that remembers.
type counts struct {
	prefix string
	all    *struct {
		sync.Mutex
		values map[string]int64  // by whole name
		kinds  map[string]string // likewise
	}
}

func newCounts() counts {
	c := counts{}
	c.all = &struct {
		sync.Mutex
		values map[string]int64
		kinds  map[string]string
	}{values: make(map[string]int64), kinds: make(map[string]string)}
	return c
}

type counter struct {
	of   counts
	name string
}

func (c counter) Add(n uint64) { gauge(c).Add(int64(n)) }

type gauge counter

func (g gauge) Add(n int64) {
	g.of.all.Lock()
	defer g.of.all.Unlock()
	g.of.all.values[g.name] += n
}

type histogram counter

func (h histogram) Record(uint64) { gauge(h).Add(1) }

func (c counts) named(kind, name string) counter {
	c.all.Lock()
	defer c.all.Unlock()
	c.all.kinds[c.prefix+name] = kind
	return counter{c, c.prefix + name}
}

func (c counts) Scope(p string) filter.Scope            { return counts{c.prefix + p, c.all} }
func (c counts) Counter(name string) filter.Counter     { return c.named("counter", name) }
func (c counts) Gauge(name string) filter.Gauge         { return gauge(c.named("gauge", name)) }
func (c counts) Histogram(name string) filter.Histogram { return histogram(c.named("histogram", name)) }

// Close forgets the statistics below the scope.
func (c counts) Close() {
	c.all.Lock()
	defer c.all.Unlock()
	maps.DeleteFunc(c.all.kinds, func(name, _ string) bool { return strings.HasPrefix(name, c.prefix) })
}

// of returns the values of a cluster that are not 0; those of its host set apart.
func (c counts) of(cluster string) map[string]int64 {
	c.all.Lock()
	defer c.all.Unlock()
	out := make(map[string]int64)
	for name, v := range c.all.values {
		if n, ok := strings.CutPrefix(name, "cluster."+cluster+"."); ok && v != 0 &&
			!strings.HasPrefix(n, "membership_") && n != "default.total_match_count" {
			out[n] = v
		}
	}
	return out
}

// A hop asks for connections.
type hop struct {
	t      *testing.T
	cancel chan struct{}
	waits  int
	conn   filter.UpstreamConn
	seen   filter.Upstream // Info.Up when it was connected
	info   *filter.Info
	onConn func()

	deadline time.Time
}

func newHop(t *testing.T) *hop {
	return &hop{t: t, cancel: make(chan struct{}), info: &filter.Info{Start: time.Now(), Shown: true}}
}

func (h *hop) Waiting() <-chan struct{} {
	h.waits++
	return h.cancel
}

func (h *hop) Blocks() {}

func (h *hop) Deadline() time.Time { return h.deadline }

func (h *hop) Connected(c filter.UpstreamConn) {
	if h.conn != nil {
		h.t.Error("connected twice")
	}
	h.conn, h.seen = c, h.info.Up
	if h.onConn != nil {
		h.onConn()
	}
}

func (h *hop) request() *filter.ConnectRequest {
	return &filter.ConnectRequest{Info: h.info, Hop: h}
}

// An outer stands for the hop that offers its stream.
type outer struct{ observer }

type observer = filter.Outer

// A stream is one that a test only compares.
type stream struct {
	filter.Stream
	local  net.Addr
	closed func()
}

func (s *stream) LocalAddr() net.Addr { return s.local }
func (s *stream) Close() error {
	if s.closed != nil {
		s.closed()
	}
	return nil
}

func ip(s string) net.Addr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }

func internal(listener, endpoint string) net.Addr {
	return filter.InternalAddr{Listener: listener, Endpoint: endpoint}
}

// cluster returns the plan of a cluster with one host for each address.
func cluster(name string, to ...net.Addr) *plan.Cluster {
	c := &plan.Cluster{Name: name, ConnectTimeout: 5 * time.Second, LB: plan.LB{PanicPercent: 50}}
	for i := range c.Breakers {
		c.Breakers[i] = plan.Breaker{MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024, MaxRetries: 3}
	}
	var l plan.Locality
	for _, a := range to {
		l.Endpoints = append(l.Endpoints, plan.Endpoint{Addr: a, Weight: 1})
	}
	c.Assignment.Localities = []plan.Locality{l}
	return c
}

// run returns the clusters of plans, ready for use.
func run(t *testing.T, o Options, plans ...*plan.Cluster) (*Set, counts) {
	c := newCounts()
	o.Stats = c
	s := NewSet(o)
	if err := s.Apply(plans); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func (s *Set) get(t *testing.T, name string) filter.Cluster {
	c, ok := s.Cluster(name)
	if !ok {
		t.Fatalf("no cluster %s", name)
	}
	return c
}

// echo serves an echo at an address and returns what it listens on.
func echo(t *testing.T, a net.Addr) net.Addr {
	l, err := netconn.Listen(a, netconn.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		l.Serve(func(s *netconn.Socket) {
			wg.Go(func() {
				defer s.Close()
				buf := make([]byte, 100)
				for {
					n, err := s.Read(buf)
					if err != nil {
						return
					}
					s.Write(buf[:n])
				}
			})
		}, nil)
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr()
}

// dead returns an address where nobody listens.
func dead(t *testing.T) net.Addr {
	l, err := netconn.Listen(ip("127.0.0.1:0"), netconn.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr()
}

func wantCounts(t *testing.T, when string, got, want map[string]int64) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if got[name] != want[name] {
			t.Errorf("%s: %s is %d, in Envoy %d", when, name, got[name], want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s: %s is 0, in Envoy %d", when, name, want[name])
		}
	}
}

// A fakeNetwork answers internal dials.
type fakeNetwork func(*inproc.Dial) (filter.Stream, error)

func (f fakeNetwork) Connect(d *inproc.Dial) (filter.Stream, error) { return f(d) }
