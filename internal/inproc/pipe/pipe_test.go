package pipe_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

func TestNetConn(t *testing.T) {
	for _, limit := range []int{0, 1, 1 << 10, 64 << 10} {
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			a, b := pipe.New(pipe.Options{LimitBytes: limit})
			return a, b, func() { a.Close(); b.Close() }, nil
		})
	}
}

type name string

func (name) Network() string  { return "internal" }
func (n name) String() string { return string(n) }

func TestAddresses(t *testing.T) {
	a, b := newPair(t, pipe.Options{ClientAddr: name("client"), ServerAddr: name("server")})
	for _, got := range []struct{ addr, want net.Addr }{
		{a.LocalAddr(), name("client")}, {a.RemoteAddr(), name("server")},
		{b.LocalAddr(), name("server")}, {b.RemoteAddr(), name("client")},
	} {
		if got.addr != got.want {
			t.Errorf("%v, want %v", got.addr, got.want)
		}
	}
	a, _ = newPair(t, pipe.Options{})
	if a.LocalAddr().String() == "" || a.RemoteAddr().Network() == "" {
		t.Error("no default address")
	}
}

func TestLimit(t *testing.T) {
	for _, tt := range []struct {
		name               string
		o                  pipe.Options
		toServer, toClient int
	}{
		{"default", pipe.Options{}, 1 << 20, 1 << 20},
		{"1 KiB", pipe.Options{LimitBytes: 1 << 10}, 1 << 10, 1 << 10},
		{"1 byte", pipe.Options{LimitBytes: 1}, 1, 1},
		{"lower to the server", pipe.Options{ToServerLimitBytes: 32 << 10}, 32 << 10, 1 << 20},
		{"lower to the client", pipe.Options{LimitBytes: 8 << 20, ToClientLimitBytes: 100_000}, 8 << 20, 100_000},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := newPair(t, tt.o)
			for _, d := range []struct {
				from, to *pipe.Conn
				limit    int
			}{{client, server, tt.toServer}, {server, client, tt.toClient}} {
				n := fill(t, d.from)
				if n < d.limit || n >= d.limit+16<<10 {
					t.Errorf("%s: %d bytes queued, limit %d", tt.name, n, d.limit)
				}
				_, out := d.from.Buffered()
				in, _ := d.to.Buffered()
				if in != n || out != n {
					t.Errorf("Buffered: %d at the reader, %d at the writer, want %d", in, out, n)
				}
			}
		})
	}
}

// One Write larger than all room, and one chunk, go over the limit only so far.
func TestOvershoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, pipe.Options{LimitBytes: 256 << 10})
		a.SetWriteDeadline(time.Now().Add(time.Hour))
		n, err := a.Write(make([]byte, 1<<20))
		mustBe(t, "Write", err, os.ErrDeadlineExceeded)
		if n < 256<<10 || n >= 272<<10 {
			t.Errorf("Write queued %d", n)
		}
		b.Read(make([]byte, n-256<<10+1)) // one byte below the limit
		neverExpire(a)
		k := pipe.NewChunk(pipe.LargeChunkBytes)
		k.Extend(pipe.LargeChunkBytes)
		if err := a.WriteChunk(k); err != nil {
			t.Fatal(err)
		}
		if _, out := a.Buffered(); out != 320<<10-1 {
			t.Errorf("%d queued", out)
		}
	})
}

// A listener that asks for a small buffer does not get 64 KiB of storage.
func TestLowLimitTakesSmallChunks(t *testing.T) {
	sends := map[string]func(*pipe.Conn){
		"Write":    func(c *pipe.Conn) { c.Write(make([]byte, 20<<10)) },
		"ReadFrom": func(c *pipe.Conn) { c.ReadFrom(io.LimitReader(zeros{}, 20<<10)) },
	}
	for name, send := range sends {
		a, b := newPair(t, pipe.Options{LimitBytes: 1 << 10})
		go func() { send(a); a.Close() }()
		for {
			k, err := b.ReadChunk()
			if err != nil {
				break
			}
			if n := k.Len() + len(k.Room()); n > pipe.SmallChunkBytes {
				t.Errorf("%s: a chunk of %d bytes", name, n)
			}
			k.Free()
		}
	}
}

func TestBlockedWriterGoesOnAtHalfTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 8 << 10
		a, b := newPair(t, pipe.Options{LimitBytes: limit})
		n := fill(t, a)
		done := inBackground(func() error { _, err := a.Write([]byte("x")); return err })
		synctest.Wait()
		b.Read(make([]byte, n-limit/2-1))
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("went on above half the limit")
		default:
		}
		b.Read(make([]byte, 1))
		mustBe(t, "Write", <-done, nil)
	})
}

// What is queued may not take many times the limit in storage, however little
// is in each chunk that is handed over.
func TestNearlyEmptyChunksAreMerged(t *testing.T) {
	a, b := newPair(t, pipe.Options{LimitBytes: 64 << 10})
	before := pipe.ChunksInUse()
	var want bytes.Buffer
	for i := range 6000 {
		s := string(rune('a' + i%26))
		k := pipe.NewChunk(pipe.LargeChunkBytes)
		k.Extend(copy(k.Room(), s))
		want.WriteString(s)
		if err := a.WriteChunk(k); err != nil {
			t.Fatal(err)
		}
	}
	if n := pipe.ChunksInUse() - before; n != 1 {
		t.Errorf("6000 bytes in %d chunks", n)
	}
	a.Close()
	if got, err := io.ReadAll(b); !bytes.Equal(got, want.Bytes()) || err != nil {
		t.Errorf("bytes changed, %v", err)
	}
}

func TestTransfers(t *testing.T) {
	data := make([]byte, 10<<20)
	for i := range data {
		data[i] = byte(i * i >> 5)
	}
	sum := sha256.Sum256(data)
	sends := map[string]func(*pipe.Conn) error{
		"Write":    func(c *pipe.Conn) error { _, err := c.Write(data); return err },
		"ReadFrom": func(c *pipe.Conn) error { _, err := c.ReadFrom(bytes.NewReader(data)); return err },
		"odd pieces": func(c *pipe.Conn) error {
			_, err := io.CopyBuffer(struct{ io.Writer }{c}, bytes.NewReader(data), make([]byte, 1237))
			return err
		},
		"small then large": func(c *pipe.Conn) error {
			_, err := c.ReadFrom(io.MultiReader(bytes.NewReader(data[:5]), bytes.NewReader(data[5:9000]), bytes.NewReader(data[9000:])))
			return err
		},
	}
	receives := map[string]func(*pipe.Conn, io.Writer) error{
		"WriteTo": func(c *pipe.Conn, w io.Writer) error { _, err := c.WriteTo(w); return err },
		"Read": func(c *pipe.Conn, w io.Writer) error {
			_, err := io.CopyBuffer(w, struct{ io.Reader }{c}, make([]byte, 3001))
			return err
		},
		"through a second pipe": func(c *pipe.Conn, w io.Writer) error {
			x, y := pipe.New(pipe.Options{LimitBytes: 100_000})
			hop := inBackground(func() error { defer x.Close(); _, err := x.ReadFrom(c); return err })
			_, err := y.WriteTo(w)
			y.Close()
			return errors.Join(err, <-hop)
		},
	}
	for _, limit := range []int{1, 1 << 10, 64 << 10, 1 << 20} {
		for sname, send := range sends {
			for rname, receive := range receives {
				a, b := newPair(t, pipe.Options{LimitBytes: limit})
				sent := inBackground(func() error { defer a.Close(); return send(a) })
				h := sha256.New()
				if err := receive(b, h); err != nil {
					t.Errorf("limit %d, %s, %s: %v", limit, sname, rname, err)
				}
				if err := <-sent; err != nil {
					t.Errorf("limit %d, %s, %s: %v", limit, sname, rname, err)
				}
				if !bytes.Equal(h.Sum(nil), sum[:]) {
					t.Errorf("limit %d, %s, %s: bytes changed", limit, sname, rname)
				}
			}
		}
	}
}

func TestConcurrentWritesDoNotMix(t *testing.T) {
	const writers, size = 8, 40_000
	a, b := newPair(t, pipe.Options{LimitBytes: 16 << 10})
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() { a.Write(bytes.Repeat([]byte{byte(i)}, size)) })
	}
	go func() { wg.Wait(); a.Close() }()
	got, err := io.ReadAll(b)
	if len(got) != writers*size || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for ; len(got) > 0; got = got[size:] {
		if bytes.Count(got[:size], got[:1]) != size {
			t.Fatal("writes were mixed")
		}
	}
}

