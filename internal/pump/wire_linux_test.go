package pump

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// socketKinds are pairs of sockets that loops serve, and the same for goroutines.
var socketKinds = []string{looped, "looped v6", "looped unix", "socket", "unix"}

func eachSocketKind(t *testing.T, f func(t *testing.T, kind string)) {
	for _, kind := range socketKinds {
		t.Run(kind, func(t *testing.T) { f(t, kind) })
	}
}

// sendWith writes with flags and ancillary data of sendmsg(2).
func sendWith(t testing.TB, s filter.Stream, b string, flags int, oob ...byte) {
	t.Helper()
	rc, err := s.(*netconn.Socket).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var serr error
	err = rc.Write(func(fd uintptr) bool {
		_, serr = unix.SendmsgN(int(fd), []byte(b), oob, nil, flags|unix.MSG_DONTWAIT)
		return serr != unix.EAGAIN
	})
	if err != nil || serr != nil {
		t.Fatal(err, serr)
	}
}

// What a side sends together with its end arrives whole, be it in one segment.
func TestBytesWithFIN(t *testing.T) {
	eachSocketKind(t, func(t *testing.T, kind string) {
		for _, n := range []int{1, 100, 100_000} {
			words := strings.Repeat("w", n)
			r := start(t, kind, kind, nil)
			sendWith(t, r.client, words, unix.MSG_MORE)
			r.client.CloseWrite()
			expect(t, r.host, words, "EOF")
			sendWith(t, r.host, words, unix.MSG_MORE)
			r.host.Close()
			expect(t, r.client, words, "EOF")
			r.expectEnd(filter.UpstreamClosed)
		}
	})
}

// A connection may have ended before the pump begins.
func TestEndedBeforeStart(t *testing.T) {
	for _, end := range []string{"CloseWrite", "Close", "Reset", "CloseWrite, Reset"} {
		eachSocketKind(t, func(t *testing.T, kind string) {
			t.Run(end, func(t *testing.T) {
				d, client := open(t, kind)
				u, host := open(t, kind)
				write(t, client, "early")
				awaitAcked(t, client)
				want, cause := "EOF", filter.DownstreamClosed
				switch end {
				case "CloseWrite":
					client.CloseWrite()
					host.CloseWrite()
				case "Close":
					client.Close()
					host.CloseWrite()
				case "Reset":
					client.Reset()
					if !strings.HasSuffix(kind, "unix") {
						want, cause = "reset", filter.DownstreamReset
					}
				default:
					client.CloseWrite()
					client.Reset()
				}
				h := newHop(t)
				g := &Group{Loops: loopsFor(kind, kind)}
				g.Start(d, u, h, nil)
				expect(t, host, "early", want)
				if e := h.wait(); e.Cause != cause && end != "CloseWrite" && end != "Close" {
					t.Errorf("cause %d, want %d", e.Cause, cause)
				}
				if up, down := h.moved(); up != 5 || down != 0 {
					t.Errorf("moved %d, %d", up, down)
				}
				client.Close()
				host.Close()
				expectNothingLeft(t, g)
			})
		})
	}
}

// Who sends and closes at the same moment as the other side does not lose anything
// to that.
func TestBothEndAtOnce(t *testing.T) {
	eachSocketKind(t, func(t *testing.T, kind string) {
		for range runs(50) {
			r := start(t, kind, kind, nil)
			var wg sync.WaitGroup
			begin := make(chan struct{})
			for _, s := range []filter.Stream{r.client, r.host} {
				wg.Go(func() {
					<-begin
					write(t, s, "last words")
					s.CloseWrite()
					expect(t, s, "last words", "EOF")
				})
			}
			close(begin)
			wg.Wait()
			if e := r.hop.wait(); e.Cause != filter.DownstreamClosed && e.Cause != filter.UpstreamClosed {
				t.Errorf("%+v", e)
			}
			if up, down := r.hop.moved(); up != 10 || down != 10 {
				t.Errorf("moved %d, %d", up, down)
			}
		}
	})
}

