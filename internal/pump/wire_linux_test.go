package pump

import (
	"bytes"
	"fmt"
	"os"
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

// However often the other direction has a wire look whether there is room, the time to
// look at the peer comes.
func TestPauseLeavesAnAlarmThatIsDue(t *testing.T) {
	const due = time.Second
	l := &loop{group: new(Group), now: due + 1}
	w := &wire{link: link{group: l.group}, loop: l, phase: moving}
	w.sides[filter.FromUpstream].is |= roomy
	s := &w.sides[filter.FromDownstream]
	s.is |= paused
	s.alarm = due
	w.pause(filter.FromDownstream)
	if s.alarm != due {
		t.Errorf("put off until %v", s.alarm)
	}
}
