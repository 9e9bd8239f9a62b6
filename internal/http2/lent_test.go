package http2

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/inproc/pipe/pipetest"
)

// inPlace reads a body of n bytes, which must lie where they were sent, but for the last
// ones of a chunk.
func inPlace(t *testing.T, s *pipetest.Spy, b httpmsg.Body, n int) {
	t.Helper()
	copied := 0
	for {
		p, err := b.Next()
		if n -= len(p); len(p) > 0 && !s.Lies(p) {
			copied += len(p)
		}
		if err == nil {
			continue
		}
		if err != io.EOF || n != 0 {
			t.Errorf("%v, %d bytes missing", err, n)
		}
		if copied >= 2*leastLent {
			t.Errorf("%d bytes were copied", copied)
		}
		return
	}
}

// TestPipeInPlace: over a pipe bodies are framed in the chunk that is sent, and read from
// it, both ways.
func TestPipeInPlace(t *testing.T) {
	before := pipe.ChunksInUse()
	c, s := pipe.New(pipe.Options{})
	cc, sc := &pipetest.Spy{Conn: c}, &pipetest.Spy{Conn: s}
	body := bytes.Repeat([]byte("x"), 100<<10)
	server := NewServer(sc, nil, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		inPlace(t, sc, r.Body, len(body))
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
		_ = w.WriteData(body, true)
	}})
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	w := newOwner()
	v := NewClient(cc, nil, w)
	x := begin(t, v, post(), false)
	if err := x.WriteData(body, true); err != nil {
		t.Fatal(err)
	}
	r, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	inPlace(t, cc, r.Body, len(body))
	x.Release()
	if n, m := cc.Copied(), sc.Copied(); n+m > 0 {
		t.Errorf("%d and %d bytes were copied to be sent", n, m)
	}
	v.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	<-w.closed
	<-served
	if n := pipe.ChunksInUse() - before; n != 0 {
		t.Errorf("%d chunks are left", n)
	}
}

// TestLentBound: a stream that is not read keeps few chunks that others share.
func TestLentBound(t *testing.T) {
	before := pipe.ChunksInUse()
	hold := make(chan struct{})
	p := newPair(t, nil, nil, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		<-hold
		echo(r, w)
	}})
	body := bytes.Repeat([]byte("x"), leastLent)
	var streams []httpmsg.Exchange
	for range 10 * maxLent {
		x := begin(t, p.client, post(), false)
		if err := x.WriteData(body, true); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, x)
	}
	settled(p)
	if n := pipe.ChunksInUse() - before; n > maxLent {
		t.Errorf("%d chunks are held", n)
	}
	close(hold)
	for _, x := range streams {
		r, err := x.ReadResponse()
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := readAll(r.Body); !bytes.Equal(got, body) || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		x.Release()
	}
}

// settled waits until the server has taken all that the client has sent.
func settled(p *pair) {
	for {
		_, sent := p.client.Bytes()
		if received, _ := p.server.Bytes(); received >= sent && sent > 0 {
			p.client.mu.Lock()
			queued := p.client.out != nil
			p.client.mu.Unlock()
			if !queued {
				return
			}
		}
		runtime.Gosched()
	}
}

func post() *httpmsg.Request {
	r := get("/")
	r.Method = "POST"
	return r
}
