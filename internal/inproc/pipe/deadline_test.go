package pipe_test

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

var past = time.Unix(1, 0)

func expireWrites(c *pipe.Conn) { c.SetWriteDeadline(time.Now().Add(time.Hour)) }
func neverExpire(c *pipe.Conn)  { c.SetDeadline(time.Time{}) }

func mustTimeOut(t *testing.T, what string, err error) {
	t.Helper()
	mustBe(t, what, err, os.ErrDeadlineExceeded)
	if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
		t.Errorf("%s: %v is no timeout", what, err)
	}
}

// calls are all that can wait, on an end whose outgoing queue is full.
var calls = map[string]func(*pipe.Conn) error{
	"Read":         func(c *pipe.Conn) error { _, err := c.Read(make([]byte, 1)); return err },
	"ReadChunk":    func(c *pipe.Conn) error { _, err := c.ReadChunk(); return err },
	"WaitReadable": (*pipe.Conn).WaitReadable,
	"Peek":         func(c *pipe.Conn) error { _, err := c.Peek(make([]byte, 1), 0); return err },
	"Write":        func(c *pipe.Conn) error { _, err := c.Write([]byte("x")); return err },
	"WriteChunk":   func(c *pipe.Conn) error { return c.WriteChunk(chunkOf("x")) },
	"ReadFrom":     func(c *pipe.Conn) error { _, err := c.ReadFrom(zeros{}); return err },
}

// eachCall runs f in a bubble with an end on which call waits.
func eachCall(t *testing.T, f func(t *testing.T, c *pipe.Conn, call func() error)) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := newPair(t, pipe.Options{LimitBytes: 1 << 10})
				fill(t, c)
				f(t, c, func() error { return call(c) })
			})
		})
	}
}

func TestDeadlineComes(t *testing.T) {
	eachCall(t, func(t *testing.T, c *pipe.Conn, call func() error) {
		start := time.Now()
		c.SetDeadline(start.Add(time.Minute))
		mustTimeOut(t, "first call", call())
		if d := time.Since(start); d != time.Minute {
			t.Errorf("waited %v", d)
		}
		mustTimeOut(t, "second call", call())
		if d := time.Since(start); d != time.Minute {
			t.Errorf("waited again, %v", d)
		}
		c.SetDeadline(time.Now().Add(time.Second)) // a fired timer can be set again
		mustTimeOut(t, "third call", call())
		if d := time.Since(start); d != time.Minute+time.Second {
			t.Errorf("third call ended after %v", d)
		}
	})
}

func TestDeadlineChangesUnderABlockedCall(t *testing.T) {
	for _, tt := range []struct {
		name string
		sets []time.Duration // from the start; -1: none, 0: past
		want time.Duration
	}{
		{"later", []time.Duration{time.Second, time.Hour}, time.Hour},
		{"sooner", []time.Duration{time.Hour, time.Second}, time.Second},
		{"none, then one", []time.Duration{time.Second, -1, time.Minute}, time.Minute},
		{"past", []time.Duration{time.Hour, 0}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachCall(t, func(t *testing.T, c *pipe.Conn, call func() error) {
				start := time.Now()
				done := inBackground(call)
				for _, d := range tt.sets {
					synctest.Wait()
					switch d {
					case -1:
						neverExpire(c)
					case 0:
						c.SetDeadline(past)
					default:
						c.SetDeadline(start.Add(d))
					}
				}
				mustTimeOut(t, "call", <-done)
				if d := time.Since(start); d != tt.want {
					t.Errorf("ended after %v, want %v", d, tt.want)
				}
			})
		})
	}
}

// As on a socket a past deadline fails calls that would not have to wait.
func TestPastDeadlineFailsAtOnce(t *testing.T) {
	a, b := newPair(t, pipe.Options{})
	write(t, b, "there")
	a.SetDeadline(past)
	for name, call := range calls {
		mustTimeOut(t, name, call(a))
	}
	neverExpire(a)
	if n, err := a.Read(make([]byte, 9)); n != 5 || err != nil {
		t.Errorf("Read = %d, %v after the deadline was lifted", n, err)
	}
	write(t, a, "still open")
}

func TestDeadlinesAreOfOneDirection(t *testing.T) {
	a, b := newPair(t, pipe.Options{})
	a.SetReadDeadline(past)
	write(t, a, "x")
	a.SetReadDeadline(time.Time{})
	a.SetWriteDeadline(past)
	write(t, b, "y")
	if _, err := a.Read(make([]byte, 1)); err != nil {
		t.Errorf("write deadline failed a Read: %v", err)
	}
	if _, err := b.Read(make([]byte, 1)); err != nil {
		t.Errorf("a's deadline failed b's Read: %v", err)
	}
}

// A deadline that comes in the moment it is moved must not count any more.
func TestDeadlineMovedAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, pipe.Options{})
		write(t, b, "x")
		for range 300 {
			a.SetReadDeadline(time.Now().Add(time.Second))
			time.Sleep(time.Second) // both wake in one instant, in either order
			a.SetReadDeadline(time.Now().Add(time.Hour))
			synctest.Wait()
			if err := a.WaitReadable(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Far deadlines do not keep closed connections in memory. The runtime forgets
// stopped timers lazily, a few of them not at all, hence the many.
func TestClosedPairsAreCollected(t *testing.T) {
	const pairs = 1000
	var closed [pairs]weak.Pointer[pipe.Conn]
	for i := range closed {
		a, b := pipe.New(pipe.Options{})
		a.SetDeadline(time.Now().Add(time.Hour))
		b.SetDeadline(time.Now().Add(time.Hour))
		a.Close()
		b.Close()
		closed[i] = weak.Make(a)
	}
	alive := pairs
	for range 100 {
		runtime.GC()
		alive = 0
		for _, c := range closed {
			if c.Value() != nil {
				alive++
			}
		}
		if alive < pairs/2 {
			return
		}
	}
	t.Errorf("%d of %d are still in memory", alive, pairs)
}

func TestDeadlineAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, pipe.Options{})
		a.SetDeadline(time.Now().Add(time.Second))
		a.Close()
		for _, set := range []func(time.Time) error{a.SetDeadline, a.SetReadDeadline, a.SetWriteDeadline} {
			mustBe(t, "set", set(time.Now()), net.ErrClosed)
		}
		mustBe(t, "Read", calls["Read"](a), net.ErrClosed)
		if err := b.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Errorf("deadline with a closed peer: %v", err)
		}
	})
}