// A read stops at an urgent byte although there is more behind it, and so does a
// splice, for ever. The byte itself is not passed on.
func TestUrgentBytes(t *testing.T) {
	eachSocketKind(t, func(t *testing.T, kind string) {
		t.Run("between messages", func(t *testing.T) {
			r := start(t, kind, kind, nil)
			for range 20 {
				sendWith(t, r.client, "before", 0)
				sendWith(t, r.client, "!", unix.MSG_OOB)
				sendWith(t, r.client, "after", 0)
				if got := readInBand(t, r.host, len("beforeafter")); got != "beforeafter" {
					t.Fatalf("read %q", got)
				}
			}
		})
		t.Run("before the end", func(t *testing.T) {
			r := start(t, kind, kind, nil)
			sendWith(t, r.client, "before", 0)
			sendWith(t, r.client, "!", unix.MSG_OOB)
			r.client.CloseWrite()
			if b, e := read(r.host); strings.ReplaceAll(b, "!", "") != "before" || e != "EOF" {
				t.Errorf("read %q, %s", b, e)
			}
		})
		for _, limit := range []int{0, 5000} {
			t.Run(fmt.Sprint("in a stream with limit ", limit), func(t *testing.T) {
				h := newHop(t)
				h.limits.BufferBytes = limit
				urgentStream(t, start(t, kind, kind, nil, h))
			})
		}
	})
}

// urgentStream sends urgent bytes in the middle of a stream that moves through kernel
// pipes, and waits for the other side in between, so that nothing behind them wakes
// the pump up.
func urgentStream(t *testing.T, r *rig) {
	part := strings.Repeat("0123456789abcdef", 32<<10) // 512 KiB
	for round := range 10 {
		written := make(chan struct{})
		go func() {
			defer close(written)
			r.client.Write([]byte(part))
			sendWith(t, r.client, "!", unix.MSG_OOB)
			r.client.Write([]byte(part))
			if round == 9 {
				r.client.CloseWrite()
			}
		}()
		if got := readInBand(t, r.host, 2*len(part)); got != part+part {
			t.Fatalf("round %d: %d bytes, or others", round, len(got))
		}
		await(t, written)
	}
	if b, e := read(r.host); strings.Trim(b, "!") != "" || e != "EOF" {
		t.Errorf("at the end %s, %s", short(b), e)
	}
}

// readInBand reads n bytes that are not urgent, if the pump does not stall.
func readInBand(t *testing.T, s filter.Stream, n int) string {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	var got []byte
	for buf := make([]byte, 64<<10); len(got) < n; {
		k, err := s.Read(buf[:min(len(buf), n-len(got))])
		got = append(got, bytes.ReplaceAll(buf[:k], []byte("!"), nil)...)
		if err != nil {
			t.Fatalf("%v after %d of %d bytes", err, len(got), n)
		}
	}
	return string(got)
}

// A read of a Unix socket stops behind bytes that came with a descriptor.
func TestBytesWithDescriptors(t *testing.T) {
	for _, kind := range []string{"unix", "looped unix"} {
		t.Run(kind, func(t *testing.T) {
			d, client := open(t, kind)
			u, host := open(t, kind)
			rights := unix.UnixRights(int(os.Stderr.Fd()))
			sendWith(t, client, "with", 0, rights...)
			sendWith(t, client, " and ", 0, rights...)
			sendWith(t, client, "without", 0)
			h := newHop(t)
			g := &Group{Loops: loopsFor(kind, kind)}
			g.Start(d, u, h, nil)
			_ = host.SetReadDeadline(time.Now().Add(20 * time.Second))
			get(t, host, "with and without")
			client.CloseWrite()
			host.CloseWrite()
			h.wait()
			client.Close()
			host.Close()
			expectNothingLeft(t, g)
		})
	}
}

// kernelPipes counts the pipes of the process, by their ends.
func kernelPipes(t testing.TB) (n int) {
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, e := range dir {
		if name, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(name, "pipe:") {
			n++
		}
	}
	return n / 2
}

func (r *rig) awaitPipes(want int) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); kernelPipes(r.t) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%d kernel pipes, want %d", kernelPipes(r.t), want)
		}
	}
}

// Streams move through kernel pipes, which are given back when there is nothing to
// move.
func TestStreamsTakePipes(t *testing.T) {
	before := kernelPipes(t)
	r := start(t, looped, looped, nil)
	const piece = 64 << 10
	var sent sync.WaitGroup
	sent.Go(func() { r.client.Write(make([]byte, 200*piece)) })
	for i := range 200 {
		readInBand(t, r.host, piece)
		if i == 100 {
			r.awaitPipes(before + 1)
		}
	}
	sent.Wait()
	r.awaitPipes(before)
	write(t, r.client, "small")
	get(t, r.host, "small")
	write(t, r.host, "answer")
	get(t, r.client, "answer")
	r.awaitPipes(before)
}

// A pipe with bytes in it goes with its connection.
func TestPipesOfStuckStreamsAreClosed(t *testing.T) {
	for _, end := range []string{"CloseLocal", "client resets", "host resets"} {
		t.Run(end, func(t *testing.T) {
			before := kernelPipes(t)
			r := startIn(t, hasty(), looped, looped, nil)
			r.stuff(r.client, filter.FromDownstream)
			r.awaitStuck()
			switch end {
			case "CloseLocal":
				r.pump.CloseLocal(r.hop, "enough")
			case "client resets":
				r.client.Reset()
			default:
				r.host.Reset()
			}
			r.hop.wait()
			r.awaitPipes(before)
		})
	}
}

