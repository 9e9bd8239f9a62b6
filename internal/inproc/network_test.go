package inproc

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// A fake listener accepts or refuses and keeps what arrived.
type fake struct {
	refuse   error
	takeOver bool
	arrived  chan *Dial
	serve    func(filter.Stream)
}

func (f *fake) ServeInternal(d *Dial) error {
	if f.refuse != nil {
		return f.refuse
	}
	s := d.Stream
	d.Accept()
	if f.arrived != nil {
		f.arrived <- d
	}
	if f.serve != nil {
		f.serve(s)
	}
	return nil
}
func (f *fake) TakesOver() bool  { return f.takeOver }
func (f *fake) BufferBytes() int { return 0 }

func to(name string) filter.InternalAddr { return filter.InternalAddr{Listener: name, Endpoint: "e"} }

func TestConnectByPipe(t *testing.T) {
	n := New(Options{})
	n.Register("echo", &fake{serve: func(s filter.Stream) {
		io.Copy(s, s)
		s.Close()
	}})
	s, err := n.Connect(&Dial{Addr: to("echo")})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.RemoteAddr().String(); got != "envoy://echo/e" {
		t.Errorf("remote address %s", got)
	}
	if got := s.LocalAddr().String(); got != "envoy://internal_client_address/" {
		t.Errorf("local address %s", got)
	}
	io.WriteString(s, "hello")
	s.CloseWrite()
	if b, err := io.ReadAll(s); err != nil || string(b) != "hello" {
		t.Errorf("read %q, %v", b, err)
	}
	s.Close()
	n.Wait()
	if st := n.Stats(); st.Names[0] != (Counts{Name: "echo", Piped: 1}) {
		t.Errorf("stats %+v", st)
	}
}

func TestConnectRefused(t *testing.T) {
	n := New(Options{MaxHops: 3})
	cause := errors.New("no filter chain matches")
	n.Register("shut", &fake{refuse: cause})
	for _, c := range []struct {
		name string
		from *filter.Info
		want error
		text string
	}{
		{"nobody", nil, ErrNoListener, "immediate connect error: Invalid argument|remote address:envoy://nobody/e"},
		{"shut", nil, cause, "immediate connect error: Invalid argument|remote address:envoy://shut/e"},
		{"shut", &filter.Info{Depth: 3}, ErrHopLimit, "immediate connect error: Invalid argument|remote address:envoy://shut/e"},
	} {
		_, err := n.Connect(&Dial{Addr: to(c.name), From: c.from})
		var refused *RefusedError
		if !errors.As(err, &refused) || !errors.Is(err, c.want) || err.Error() != c.text {
			t.Errorf("%s: %v, want %s", c.name, err, c.text)
		}
	}
	st := n.Stats()
	if st.NoListener != 1 || st.HopLimit != 1 || st.Names[0].Refused != 1 {
		t.Errorf("stats %+v", st)
	}
}

type told struct{ n atomic.Int32 }

func (d *told) Accepted() { d.n.Add(1) }
func (*told) Blocks()     {}

type stream struct{ filter.Stream }

func TestHandOver(t *testing.T) {
	n := New(Options{})
	l := &fake{takeOver: true, arrived: make(chan *Dial, 1)}
	n.Register("in", l)
	mine, dialler := &stream{}, &told{}
	s, err := n.Connect(&Dial{Addr: to("in"), Stream: mine, Dialler: dialler})
	if s != nil || err != nil {
		t.Fatalf("got %v, %v", s, err)
	}
	if d := <-l.arrived; d.Stream != filter.Stream(mine) || dialler.n.Load() != 1 {
		t.Errorf("stream %v, told %d times", d.Stream, dialler.n.Load())
	}
	if c := n.Stats().Names[0]; c.HandedOver != 1 || c.Piped != 0 {
		t.Errorf("counts %+v", c)
	}
}

