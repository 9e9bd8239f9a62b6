package http1

import (
	"bytes"
	"io"
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/inproc/pipe/pipetest"
)

// TestPipeInPlace: over a pipe heads and small bodies are written in the chunk that is
// sent, large pieces go to it as they are, and all is read where it was sent.
func TestPipeInPlace(t *testing.T) {
	length := httpmsg.Header{{Name: "content-length", Value: "100"}}
	for name, of := range map[string]struct {
		bytes  int
		header httpmsg.Header
	}{"small": {100, length}, "in chunks": {3000, nil}, "large": {100 << 10, nil}} {
		t.Run(name, func(t *testing.T) {
			before := pipe.ChunksInUse()
			c, s := pipe.New(pipe.Options{})
			cc, sc := &pipetest.Spy{Conn: c}, &pipetest.Spy{Conn: s}
			body := bytes.Repeat([]byte("x"), of.bytes)
			_, wait := serve(sc, nil, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
				inPlace(t, sc, r.Body, len(body))
				_ = w.WriteResponse(&httpmsg.Response{Status: 200, Header: of.header}, false)
				_ = w.WriteData(body, true)
			}})
			own := newOwner()
			v := NewClient(cc, nil, own)
			x := exchangeOf(t, v)
			r := &httpmsg.Request{Method: "POST", Path: "/", Authority: "a", Header: of.header}
			if err := x.WriteRequest(r, false); err != nil {
				t.Fatal(err)
			}
			if err := x.WriteData(body, true); err != nil {
				t.Fatal(err)
			}
			resp, err := x.ReadResponse()
			if err != nil {
				t.Fatal(err)
			}
			inPlace(t, cc, resp.Body, len(body))
			x.Release()
			const framing = len("\r\n0\r\n\r\n")
			if n, m := cc.Copied(body), sc.Copied(body); max(n, m) > framing {
				t.Errorf("%d and %d bytes were copied twice to be sent", n, m)
			}
			v.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
			<-own.closed
			_ = wait()
			if n := pipe.ChunksInUse() - before; n != 0 {
				t.Errorf("%d chunks are left", n)
			}
		})
	}
}

// inPlace reads a body of n bytes, which must lie where they were sent.
func inPlace(t *testing.T, s *pipetest.Spy, b httpmsg.Body, n int) {
	t.Helper()
	for {
		p, err := b.Next()
		if n -= len(p); len(p) > 0 && !s.Lies(p) {
			t.Errorf("%d bytes were copied", len(p))
		}
		if err != nil {
			if err != io.EOF || n != 0 {
				t.Errorf("%v, %d bytes missing", err, n)
			}
			return
		}
	}
}
