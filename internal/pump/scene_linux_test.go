package pump

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// TestScripts plays random scripts with either pump.
func TestScripts(t *testing.T) {
	sockets := []string{"socket", "v6", "unix"}
	for _, c := range []struct {
		name  string
		loops int
		kinds []string
	}{
		{"goroutines", 0, sockets}, {"pipes", 0, append([]string{"pipe", "pipe", "pipe"}, sockets...)},
		{"loops", 2, sockets}, {"one loop", 1, sockets},
	} {
		t.Run(c.name, func(t *testing.T) {
			for n := runs(700); n > 0 && !t.Failed(); n -= 300 {
				newTheatre(t, c.loops, c.kinds).play(min(n, 300))
			}
		})
	}
}

// A theatre plays many scripts at once, of few groups, and looks for what is left.
type theatre struct {
	t              *testing.T
	loops          int
	kinds          []string
	patient, brisk *Group // brisk: waits for nobody
	streets        map[string]*street
	fds            int
	chunks         int64
}

func newTheatre(t *testing.T, loops int, kinds []string) *theatre {
	h := &theatre{t: t, loops: loops, kinds: kinds, streets: map[string]*street{}, fds: fds(t), chunks: pipe.ChunksInUse()}
	h.patient = &Group{Loops: loops, FlushTimeout: time.Minute}
	h.brisk = &Group{Loops: loops, FlushTimeout: 10 * time.Millisecond}
	for _, kind := range []string{"socket", "v6", "unix"} {
		h.streets[kind] = listen(t, kind)
	}
	return h
}

func (h *theatre) play(n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for left.Add(-1) >= 0 && !h.t.Failed() {
				h.playOne(newScript(nextSeed(), h.kinds))
			}
		})
	}
	wg.Wait()
	for _, s := range h.streets {
		s.Close()
	}
	expectNothingLeft(h.t, h.patient)
	expectNothingLeft(h.t, h.brisk)
	if n, c := fds(h.t), pipe.ChunksInUse(); n != h.fds || c != h.chunks {
		h.t.Errorf("left: %d descriptors, %d chunks", n-h.fds, c-h.chunks)
	}
}

func (h *theatre) playOne(s *script) {
	g := h.patient
	switch {
	case s.mayStick():
		g = h.brisk
	case s.shut:
		g = &Group{Loops: h.loops, FlushTimeout: g.FlushTimeout}
		defer expectNothingLeft(h.t, g)
	}
	x := newScene(h, g, s)
	x.run()
	x.judge()
	if len(x.faults) > 0 {
		h.t.Errorf("%v\n%v\n%s\nrepeat with: -run '%s' -seed %d", strings.Join(x.faults, "\n"), s, x, h.t.Name(), s.seed)
	}
}

// expectNothingLeft waits for a group and looks what its loops still know.
func expectNothingLeft(t testing.TB, g *Group) {
	t.Helper()
	g.loops.mu.Lock()
	loops := g.loops.all
	g.loops.mu.Unlock()
	g.Wait()
	if n, b := g.Active(), g.BuffersInUse(); n != 0 || b != 0 {
		t.Errorf("left: %d pumps, %d buffers", n, b)
	}
	for _, l := range loops {
		wires := 0
		for _, w := range l.wires {
			if w != nil {
				wires++
			}
		}
		timers := 0
		for _, used := range l.wheel.used {
			if used != 0 {
				timers++
			}
		}
		if wires+timers+l.pipes.made+len(l.inbox) != 0 {
			t.Errorf("left in a loop: %d wires, %d slots with timers, %d pipes, %d messages", wires, timers, l.pipes.made, len(l.inbox))
		}
	}
}

// A scene is a script being played.
type scene struct {
	testing.TB
	theatre *theatre
	script  *script
	group   *Group
	hops    []*hop
	order   []*hop
	pump    filter.Pump
	peers   [2]*peer
	over    atomic.Bool // the pump has ended
	firsts  atomic.Int32

	acts   []string // what was done because nobody would have ended it
	ending []filter.Ending

	mu     sync.Mutex
	faults []string
}

// Errorf is for hops, too.
func (x *scene) Errorf(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faults = append(x.faults, fmt.Sprintf(format, args...))
}

// Error is for hops, too.
func (x *scene) Error(args ...any) { x.Errorf("%s", fmt.Sprint(args...)) }

