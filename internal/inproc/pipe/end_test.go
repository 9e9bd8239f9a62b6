package pipe_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// ends is the table of the package doc: what the peer of an end that ended sees.
var ends = []struct {
	name      string
	end       func(*pipe.Conn) error
	read      error // after what was queued
	write     error // nil: goes on
	closed    bool  // PeerClosed
	reset     bool
	ownRead   error // at the end itself; nil: goes on
	ownWrites error
}{
	{"CloseWrite", (*pipe.Conn).CloseWrite, io.EOF, nil, false, false, nil, syscall.EPIPE},
	{"Close", (*pipe.Conn).Close, io.EOF, syscall.EPIPE, true, false, net.ErrClosed, net.ErrClosed},
	{"Reset", (*pipe.Conn).Reset, pipe.ErrReset, pipe.ErrReset, true, true, net.ErrClosed, net.ErrClosed},
}

// eachEnd runs f for every way to end and for either end that does it.
func eachEnd(t *testing.T, f func(t *testing.T, i int, a, b *pipe.Conn)) {
	for i, e := range ends {
		t.Run(e.name+"/client", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newPair(t, pipe.Options{LimitBytes: 1 << 10})
				f(t, i, a, b)
			})
		})
		t.Run(e.name+"/server", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, a := newPair(t, pipe.Options{LimitBytes: 1 << 10})
				f(t, i, a, b)
			})
		})
	}
}

func mustBe(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestPeerSeesQueuedBytesThenTheEnd(t *testing.T) {
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		e := ends[i]
		write(t, a, "before")
		if err := e.end(a); err != nil {
			t.Fatal(err)
		}
		if b.PeerClosed() != e.closed {
			t.Errorf("PeerClosed with bytes queued = %t", !e.closed)
		}
		if err := b.WaitReadable(); err != nil {
			t.Errorf("WaitReadable with bytes queued: %v", err)
		}
		got, err := io.ReadAll(b)
		if e.read == io.EOF {
			e.read = nil
		}
		mustBe(t, "ReadAll", err, e.read)
		if string(got) != "before" {
			t.Errorf("read %q", got)
		}
	})
}

func TestEveryReadSeesTheEnd(t *testing.T) {
	reads := map[string]func(*pipe.Conn) error{
		"Read":      func(c *pipe.Conn) error { _, err := c.Read(make([]byte, 9)); return err },
		"ReadChunk": func(c *pipe.Conn) error { _, err := c.ReadChunk(); return err },
		"Peek": func(c *pipe.Conn) error {
			n, err := c.Peek(make([]byte, 9), 0)
			if n != 0 {
				err = errors.New("bytes from nowhere")
			}
			return err
		},
		"WriteTo": func(c *pipe.Conn) error {
			_, err := c.WriteTo(io.Discard)
			if err == nil {
				err = io.EOF
			}
			return err
		},
	}
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		ends[i].end(a)
		for name, read := range reads {
			for range 2 { // an end does not go away
				mustBe(t, name, read(b), ends[i].read)
			}
		}
		if err := b.WaitReadable(); err != nil {
			t.Errorf("WaitReadable at the end: %v", err)
		}
	})
}

func TestWritesAfterTheEnd(t *testing.T) {
	writes := map[string]func(*pipe.Conn) error{
		"Write":      func(c *pipe.Conn) error { _, err := c.Write([]byte("late")); return err },
		"WriteChunk": func(c *pipe.Conn) error { return c.WriteChunk(chunkOf("late")) },
		"ReadFrom": func(c *pipe.Conn) error {
			_, err := c.ReadFrom(io.LimitReader(zeros{}, 4))
			return err
		},
	}
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		ends[i].end(a)
		for name, write := range writes {
			mustBe(t, "peer's "+name, write(b), ends[i].write)
			mustBe(t, "own "+name, write(a), ends[i].ownWrites)
		}
		for _, c := range []*pipe.Conn{a, b} {
			if _, err := c.Write(nil); err != nil {
				t.Errorf("empty Write: %v", err)
			}
			if err := c.WriteChunk(pipe.NewChunk(1)); err != nil {
				t.Errorf("empty WriteChunk: %v", err)
			}
			if _, err := c.Read(nil); err != nil {
				t.Errorf("empty Read: %v", err)
			}
		}
	})
}

