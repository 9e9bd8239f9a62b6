//go:build unix

package http1

import (
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// The request and the response of http1-100 (test/bench) as an internal hop has them.
const hopRequest = "GET /100 HTTP/1.1\r\nhost: bench.example\r\nuser-agent: bench/1\r\naccept: */*\r\nx-forwarded-proto: http\r\n" +
	"x-request-id: 5b1c7a3e-0d6f-4b7c-9d7c-0d8f0c6f7f10\r\nx-envoy-expected-rq-timeout-ms: 15000\r\n\r\n"

var hopResponse = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\nx-envoy-upstream-service-time: 0\r\n" +
	"date: Sat, 21 Nov 2026 09:00:00 GMT\r\nserver: envoy\r\n\r\n" + strings.Repeat("x", 100)

// BenchmarkHop parts what an internal hop costs HTTP/1.1: the client's codec before it and
// the server's behind it, each with a pipe that has the message at once, and both with the
// pipe between them, which wakes a goroutine for each direction. cpu-ns/op is what counts:
// waiting is none of it.
func BenchmarkHop(b *testing.B) {
	b.Run("client", func(b *testing.B) {
		c := NewClient(&ready{text: hopResponse, left: b.N}, nil, &quiet{})
		burn(b, func() { exchanges(b, c) })
	})
	b.Run("server", func(b *testing.B) {
		s := NewServer(&ready{text: hopRequest, left: b.N}, nil, hopAnswers(b))
		burn(b, func() { _ = s.Serve() })
	})
	b.Run("both", func(b *testing.B) {
		cc, sc := pipe.New(pipe.Options{})
		_, wait := serve(sc, nil, hopAnswers(b))
		c := NewClient(cc, nil, &quiet{})
		burn(b, func() { exchanges(b, c) })
		c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		_ = wait()
	})
}

// burn measures the CPU time of f, which does all of b.N.
func burn(b *testing.B, f func()) {
	b.ReportAllocs()
	before := burnt(b)
	b.ResetTimer()
	f()
	b.StopTimer()
	b.ReportMetric(float64(burnt(b)-before)/float64(b.N), "cpu-ns/op")
}

func burnt(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// exchanges does b.N exchanges, as a router has them done.
func exchanges(b *testing.B, c *Client) {
	o := &ServerOptions{}
	head := requestHead{o: o, rules: o.rules()}
	if err := head.parse([]byte(hopRequest)); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		x := c.Open()
		if err := x.WriteRequest(&head.req, true); err != nil {
			b.Fatal(err)
		}
		resp, err := x.ReadResponse()
		for err == nil {
			_, err = resp.Body.Next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		x.Release()
	}
}

// hopAnswers is what a connection manager has its codec send.
func hopAnswers(b *testing.B) *handler {
	head := responseHead{rules: (&ClientOptions{}).rules()}
	text, body, _ := strings.Cut(hopResponse, "\r\n\r\n")
	if err := head.parse([]byte(text+"\r\n\r\n"), asked{}); err != nil {
		b.Fatal(err)
	}
	data := []byte(body)
	return &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
		_ = w.WriteResponse(&head.resp, false)
		_ = w.WriteData(data, true)
	}}
}

// ready is a pipe's end that has the same text to read a number of times, and whose peer
// takes everything.
type ready struct {
	filter.Stream // nil: nothing else is asked
	text          string
	left          int
}

func (r *ready) ReadChunk() (*pipe.Chunk, error) {
	if r.left--; r.left < 0 {
		return nil, io.EOF
	}
	k := pipe.NewChunk(len(r.text))
	k.Extend(copy(k.Room(), r.text))
	return k, nil
}

func (r *ready) WriteChunk(k *pipe.Chunk) error { k.Free(); return nil }
func (r *ready) Close() error                   { return nil }
func (r *ready) CloseWrite() error              { return nil }