// awaitStuck waits until nothing moves although the client has more: a stream is then
// in the middle of a pipe, or of a buffer.
func (r *rig) awaitStuck() {
	var last uint64
	for same := 0; same < 20; time.Sleep(time.Millisecond) {
		r.pump.Settle()
		if up, _ := r.hop.moved(); up == last {
			same++
		} else {
			last, same = up, 0
		}
	}
}

// More streams than there are pipes move, too.
func TestMoreStreamsThanPipes(t *testing.T) {
	const streams = maxPipes + 16
	size := 4 << 20
	if raceEnabled {
		size /= 4
	}
	before := kernelPipes(t)
	rigs := startMany(t, &Group{Loops: 1}, make([]int, streams)...)
	var wg sync.WaitGroup
	for i, r := range rigs {
		b := random(uint64(i), size)
		wg.Go(func() { r.client.Write(b); r.client.CloseWrite() })
		wg.Go(func() {
			// All are stuck before any goes on.
			got := make([]byte, 100)
			io.ReadFull(r.host, got)
			for _, r := range rigs {
				r.awaitStuck()
			}
			rest, err := io.ReadAll(r.host)
			if got = append(got, rest...); err != nil || !bytes.Equal(got, b) {
				t.Errorf("stream %d: %d of %d bytes, equal %v, %v", i, len(got), len(b), bytes.Equal(got, b), err)
			}
			r.host.CloseWrite()
		})
	}
	if n := kernelPipes(t) - before; n > maxPipes {
		t.Errorf("%d pipes", n)
	}
	wg.Wait()
	for _, r := range rigs {
		r.expectEnd(filter.UpstreamClosed)
	}
	rigs[0].awaitPipes(before)
}

// startMany starts pumps between sockets in one group, each with its BufferBytes. The
// group is checked for leaks when the test ends.
func startMany(t testing.TB, g *Group, bufferBytes ...int) (rigs []*rig) {
	t.Helper()
	before := fds(t)
	s := listen(t, looped)
	defer s.Close()
	for _, limit := range bufferBytes {
		d, client := s.connect(t)
		u, host := s.connect(t)
		r := &rig{t: t, g: g, hop: newHop(t), client: client, host: host}
		r.hop.limits.BufferBytes = limit
		r.pump = g.Start(d, u, r.hop, nil)
		rigs = append(rigs, r)
	}
	t.Cleanup(func() {
		for _, r := range rigs {
			r.client.Close()
			r.host.Close()
		}
		expectNothingLeft(t, g)
		if n := fds(t); n != before {
			t.Errorf("%d descriptors before, %d after", before, n)
		}
	})
	return rigs
}

// Without descriptors for pipes bytes are copied, and without those for loops
// goroutines move them.
func TestNoDescriptorsLeft(t *testing.T) {
	for _, c := range []struct {
		name   string
		before bool // the loops run already
	}{{"for pipes", true}, {"for loops", false}} {
		t.Run(c.name, func(t *testing.T) {
			g := &Group{Loops: 1}
			defer expectNothingLeft(t, g)
			d, client := open(t, looped)
			u, host := open(t, looped)
			defer client.Close()
			defer host.Close()
			for _, s := range []filter.Stream{client, host} { // known to the Go poller
				_ = s.SetDeadline(time.Time{})
			}
			if c.before {
				if err := g.Open(); err != nil {
					t.Fatal(err)
				}
			}
			pipes := kernelPipes(t)
			restore := useUpDescriptors(t)
			defer restore()
			h := newHop(t)
			p := g.Start(d, u, h, nil)
			if _, looped := p.(*wire); looped != c.before {
				t.Errorf("moved by a loop: %v", looped)
			}
			b := random(1, 8<<20)
			var wg sync.WaitGroup
			wg.Go(func() { client.Write(b); client.CloseWrite() })
			got, err := io.ReadAll(host)
			if err != nil || !bytes.Equal(got, b) {
				t.Errorf("%d of %d bytes, %v", len(got), len(b), err)
			}
			host.CloseWrite()
			wg.Wait()
			h.wait()
			restore()
			if n := kernelPipes(t); n != pipes {
				t.Errorf("%d pipes", n-pipes)
			}
		})
	}
}

