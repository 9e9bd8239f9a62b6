package http1

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// TestWaitingInput: what waits for nothing but bytes holds no buffer, a part of a head a
// small one, and a stream a large one.
func TestWaitingInput(t *testing.T) {
	cc, sc := socketPair(t)
	defer cc.Close()
	defer sc.Close()
	var in input
	in.init(sc, 0)
	defer in.close()
	tryFill := func() {
		t.Helper()
		in.deadline(time.Now().Add(time.Millisecond))
		if err := in.fill(); !isTimeout(err) {
			t.Fatalf("%v, want a timeout", err)
		}
		in.deadline(never)
	}
	tryFill()
	if in.buf != nil {
		t.Errorf("an idle connection holds %d bytes", len(in.buf))
	}
	_, _ = io.WriteString(cc, "part")
	if err := in.fill(); err != nil {
		t.Fatal(err)
	}
	tryFill()
	if len(in.buf) != leastBytes || string(in.unread()) != "part" {
		t.Errorf("%q is held in %d bytes", in.unread(), len(in.buf))
	}
	_, _ = io.WriteString(cc, strings.Repeat("x", 4000))
	for in.buffered() < 4004 {
		if err := in.fill(); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(in.unread()); got != "part"+strings.Repeat("x", 4000) {
		t.Errorf("%q", got)
	}
	in.consume(in.buffered())
	in.rest()
	go func() { _, _ = io.WriteString(cc, strings.Repeat("y", 1<<20)) }()
	for n := 0; n < 1<<20; {
		if err := in.fill(); err != nil {
			t.Fatal(err)
		}
		n += in.buffered()
		in.consume(in.buffered())
	}
	in.rest()
	if !in.stream || in.buf != nil {
		t.Errorf("after a large message: large %v, %d bytes held", in.stream, len(in.buf))
	}
}

// TestWaitingRequest: who waits for the answer to a request holds no buffer.
func TestWaitingRequest(t *testing.T) {
	cc, sc := socketPair(t)
	defer cc.Close()
	defer sc.Close()
	var l link
	l.init(cc, 0)
	for _, looked := range []bool{false, true} {
		l.out.keep(append(l.out.room(), "request"...))
		arrived := make(chan string)
		go func() {
			b := make([]byte, len("request"))
			_, _ = io.ReadFull(sc, b)
			l.in.deadline(past) // it waits, or is about to
			arrived <- string(b)
		}()
		err := l.ask(looked)
		if got := <-arrived; err != nil || got != "request" {
			t.Errorf("%v; %q was sent", err, got)
		}
		if l.in.buf != nil || l.out.buf != nil {
			t.Errorf("%d and %d bytes are held", len(l.in.buf), cap(l.out.buf))
		}
		l.in.deadline(never)
	}
}

// TestPipeInput: a head that comes in pieces over a pipe, whose chunks all go back.
func TestPipeInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := pipe.ChunksInUse()
		c, s := pipe.New(pipe.Options{})
		_, wait := serve(s, &ServerOptions{}, &handler{answer: echo(t)})
		long := strings.Repeat("x", 20_000)
		for _, part := range []string{"PU", "T / HTTP/1.1\r\nHost: a\r\nX-Long: " + long, "\r\nContent-Length: 6\r", "\n\r", "\nabc", "def"} {
			if _, err := io.WriteString(c, part); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		expect(t, c, "HTTP/1.1 200 OK\r\nx-start: PUT / a\r\nx-long: "+long+"\r\ncontent-length: 6\r\n\r\nabcdef")
		_ = c.Close()
		if err := wait(); err != nil {
			t.Error(err)
		}
		if now := pipe.ChunksInUse(); now != before {
			t.Errorf("%d chunks are still held", now-before)
		}
	})
}