func TestConcurrentReadersGetEveryByteOnce(t *testing.T) {
	const readers, total = 4, 1 << 20
	a, b := newPair(t, pipe.Options{LimitBytes: 4 << 10})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sum, count int
	for range readers {
		wg.Go(func() {
			p := make([]byte, 777)
			for {
				n, err := b.Read(p)
				mu.Lock()
				for _, c := range p[:n] {
					sum += int(c)
				}
				count += n
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	want := 0
	for i := 0; i < total; i += 1024 {
		a.Write(bytes.Repeat([]byte{byte(i >> 10)}, 1024))
		want += 1024 * int(byte(i>>10))
	}
	a.Close()
	wg.Wait()
	if count != total || sum != want {
		t.Errorf("%d bytes of %d, sum %d of %d", count, total, sum, want)
	}
}

// A pump waits without a buffer, and never finds nothing after it was woken.
func TestWaitReadableIsNotLostAmongReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, pipe.Options{})
		waits := []<-chan error{inBackground(b.WaitReadable), inBackground(b.WaitReadable)}
		synctest.Wait()
		write(t, a, "x")
		for _, w := range waits {
			mustBe(t, "WaitReadable", <-w, nil)
		}
		if n, err := b.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("Read = %d, %v", n, err)
		}
		again := inBackground(b.WaitReadable)
		synctest.Wait()
		select {
		case err := <-again:
			t.Errorf("readable without bytes: %v", err)
		default:
		}
		a.CloseWrite()
		mustBe(t, "WaitReadable", <-again, nil)
	})
}

func TestPeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPair(t, pipe.Options{LimitBytes: 1 << 10})
		p := make([]byte, 5000)
		expect := func(seen int, want string, wantErr error) {
			t.Helper()
			n, err := b.Peek(p, seen)
			if string(p[:n]) != want || !errors.Is(err, wantErr) {
				t.Errorf("Peek(%d) = %q, %v; want %q, %v", seen, p[:n], err, want, wantErr)
			}
		}
		write(t, a, "hel")
		expect(0, "hel", nil)
		expect(0, "hel", nil) // not consumed
		more := inBackground(func() error { _, err := b.Peek(p, 3); return err })
		synctest.Wait()
		a.WriteChunk(chunkOf("lo"))
		mustBe(t, "Peek for more", <-more, nil)
		expect(3, "hello", nil)

		b.SetReadDeadline(time.Now().Add(time.Second))
		expect(5, "hello", os.ErrDeadlineExceeded)
		b.SetReadDeadline(time.Time{})
		if n, err := b.Peek(p[:2], 2); n != 2 || err != io.ErrShortBuffer {
			t.Errorf("Peek into a full buffer = %d, %v", n, err)
		}

		full := 5 + fill(t, a)
		for _, seen := range []int{full, 4999} { // the writer cannot add to it
			if n, err := b.Peek(p, seen); n != full || err != io.ErrShortBuffer {
				t.Errorf("Peek at the limit = %d, %v", n, err)
			}
		}
		b.Read(p[:full-2])
		a.Close()
		expect(1, "\x00\x00", nil)
		expect(2, "\x00\x00", io.EOF)
		b.Read(p)
		expect(0, "", io.EOF)
	})
}

func TestChunksChangeOwnerWithoutACopy(t *testing.T) {
	a, b := newPair(t, pipe.Options{})
	c, d := newPair(t, pipe.Options{})
	k := chunkOf("through two pipes")
	first := &k.Bytes()[0]
	a.WriteChunk(k)
	a.CloseWrite()
	if n, err := b.WriteTo(c); n != 17 || err != nil {
		t.Fatalf("WriteTo = %d, %v", n, err)
	}
	k, err := d.ReadChunk()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Free()
	if &k.Bytes()[0] != first {
		t.Error("bytes were copied")
	}
	k.Consume(8)
	if string(k.Bytes()) != "two pipes" || k.Len() != 9 {
		t.Errorf("Consume left %q", k.Bytes())
	}
}

