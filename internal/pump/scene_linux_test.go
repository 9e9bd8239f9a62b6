package pump

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
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

// judge checks what must hold.
func (x *scene) judge() {
	if !slices.Equal(x.order, x.hops) {
		x.Error("Ended not from inner to outer")
	}
	x.judgeCause()
	x.judgeHops()
	for d := range x.peers {
		x.judgeBytes(filter.Direction(d))
	}
	if up := x.moved(0); x.script.first == "refuses" && up > 0 || x.script.first != "" && up > 0 && x.firsts.Load() != 1 || x.firsts.Load() > 1 {
		x.Errorf("%s, called %d times, %d bytes", x.script.first, x.firsts.Load(), up)
	}
}

// loose reports whether the pump may have been ended for another reason than its
// peers.
func (x *scene) loose() bool {
	s := x.script
	return s.local || s.shut || s.limit != "" || len(x.acts) > 0 || s.first == "refuses"
}

// verdict is the cause, as the hop it belongs to was told.
func (x *scene) verdict() (v filter.Ending, at int) {
	for i, e := range x.ending {
		if local(e.Cause) {
			return e, i
		}
	}
	return x.ending[0], 0
}

func (x *scene) judgeCause() {
	s := x.script
	v, _ := x.verdict()
	var may []filter.Cause
	c, h := &s.parts[0], &s.parts[1]
	if !(h.resets() && c.patient()) || x.loose() {
		may = append(may, s.may(0)...)
	}
	if !(c.resets() && h.patient()) || x.loose() {
		may = append(may, s.may(1)...)
	}
	switch s.limit {
	case "idle":
		may = append(may, filter.IdleTimeout)
	case "deadline":
		may = append(may, filter.DurationReached)
	case "client full":
		may = append(may, filter.DownstreamHighWatermarkReached)
	case "host full":
		may = append(may, filter.UpstreamHighWatermarkReached)
	}
	if len(x.acts) > 0 {
		may = append(may, filter.DownstreamClosed, filter.DownstreamReset, filter.UpstreamClosed, filter.UpstreamReset)
	}
	if v.Cause == filter.LocalClose {
		if ok := map[string]bool{"disturbed": s.local, "shutdown": s.shut, "stuck": len(x.acts) > 0, "refuses": s.first == "refuses"}[v.Reason]; !ok {
			x.Errorf("closed because %q", v.Reason)
		}
		return
	}
	if !slices.Contains(may, v.Cause) {
		x.Errorf("cause %d is not one of %d", v.Cause, may)
	}
}

// judgeHops checks how an end looks from each hop, and that all counted the same.
func (x *scene) judgeHops() {
	v, at := x.verdict()
	for i, h := range x.hops {
		want := v
		if ofOne := v.Reason != "shutdown" && v.Reason != "stuck"; local(v.Cause) && ofOne {
			if is := x.script.at; v.Reason != "refuses" && at != is {
				x.Errorf("hop %d ended for the reason of hop %d", at, is)
			}
			switch {
			case i < at:
				want = filter.Ending{Cause: filter.DownstreamClosed}
			case i > at:
				want = filter.Ending{Cause: filter.UpstreamClosed}
			}
		}
		if x.ending[i] != want {
			x.Errorf("hop %d: %+v, want %+v", i, x.ending[i], want)
		}
		if up, down := h.moved(); int64(up) != x.moved(0) || int64(down) != x.moved(1) {
			x.Errorf("hop %d: moved %d, %d, the innermost %d, %d", i, up, down, x.moved(0), x.moved(1))
		}
	}
}

// judgeBytes compares what one peer sent with what the other has read, and how that
// ended.
func (x *scene) judgeBytes(from filter.Direction) {
	w, r := x.peers[from], x.peers[1-from]
	sent, urgents, got, moved := w.sent.Load(), w.sentUrgent.Load(), r.got.Load()+r.gotUrgent.Load(), x.moved(from)
	if r.wrong != nil {
		x.Errorf("from %d: %v", from, r.wrong)
	}
	if r.got.Load() > sent || r.gotUrgent.Load() > urgents {
		x.Errorf("from %d: more than was sent", from)
	}
	if got > moved || moved > sent+urgents {
		x.Errorf("from %d: moved %d", from, moved)
	}
	v, _ := x.verdict()
	whole := !x.loose() || !local(v.Cause) && r.patient()
	wasReset := v.Cause == filter.DownstreamReset || v.Cause == filter.UpstreamReset
	if r.lastWord() == "EOF" {
		if got != moved {
			x.Errorf("from %d: %d bytes of %d before the end", from, got, moved)
		}
		// On a Unix socket a reset cannot be told from an end.
		if whole && r.got.Load() != sent && !(wasReset && r.kind == "unix") {
			x.Errorf("from %d: the end after %d of %d", from, r.got.Load(), sent)
		}
	}
	if x.loose() || !r.patient() {
		return
	}
	switch {
	case w.patient() && r.lastWord() != "EOF":
		x.Errorf("from %d: read to %s", from, r.lastWord())
	case w.resets() && r.kind != "unix" && r.lastWord() != "reset":
		x.Errorf("from %d: no reset but %s", from, r.lastWord())
	case x.group == x.theatre.brisk: // it lets go
	case w.end == "flushed reset" && w.acked && r.got.Load() != sent:
		x.Errorf("from %d: a reset after %d of %d", from, r.got.Load(), sent)
	case got != moved:
		x.Errorf("from %d: %d of %d bytes before a reset", from, got, moved)
	}
}