// TestPipeInstead: a stream on offer is not taken where the listener needs bytes or
// pipes are forced.
func TestPipeInstead(t *testing.T) {
	for _, c := range []struct {
		force, takeOver bool
	}{{true, true}, {false, false}} {
		n := New(Options{ForcePipes: c.force})
		n.Register("in", &fake{takeOver: c.takeOver, serve: func(s filter.Stream) { s.Close() }})
		dialler := &told{}
		s, err := n.Connect(&Dial{Addr: to("in"), Stream: &stream{}, Dialler: dialler})
		if s == nil || err != nil || dialler.n.Load() != 1 {
			t.Fatalf("got %v, %v, told %d times", s, err, dialler.n.Load())
		}
		s.Close()
		n.Wait()
	}
}

// TestMoved: a listener whose place another one takes while it is dialled is passed over,
// whichever way either would have served the connection.
func TestMoved(t *testing.T) {
	for _, c := range []struct{ was, is bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		n := New(Options{})
		var r *Registration
		next := &fake{takeOver: c.is, arrived: make(chan *Dial, 1)}
		moves := serving{c.was, func(*Dial) error { r.Replace(next); return ErrMoved }}
		r = n.Register("in", moves)
		mine, dialler := &stream{}, &told{}
		s, err := n.Connect(&Dial{Addr: to("in"), Stream: mine, Dialler: dialler})
		if err != nil || (s == nil) != c.is || dialler.n.Load() != 1 {
			t.Fatalf("%+v: got %v, %v, told %d times", c, s, err, dialler.n.Load())
		}
		if d := <-next.arrived; (d.Stream == filter.Stream(mine)) != c.is {
			t.Errorf("%+v: stream %v", c, d.Stream)
		}
		if x := n.Stats().Names[0]; x.Refused != 0 || x.HandedOver+x.Piped != 1 {
			t.Errorf("%+v: counts %+v", c, x)
		}
		n.Wait()
	}
	n := New(Options{})
	n.Register("in", &fake{refuse: ErrMoved})
	if _, err := n.Connect(&Dial{Addr: to("in")}); !errors.Is(err, ErrNoListener) {
		t.Errorf("moved nowhere: %v", err)
	}
}

func TestNames(t *testing.T) {
	n := New(Options{})
	for _, name := range []string{"a", "", "a/b", "ü x"} {
		n.Register(name, &fake{})
		if !n.Active(name) {
			t.Errorf("%q is not active", name)
		}
	}
	old := n.Register("a", &fake{refuse: errors.New("old")})
	young := n.Register("a", &fake{refuse: errors.New("young")})
	old.Unregister()
	if _, err := n.Connect(&Dial{Addr: to("a")}); err == nil || errors.Unwrap(err).Error() != "young" {
		t.Errorf("the successor does not answer: %v", err)
	}
	young.Unregister()
	young.Unregister()
	if got := fmt.Sprintf("%q", n.List()); got != `["" "a/b" "ü x"]` {
		t.Errorf("names %s", got)
	}
}

// TestConcurrentNames is for the race detector: names change while they are dialled.
func TestConcurrentNames(t *testing.T) {
	n := New(Options{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				n.Register("x", &fake{serve: func(s filter.Stream) { s.Close() }}).Unregister()
			}
		})
		wg.Go(func() {
			for range 200 {
				if s, err := n.Connect(&Dial{Addr: to("x")}); err == nil {
					s.Close()
				} else if !errors.Is(err, ErrNoListener) {
					t.Errorf("connect: %v", err)
				}
				n.List()
			}
		})
	}
	wg.Wait()
	n.Wait()
}

func BenchmarkPipeConnect(b *testing.B) {
	n := New(Options{})
	n.Register("in", &fake{serve: func(s filter.Stream) {
		var p [1]byte
		s.Read(p[:])
		s.Close()
	}})
	pt := filter.Passthrough{Metadata: filter.Metadata{"ns": nil}}
	b.ReportAllocs()
	for b.Loop() {
		s, err := n.Connect(&Dial{Addr: to("in"), Passthrough: pt})
		if err != nil {
			b.Fatal(err)
		}
		s.Write([]byte{1})
		s.Close()
	}
}
