package upstream

import (
	"net"
	"testing"
	"time"
	"unsafe"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/netconn"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/transport"
)

// nowhere is a scope that costs nothing.
type nowhere struct{}

func (nowhere) Scope(string) filter.Scope         { return nowhere{} }
func (nowhere) Counter(string) filter.Counter     { return nothing[uint64]{} }
func (nowhere) Gauge(string) filter.Gauge         { return nothing[int64]{} }
func (nowhere) Histogram(string) filter.Histogram { return nothing[uint64]{} }
func (nowhere) Close()                            {}

type nothing[T any] struct{}

func (nothing[T]) Add(T)    {}
func (nothing[T]) Record(T) {}

// quick is a hop that only remembers.
type quick struct {
	conn filter.UpstreamConn
	info filter.Info
}

func (*quick) Waiting() <-chan struct{}          { return nil }
func (*quick) Blocks()                           {}
func (*quick) Deadline() time.Time               { return time.Time{} }
func (q *quick) Connected(c filter.UpstreamConn) { q.conn = c }

func benchmark(b *testing.B, network fakeNetwork) {
	s := NewSet(Options{Stats: nowhere{}, Network: network})
	p := cluster("c", internal("in", "a"), internal("in", "b"), internal("in", "c"))
	p.Transport = passing(transport.Raw{}, extension.MetadataSource{Kind: extension.ClusterMetadata, Name: "a"})
	p.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"a": {}}}
	if err := s.Apply([]*plan.Cluster{p}); err != nil {
		b.Fatal(err)
	}
	h := &quick{info: filter.Info{Start: time.Now()}}
	offered, me := &stream{}, &outer{}
	b.ReportAllocs()
	for b.Loop() {
		c, _ := s.Cluster("c")
		h.info.Up = filter.Upstream{}
		r := filter.ConnectRequest{Info: &h.info, Hop: h, Stream: offered, Outer: me}
		if err := c.Connect(&r); err != nil {
			b.Fatal(err)
		}
		h.conn.Closed(true)
	}
}

func BenchmarkConnect(b *testing.B) {
	b.Run("hand-over", func(b *testing.B) {
		benchmark(b, func(d *inproc.Dial) (filter.Stream, error) {
			d.Dialler.Accepted()
			return nil, nil
		})
	})
	b.Run("pipe", func(b *testing.B) {
		back := &stream{local: filter.InternalClient}
		benchmark(b, func(*inproc.Dial) (filter.Stream, error) { return back, nil })
	})
}

// Every hop of an idle connection keeps a conn.
func TestConnIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n > 32 {
		t.Errorf("%d bytes", n)
	}
}

// BenchmarkOpen is a request on a warm pool.
func BenchmarkOpen(b *testing.B) {
	l := &land{streams: 1}
	s := NewSet(Options{Stats: nowhere{}, Network: l, client: l.client})
	defer s.Close()
	p := cluster("c", internal("in", ""))
	p.Assignment.Localities[0].Endpoints[0].Addr = ip("127.0.0.1:80")
	s.opts.dial = func(net.Addr, time.Time, func() <-chan struct{}, netconn.DialOptions) (filter.Stream, error) {
		return &stream{}, nil
	}
	p.HTTP.IdleTimeout = time.Hour
	if err := s.Apply([]*plan.Cluster{p}); err != nil {
		b.Fatal(err)
	}
	i := &filter.Info{Start: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		c, _ := s.Cluster("c")
		i.Up = filter.Upstream{}
		x, err := c.(filter.HTTPCluster).Open(&filter.StreamRequest{Info: i})
		if err != nil {
			b.Fatal(err)
		}
		x.Release()
	}
}

// Open and Release on a warm pool make one object, which must outlive its use: late resets
// of a request may not hit the next one.
func TestOpenAllocates(t *testing.T) {
	l := &land{t: t}
	s := NewSet(Options{Stats: nowhere{}, client: l.client, dial: func(net.Addr, time.Time, func() <-chan struct{}, netconn.DialOptions) (filter.Stream, error) {
		return &stream{}, nil
	}})
	defer s.Close()
	p := cluster("c", ip("127.0.0.1:80"))
	p.HTTP.IdleTimeout = time.Hour
	if err := s.Apply([]*plan.Cluster{p}); err != nil {
		t.Fatal(err)
	}
	r := &filter.StreamRequest{Info: &filter.Info{Start: time.Now()}}
	c, _ := s.Cluster("c")
	n := testing.AllocsPerRun(100, func() {
		r.Info.Up = filter.Upstream{}
		x, err := c.(filter.HTTPCluster).Open(r)
		if err != nil {
			t.Fatal(err)
		}
		x.Release()
	})
	if n > 2 { // the other one is the test's own exchange
		t.Errorf("%v allocations", n)
	}
}
