package pump

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if !flood() {
		goleak.VerifyTestMain(m)
	}
}

// A hop records what it is told, and checks what must hold of every pump.
type hop struct {
	t      testing.TB
	outer  *hop
	limits filter.Limits
	done   chan filter.Ending

	mu       sync.Mutex
	up, down uint64
	paused   [2]int // calls of Flow
	resumed  [2]int
	flushes  int // begun, and of those
	flushed  int // ended
	inMoved  bool
	ended    bool
	order    *[]*hop
	flow     func(from filter.Direction, paused bool)
	serves   func(filter.Pump)
	flushing func(bool)
}

func newHop(t testing.TB) *hop { return &hop{t: t, done: make(chan filter.Ending, 1)} }

func (h *hop) Outer() filter.Outer {
	if h.outer == nil {
		return nil
	}
	return h.outer
}

func (h *hop) Limits() filter.Limits { return h.limits }

func (h *hop) Serves(p filter.Pump) {
	if h.serves != nil {
		h.serves(p)
	}
}

func (h *hop) Moved(up, down uint64) {
	h.mu.Lock()
	if h.ended || h.inMoved {
		h.t.Errorf("Moved after Ended (%v) or while Moved runs (%v)", h.ended, h.inMoved)
	}
	h.inMoved = true
	h.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inMoved = false
	h.up += up
	h.down += down
}

func (h *hop) Flow(from filter.Direction, paused bool) {
	h.mu.Lock()
	if h.ended {
		h.t.Error("Flow after Ended")
	}
	if paused {
		h.paused[from]++
	} else {
		h.resumed[from]++
	}
	if d := h.paused[from] - h.resumed[from]; d != 0 && d != 1 {
		h.t.Errorf("paused %d times more than resumed", d)
	}
	f := h.flow
	h.mu.Unlock()
	if f != nil {
		f(from, paused)
	}
}

func (h *hop) Flushing(begins bool) {
	h.mu.Lock()
	if begins {
		h.flushes++
	} else {
		h.flushed++
	}
	if h.ended || h.flushes != 1 || h.flushed > 1 || begins == (h.flushed == 1) {
		h.t.Errorf("Flushing(%v), the %d. beginning, the %d. end, after Ended: %v", begins, h.flushes, h.flushed, h.ended)
	}
	f := h.flushing
	h.mu.Unlock()
	if f != nil {
		f(begins)
	}
}

func (h *hop) Ended(e filter.Ending) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		h.t.Error("Ended twice")
	}
	if h.paused != h.resumed {
		h.t.Errorf("paused %v times, resumed %v", h.paused, h.resumed)
	}
	if h.flushes != h.flushed {
		h.t.Errorf("%d flushes began, %d ended", h.flushes, h.flushed)
	}
	h.ended = true
	if h.order != nil {
		*h.order = append(*h.order, h)
	}
	h.done <- e
}

func (h *hop) moved() (up, down uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up, h.down
}

// wait returns how the pump ended.
func (h *hop) wait() filter.Ending {
	h.t.Helper()
	return await(h.t, h.done)
}

// await receives, and fails where it would for ever.
func await[T any](t testing.TB, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatal("what is awaited does not come")
	}
	return v
}

// kinds of streams.
var kinds = []string{"socket", "pipe"}

// looped is a socket of a group with event loops, which serve it if the other stream
// is one, too. As a prefix of "unix" and "v6" it says which.
const looped = "looped"

// loopsFor returns how many event loops a pump of such streams asks for.
func loopsFor(down, up string) int {
	if strings.HasPrefix(down, looped) && strings.HasPrefix(up, looped) {
		return 2
	}
	return 0
}

// open returns a stream for the pump and its peer, which the test is.
func open(t testing.TB, kind string) (ours, peer filter.Stream) {
	t.Helper()
	switch kind {
	case "pipe":
		peer, ours := pipe.New(pipe.Options{})
		return ours, peer
	case "deep pipe":
		peer, ours := pipe.New(pipe.Options{LimitBytes: 64 << 20})
		return ours, peer
	case "other":
		peer, ours := pipe.New(pipe.Options{})
		return opaque{ours}, peer
	}
	s := listen(t, kind)
	defer s.Close()
	return s.connect(t)
}

// A street is where sockets of one kind come from.
type street struct {
	*netconn.Listener
	mu sync.Mutex // one at a time, so that both ends are of the same connection
}