// useUpDescriptors takes all of them until restored.
func useUpDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	var files []int
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		files = append(files, fd)
	}
	return func() {
		for _, fd := range files {
			unix.Close(fd)
		}
		files = nil
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	}
}

// However much there is to move, a loop finds time for others, even where it may hold
// next to nothing.
func TestStreamsLeaveTimeForMessages(t *testing.T) {
	for _, limit := range []int{0, 1, 4096} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			g := &Group{Loops: 1}
			rigs := startMany(t, g, limit, limit, limit, limit, 0)
			rigs, small := rigs[:4], rigs[4]
			var streams sync.WaitGroup
			for _, r := range rigs {
				streams.Go(func() { io.Copy(r.client, zeros{}) })
				streams.Go(func() { io.Copy(io.Discard, r.host) })
			}
			t.Cleanup(func() {
				for _, r := range rigs {
					r.client.Close()
					r.host.Close()
				}
				streams.Wait()
			})
			for range runs(500) {
				write(t, small.client, "question")
				get(t, small.host, "question")
				write(t, small.host, "answer")
				get(t, small.client, "answer")
			}
			for _, r := range rigs { // they still move
				r.awaitMore()
			}
		})
	}
}

// awaitMore waits for bytes that pass after it was called.
func (r *rig) awaitMore() {
	r.t.Helper()
	r.pump.Settle()
	before, _ := r.hop.moved()
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		r.pump.Settle()
		if now, _ := r.hop.moved(); now != before {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal("a stream stands still")
		}
	}
}

// An observer may start the next pump from within the end of the last.
func TestStartFromEnded(t *testing.T) {
	const lives = 20
	type pairOfStreams struct{ d, u, client, host filter.Stream }
	var next []pairOfStreams
	for range lives {
		d, client := open(t, looped)
		u, host := open(t, looped)
		next = append(next, pairOfStreams{d, u, client, host})
	}
	g := &Group{Loops: 1}
	var begin func(i int) filter.Outer
	ended := make(chan filter.Ending, lives)
	begin = func(i int) filter.Outer {
		return &chained{newHop(t), func(e filter.Ending) {
			if i+1 < lives {
				g.Start(next[i+1].d, next[i+1].u, begin(i+1), nil)
			}
			ended <- e
		}}
	}
	g.Start(next[0].d, next[0].u, begin(0), nil)
	for _, s := range next {
		write(t, s.client, "hello")
		get(t, s.host, "hello")
		s.client.Reset()
		if e := await(t, ended); e.Cause != filter.DownstreamReset {
			t.Errorf("%+v", e)
		}
		s.host.Close()
	}
	expectNothingLeft(t, g)
}

// chained does something at its end.
type chained struct {
	*hop
	then func(filter.Ending)
}

func (c *chained) Ended(e filter.Ending) {
	c.hop.Ended(e)
	c.then(e)
}

// A verdict may reach the loop before the pump itself does, and from any goroutine.
func TestCloseLocalRightAfterStart(t *testing.T) {
	g := &Group{Loops: 2}
	s := listen(t, looped)
	defer s.Close()
	for range runs(300) {
		d, client := s.connect(t)
		u, host := s.connect(t)
		hops := three(t, 0, 0)
		hops[0].outer = hops[1]
		var wg sync.WaitGroup
		hops[1].serves = func(p filter.Pump) {
			wg.Go(func() { p.CloseLocal(hops[1], "never mind") })
			wg.Go(p.Settle)
		}
		p := g.Start(d, u, hops[0], nil)
		p.CloseLocal(hops[1], "never mind")
		expectEndings(t, hops, filter.DownstreamClosed, filter.LocalClose)
		expect(t, client, "", "EOF")
		expect(t, host, "", "EOF")
		wg.Wait()
		p.CloseLocal(hops[0], "it is over")
		client.Close()
		host.Close()
	}
	expectNothingLeft(t, g)
}

// A group may be waited for and used again, also while others start pumps.
func TestWaitAndStartAgain(t *testing.T) {
	g := &Group{Loops: 2}
	s := listen(t, looped)
	defer s.Close()
	life := func() {
		d, client := s.connect(t)
		u, host := s.connect(t)
		h := newHop(t)
		g.Start(d, u, h, nil)
		write(t, client, "hello")
		get(t, host, "hello")
		client.CloseWrite()
		host.CloseWrite()
		h.wait()
		client.Close()
		host.Close()
	}
	before := fds(t)
	for range 10 {
		life()
		life()
		expectNothingLeft(t, g)
		if n := fds(t); n != before {
			t.Errorf("%d descriptors, %d before", n, before)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range runs(50) {
				life()
				g.Wait()
			}
		})
	}
	wg.Wait()
	expectNothingLeft(t, g)
}