func TestOwnReadsAfterTheEnd(t *testing.T) {
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		write(t, b, "unread")
		ends[i].end(a)
		n, err := a.Read(make([]byte, 9))
		mustBe(t, "Read", err, ends[i].ownRead)
		if half := ends[i].ownRead == nil; half != (n == len("unread")) {
			t.Errorf("Read = %d bytes", n)
		}
		if ends[i].closed {
			mustBe(t, "WaitReadable", a.WaitReadable(), net.ErrClosed)
		}
	})
}

func TestCloseDiscardsWhatIsUnread(t *testing.T) {
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		before := pipe.ChunksInUse()
		write(t, b, "unread")
		ends[i].end(a)
		_, out := b.Buffered()
		in, _ := a.Buffered()
		if half := ends[i].ownRead == nil; half != (in == 6) || half != (out == 6) {
			t.Errorf("%d and %d bytes queued", in, out)
		}
		if n := pipe.ChunksInUse() - before; ends[i].closed && n != 0 {
			t.Errorf("%d chunks kept", n)
		}
	})
}

func TestEndWakesBlockedReader(t *testing.T) {
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		peer := inBackground(func() error { _, err := b.Read(make([]byte, 1)); return err })
		wait := inBackground(b.WaitReadable)
		synctest.Wait()
		ends[i].end(a)
		mustBe(t, "blocked Read", <-peer, ends[i].read)
		mustBe(t, "blocked WaitReadable", <-wait, nil)
	})
}

func TestEndWakesBlockedWriters(t *testing.T) {
	for _, e := range ends[1:] {
		t.Run(e.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newPair(t, pipe.Options{LimitBytes: 1 << 10})
				fill(t, b)
				one := inBackground(func() error { _, err := b.Write([]byte("x")); return err })
				two := inBackground(func() error { return b.WriteChunk(chunkOf("y")) })
				three := inBackground(func() error { _, err := b.ReadFrom(zeros{}); return err })
				synctest.Wait()
				e.end(a)
				mustBe(t, "Write", <-one, e.write)
				mustBe(t, "WriteChunk", <-two, e.write)
				mustBe(t, "ReadFrom", <-three, e.write)
			})
		})
	}
}

func TestEndWakesOwnBlockedCalls(t *testing.T) {
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		fill(t, a)
		w := inBackground(func() error { _, err := a.Write([]byte("x")); return err })
		r := inBackground(func() error { _, err := a.Read(make([]byte, 1)); return err })
		synctest.Wait()
		ends[i].end(a)
		mustBe(t, "own Write", <-w, ends[i].ownWrites)
		if ends[i].ownRead == nil {
			synctest.Wait()
			select {
			case err := <-r:
				t.Errorf("half close ended an own Read: %v", err)
			default:
			}
			write(t, b, "x")
		}
		mustBe(t, "own Read", <-r, ends[i].ownRead)
	})
}

func TestFailedWriteTellsHowMuchWasQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, pipe.Options{LimitBytes: 1 << 10})
		type result struct {
			n   int
			err error
		}
		done := make(chan result, 1)
		go func() {
			n, err := a.Write(make([]byte, 100<<10))
			done <- result{n, err}
		}()
		synctest.Wait()
		_, queued := a.Buffered()
		b.Reset()
		r := <-done
		mustBe(t, "Write", r.err, pipe.ErrReset)
		if r.n != queued || r.n < 1<<10 {
			t.Errorf("Write = %d, %d were queued", r.n, queued)
		}
	})
}

func TestHalfCloseLeavesTheOtherDirection(t *testing.T) {
	a, b := newPair(t, pipe.Options{})
	write(t, a, "request")
	for range 2 {
		if err := a.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	}
	if got, err := io.ReadAll(b); string(got) != "request" || err != nil {
		t.Errorf("ReadAll = %q, %v", got, err)
	}
	write(t, b, "late reply")
	b.CloseWrite()
	if got, err := io.ReadAll(a); string(got) != "late reply" || err != nil {
		t.Errorf("ReadAll = %q, %v", got, err)
	}
	if a.PeerClosed() || b.PeerClosed() {
		t.Error("two half closes are a full close")
	}
}