func listen(t testing.TB, kind string) *street {
	t.Helper()
	var addr net.Addr = filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}
	switch {
	case strings.HasSuffix(kind, "unix"):
		addr = filter.UnixAddr{Path: t.TempDir() + "/s"}
	case strings.HasSuffix(kind, "v6"):
		addr = filter.IPAddr{AddrPort: netip.MustParseAddrPort("[::1]:0")}
	}
	l, err := netconn.Listen(addr, netconn.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &street{Listener: l}
}

func (s *street) connect(t testing.TB) (ours, peer *netconn.Socket) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	peer, err := netconn.Dial(s.Addr(), time.Time{}, nil, netconn.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ours, err = s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return ours, peer
}

// opaque hides what a stream can do beyond filter.Stream.
type opaque struct{ filter.Stream }

// A rig is a running pump between two peers.
type rig struct {
	t            testing.TB
	g            *Group
	client, host filter.Stream
	hop          *hop
	pump         filter.Pump
}

// start runs a pump between streams of two kinds; everything is checked for leaks
// when the test ends.
func start(t testing.TB, down, up string, first func() error, hops ...*hop) *rig {
	t.Helper()
	return startIn(t, new(Group), down, up, first, hops...)
}

// hasty is a group that waits for nobody.
func hasty() *Group { return &Group{FlushTimeout: 10 * time.Millisecond} }

func startIn(t testing.TB, g *Group, down, up string, first func() error, hops ...*hop) *rig {
	t.Helper()
	before, chunks := fds(t), pipe.ChunksInUse()
	if len(hops) == 0 {
		hops = []*hop{newHop(t)}
	}
	for i := range hops[1:] {
		hops[i].outer = hops[i+1]
	}
	if g.Loops == 0 {
		g.Loops = loopsFor(down, up)
	}
	r := &rig{t: t, g: g, hop: hops[0]}
	d, client := open(t, down)
	u, host := open(t, up)
	r.client, r.host = client, host
	t.Cleanup(func() {
		client.Close()
		host.Close()
		r.g.Wait()
		if n := r.g.Active(); n != 0 {
			t.Errorf("%d pumps are active", n)
		}
		if n := r.g.BuffersInUse(); n != 0 {
			t.Errorf("%d buffers are lost", n)
		}
		if n := pipe.ChunksInUse(); n != chunks {
			t.Errorf("%d chunks are lost", n-chunks)
		}
		if n := fds(t); n != before {
			t.Errorf("%d descriptors before, %d after", before, n)
		}
	})
	r.pump = r.g.Start(d, u, hops[0], first)
	return r
}

func fds(t testing.TB) int {
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(d)
}

// read reads to the end and returns the bytes and "EOF", "reset" or the error.
func read(s filter.Stream) (string, string) {
	b, err := io.ReadAll(s)
	return string(b), outcome(err)
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "EOF"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	}
	return err.Error()
}

func write(t testing.TB, s filter.Stream, b string) {
	t.Helper()
	if _, err := s.Write([]byte(b)); err != nil {
		t.Fatal(err)
	}
}

// get reads exactly what is expected.
func get(t testing.TB, s filter.Stream, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(s, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func expect(t testing.TB, s filter.Stream, bytes, end string) {
	t.Helper()
	if b, e := read(s); b != bytes || e != end {
		t.Errorf("read %s, %s; want %s, %s", short(b), e, short(bytes), end)
	}
}

func short(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%d bytes", len(s))
	}
	return fmt.Sprintf("%q", s)
}

// awaitMoved waits until so many bytes were counted: just after they have arrived.
func (r *rig) awaitMoved(up, down uint64) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; r.pump.Settle() {
		u, d := r.hop.moved()
		switch {
		case u == up && d == down:
			return
		case u > up || d > down || time.Now().After(deadline):
			r.t.Fatalf("moved %d, %d, want %d, %d", u, d, up, down)
		}
	}
}

func (r *rig) expectEnd(c filter.Cause) {
	r.t.Helper()
	if e := r.hop.wait(); e.Cause != c {
		r.t.Errorf("ended with cause %d, want %d", e.Cause, c)
	}
}

// combinations runs f for all kinds of streams on both sides.
func combinations(t *testing.T, f func(t *testing.T, down, up string)) {
	for _, down := range kinds {
		for _, up := range kinds {
			t.Run(down+"-"+up, func(t *testing.T) { f(t, down, up) })
		}
	}
	t.Run(looped, func(t *testing.T) { f(t, looped, looped) })
}