func newScene(h *theatre, g *Group, s *script) *scene {
	x := &scene{TB: h.t, theatre: h, script: s, group: g}
	for range s.hops {
		hop := newHop(x)
		hop.order = &x.order
		hop.limits.BufferBytes = s.buffer
		x.hops = append(x.hops, hop)
	}
	for i, hop := range x.hops[1:] {
		x.hops[i].outer = hop
	}
	soon := time.Duration(s.delay[1]) * 10 * time.Microsecond
	switch limits := &x.hops[s.at].limits; s.limit {
	case "idle":
		limits.Idle = 1 + soon
	case "deadline":
		limits.Deadline = time.Now().Add(soon)
	case "client full":
		limits.DownstreamHighWatermark = 1 + soon
	case "host full":
		limits.UpstreamHighWatermark = 1 + soon
	}
	var ours [2]filter.Stream
	for d, p := range s.parts {
		if p.kind == "pipe" {
			var stream filter.Stream
			ours[d], stream = open(h.t, p.kind)
			x.peers[d] = newPeer(p, stream, &x.over)
			continue
		}
		o, sock := h.streets[p.kind].connect(h.t)
		if s.polled {
			o.SetDeadline(time.Time{})
		}
		if p.tiny == "ours" || p.tiny == "both" {
			shrink(o)
		}
		if p.tiny == "peer's" || p.tiny == "both" {
			shrink(sock)
		}
		ours[d] = o
		x.peers[d] = newPeer(p, sock, &x.over)
	}
	x.pump = g.Start(ours[0], ours[1], x.hops[0], x.firstHook())
	return x
}

var errRefuses = errors.New("refuses")

func (x *scene) firstHook() func() error {
	if x.script.first == "" {
		return nil
	}
	return func() error {
		x.firsts.Add(1)
		if x.script.first == "refuses" {
			return errRefuses
		}
		return nil
	}
}

// run returns when the pump has ended and nothing moves any more.
func (x *scene) run() {
	var wg sync.WaitGroup
	for _, p := range x.peers {
		wg.Go(p.read)
		wg.Go(p.play)
	}
	wg.Go(x.disturb)
	if x.script.mayStick() {
		wg.Go(x.resolve)
	}
	patience := time.AfterFunc(time.Minute, func() {
		x.Errorf("does not end: moved %d, %d", x.moved(0), x.moved(1))
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		x.pump.CloseLocal(nil, "does not end")
	})
	for _, h := range x.hops {
		x.ending = append(x.ending, <-h.done)
	}
	patience.Stop()
	x.over.Store(true)
	for _, p := range x.peers {
		if p.reads != all {
			p.close()
		}
	}
	wg.Wait()
	for _, p := range x.peers {
		p.close()
	}
}

// disturb does from another goroutine what the script says.
func (x *scene) disturb() {
	s := x.script
	for range s.delay[0] {
		runtime.Gosched()
	}
	switch {
	case s.local:
		x.pump.CloseLocal(x.hops[s.at], "disturbed")
	case s.shut:
		x.group.Close("shutdown")
	}
	for s.settle && !x.over.Load() {
		x.pump.Settle()
		for range 1 + s.delay[1] {
			runtime.Gosched()
		}
	}
}

// resolve ends a scene in which nothing happens any more: nobody would.
func (x *scene) resolve() {
	var last int64
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for same := 0; !x.over.Load(); <-tick.C {
		now := x.peers[0].moved.Load() + x.peers[1].moved.Load() + int64(x.moved(0)+x.moved(1))
		if same++; now != last {
			last, same = now, 0
		}
		if same == 5 {
			x.act()
			same = -5
		}
	}
}

func (x *scene) act() {
	what := "CloseLocal"
	if len(x.acts) == 0 {
		what = []string{what, "client closes", "client resets", "host closes", "host resets"}[x.script.seed>>8%5]
	}
	x.acts = append(x.acts, what)
	switch what {
	case "CloseLocal":
		x.pump.CloseLocal(nil, "stuck")
	case "client closes":
		x.peers[0].close()
	case "client resets":
		x.peers[0].reset()
	case "host closes":
		x.peers[1].close()
	case "host resets":
		x.peers[1].reset()
	}
}

// moved is what the innermost hop was told.
func (x *scene) moved(from filter.Direction) int64 {
	x.pump.Settle()
	up, down := x.hops[0].moved()
	return int64([]uint64{up, down}[from])
}

func (x *scene) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ended %v", x.ending)
	for d, p := range x.peers {
		fmt.Fprintf(&b, "; %s sent %d and %d urgent, got %d and %d, moved %d, read to %s",
			[]string{"client", "host"}[d], p.sent.Load(), p.sentUrgent.Load(), p.got.Load(), p.gotUrgent.Load(), x.moved(filter.Direction(d)), p.lastWord())
	}
	if len(x.acts) > 0 {
		fmt.Fprintf(&b, "; %v", x.acts)
	}
	return b.String()
}