// The first end counts: a reply that was closed in order does not turn into a
// reset because of what either side does later.
func TestLaterEndsChangeNothing(t *testing.T) {
	a, b := newPair(t, pipe.Options{})
	write(t, a, "reply")
	for i, end := range []func() error{a.Close, a.Close, a.Reset} {
		if err := end(); err != nil {
			t.Errorf("end %d: %v", i, err)
		}
	}
	mustBe(t, "CloseWrite after Close", a.CloseWrite(), net.ErrClosed)
	if got, err := io.ReadAll(b); string(got) != "reply" || err != nil {
		t.Errorf("ReadAll = %q, %v", got, err)
	}
	if err := b.CloseWrite(); err != nil {
		t.Errorf("CloseWrite to a closed peer: %v", err)
	}
}

func TestResetAfterHalfClose(t *testing.T) {
	a, b := newPair(t, pipe.Options{})
	write(t, a, "part")
	a.CloseWrite()
	a.Reset()
	got, err := io.ReadAll(b)
	mustBe(t, "ReadAll", err, pipe.ErrReset)
	mustBe(t, "ReadAll", err, syscall.ECONNRESET)
	if string(got) != "part" {
		t.Errorf("read %q", got)
	}
}

func TestOnPeerGone(t *testing.T) {
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		e := ends[i]
		var told, late []bool
		b.OnPeerGone(func(bool) { t.Error("replaced callback called") })
		b.OnPeerGone(func(reset bool) {
			b.Buffered() // would hang if a lock were held
			a.PeerClosed()
			told = append(told, reset)
		})
		a.OnPeerGone(func(bool) { t.Error("told of its own end") })
		e.end(a)
		e.end(a)
		b.OnPeerGone(func(reset bool) { late = append(late, reset) })
		if !e.closed {
			if len(told)+len(late) > 0 {
				t.Error("told of a half close")
			}
			a.OnPeerGone(nil)
			return
		}
		if len(told) != 1 || told[0] != e.reset || len(late) != 1 || late[0] != e.reset {
			t.Errorf("told %v, late %v, want once each: %t", told, late, e.reset)
		}
		b.OnPeerGone(nil)
		b.Close()
		b.OnPeerGone(func(bool) { t.Error("told after its own Close") })
	})
}

func TestSimultaneousEnds(t *testing.T) {
	for range 500 {
		a, b := newPair(t, pipe.Options{})
		write(t, a, "x")
		write(t, b, "y")
		told := make(chan bool, 4)
		a.OnPeerGone(func(bool) { told <- true })
		b.OnPeerGone(func(bool) { told <- true })
		x, y := inBackground(a.Close), inBackground(b.Reset)
		<-x
		<-y
		if len(told) != 1 { // whoever was second had no callback any more
			t.Fatalf("%d callbacks", len(told))
		}
	}
}

func TestManyLives(t *testing.T) {
	before := pipe.ChunksInUse()
	for i := range 10_000 {
		a, b := pipe.New(pipe.Options{})
		a.Write([]byte("request"))
		b.WriteChunk(chunkOf("reply"))
		ends[i%3].end(a)
		ends[1+i%2].end(b)
		a.Close()
	}
	if n := pipe.ChunksInUse() - before; n != 0 {
		t.Errorf("%d chunks in use", n)
	}
}

func inBackground(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func chunkOf(s string) *pipe.Chunk {
	k := pipe.NewChunk(len(s))
	k.Extend(copy(k.Room(), s))
	return k
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// The reason of a close is there for the peer as soon as it has closed, whatever is left to
// be read; and only of the close that counts.
func TestWhy(t *testing.T) {
	eachEnd(t, func(t *testing.T, i int, a, b *pipe.Conn) {
		why := errors.New("refused")
		write(t, a, "before")
		mustBe(t, "before the end", b.Why(), nil)
		if err := ends[i].end(a); err != nil {
			t.Fatal(err)
		}
		_ = a.CloseFor(why)
		want := why
		if ends[i].closed {
			want = nil
		}
		mustBe(t, "at the peer", b.Why(), want)
		mustBe(t, "at the end itself", a.Why(), nil)
	})
}