func TestChunkFreedTwice(t *testing.T) {
	k := pipe.NewChunk(1)
	k.Free()
	defer func() {
		if recover() == nil {
			t.Error("not noticed")
		}
	}()
	k.Free()
}

type failing struct {
	accept int
	err    error
}

func (f failing) Write(p []byte) (int, error)    { return min(f.accept, len(p)), f.err }
func (f failing) Read(p []byte) (n int, e error) { return f.accept, f.err }

type closing struct{ io.Closer }

func (c closing) Read(p []byte) (int, error) { return len(p), c.Close() }

func TestCopyErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name string
		w    io.Writer
		n    int64
		want error
	}{
		{"writer fails", failing{2, broken}, 2, broken},
		{"writer is short", failing{2, nil}, 2, io.ErrShortWrite},
	} {
		a, b := newPair(t, pipe.Options{})
		write(t, a, "hello")
		if n, err := b.WriteTo(tt.w); n != tt.n || err != tt.want {
			t.Errorf("%s: WriteTo = %d, %v", tt.name, n, err)
		}
	}
	a, b := newPair(t, pipe.Options{})
	c, d := newPair(t, pipe.Options{})
	d.Close()
	write(t, a, "hello")
	n, err := b.WriteTo(c)
	mustBe(t, "WriteTo a pipe whose peer is closed", err, c.WriteChunk(chunkOf("x")))
	if n != 0 {
		t.Errorf("WriteTo = %d", n)
	}

	e, f := newPair(t, pipe.Options{})
	n, err = e.ReadFrom(closing{f}) // the peer goes while the source is read
	mustBe(t, "ReadFrom", err, syscall.EPIPE)
	if n != 0 {
		t.Errorf("ReadFrom = %d", n)
	}

	n, err = e.ReadFrom(io.LimitReader(closing{f}, 0)) // nothing is left to write to a peer that is gone
	if n != 0 || err != nil {
		t.Errorf("ReadFrom = %d, %v", n, err)
	}

	n, err = a.ReadFrom(failing{3, broken}) // bytes beside the error count
	if n != 3 || err != broken {
		t.Errorf("ReadFrom = %d, %v", n, err)
	}
	a.Close()
	if got, err := io.ReadAll(b); len(got) != 3 || err != nil {
		t.Errorf("ReadAll = %d bytes, %v", len(got), err)
	}
}

func TestReadFromHoldsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newPair(t, pipe.Options{LimitBytes: 128 << 10})
		before := pipe.ChunksInUse()
		r := &countingReader{}
		done := inBackground(func() error { _, err := a.ReadFrom(r); return err })
		synctest.Wait()
		_, out := a.Buffered()
		if r.n != out {
			t.Errorf("%d bytes read from the source, %d queued: a stalled copy holds the rest", r.n, out)
		}
		if r.first != pipe.SmallChunkBytes || r.largest != pipe.LargeChunkBytes {
			t.Errorf("first read into %d bytes, largest %d", r.first, r.largest)
		}
		if n := pipe.ChunksInUse() - before; n > 4 {
			t.Errorf("%d chunks for %d bytes", n, out)
		}
		a.Close()
		mustBe(t, "ReadFrom", <-done, net.ErrClosed)
	})
}

type countingReader struct{ n, first, largest int }

func (r *countingReader) Read(p []byte) (int, error) {
	if r.first == 0 {
		r.first = len(p)
	}
	r.n, r.largest = r.n+len(p), max(r.largest, len(p))
	return len(p), nil
}

func TestNoAllocations(t *testing.T) {
	a, b := newPair(t, pipe.Options{})
	p := []byte("x")
	later := time.Now().Add(time.Hour)
	a.SetDeadline(later) // the timers are made once
	for name, f := range map[string]func(){
		"message":   func() { a.Write(p); b.Read(p) },
		"chunk":     func() { a.WriteChunk(chunkOf("x")); k, _ := b.ReadChunk(); k.Free() },
		"deadline":  func() { a.SetDeadline(later); a.SetDeadline(time.Time{}) },
		"readiness": func() { a.Write(p); b.WaitReadable(); b.Read(p) },
	} {
		if n := testing.AllocsPerRun(1000, f); n >= 1 && !raceEnabled {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if pipe.PairBytes > 600 {
		t.Errorf("a pair has %d bytes", pipe.PairBytes)
	}
}
