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
	"golang.org/x/sys/unix"
)

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
