package http1

import (
	"io"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// benchHeaders are those of a usual client.
var benchHeaders = httpmsg.Header{
	{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"},
	{Name: "accept", Value: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	{Name: "accept-language", Value: "en-US,en;q=0.5"},
	{Name: "accept-encoding", Value: "gzip, deflate, br, zstd"},
	{Name: "cookie", Value: "session=0123456789abcdef0123456789abcdef"},
	{Name: "x-request-id", Value: "5b1c7a3e-0d6f-4b7c-9d7c-0d8f0c6f7f10"},
}

// BenchmarkRequest is one request and its response through a client and a server.
func BenchmarkRequest(b *testing.B) {
	for name, pair := range pairs {
		b.Run(name, func(b *testing.B) { benchRequest(b, pair, 100) })
	}
	b.Run("socket-64K", func(b *testing.B) { benchRequest(b, socketPair, 64<<10) })
	b.Run("pipe-64K", func(b *testing.B) { benchRequest(b, pairs["pipe"], 64<<10) })
}

func benchRequest(b *testing.B, pair func(testing.TB) (client, server filter.Stream), bytes int) {
	cc, sc := pair(b)
	body := []byte(strings.Repeat("x", bytes))
	resp := &httpmsg.Response{Status: 200, Header: httpmsg.Header{
		{Name: "content-type", Value: "text/plain"}, {Name: "content-length", Value: itoa(bytes)},
		{Name: "date", Value: "Sat, 21 Nov 2026 09:00:00 GMT"}, {Name: "server", Value: "ginnel"},
	}}
	_, wait := serve(sc, &ServerOptions{}, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
		_ = w.WriteResponse(resp, false)
		_ = w.WriteData(body, true)
	}})
	c := NewClient(cc, nil, &quiet{})
	r := &httpmsg.Request{Method: "GET", Path: "/some/path?with=query", Authority: "example.com", Header: benchHeaders}
	b.ReportAllocs()
	b.SetBytes(int64(bytes))
	for b.Loop() {
		x := c.Open()
		if err := x.WriteRequest(r, true); err != nil {
			b.Fatal(err)
		}
		resp, err := x.ReadResponse()
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; ; {
			p, err := resp.Body.Next()
			if n += len(p); err == io.EOF && n == bytes {
				break
			} else if err != nil {
				b.Fatal(n, err)
			}
		}
		x.Release()
	}
	c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	_ = wait()
}

// quiet hears nothing.
type quiet struct{}

func (quiet) Changed()                   {}
func (quiet) Draining()                  {}
func (quiet) Closed(*httpmsg.ResetError) {}

func itoa(n int) string {
	var b [20]byte
	i := len(b)
	for ; n > 0 || i == len(b); n /= 10 {
		i--
		b[i] = byte('0' + n%10)
	}
	return string(b[i:])
}

func BenchmarkParseRequest(b *testing.B) {
	head := []byte("GET /some/path?with=query HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Cookie: session=0123456789abcdef0123456789abcdef\r\nX-Request-Id: 5b1c7a3e-0d6f-4b7c-9d7c-0d8f0c6f7f10\r\n\r\n")
	var p requestHead
	p.o = &ServerOptions{}
	p.rules = p.o.rules()
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		n, _, r := endOfBlock(head, 0)
		if r != nil || n != len(head) {
			b.Fatal(r)
		}
		if r := p.parse(head); r != nil {
			b.Fatal(r)
		}
	}
}

func BenchmarkSerialise(b *testing.B) {
	var z serialiser
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out, _ := z.fields(dst, benchHeaders, true)
		if !intact(out, z.head.lines) {
			b.Fatal("not intact")
		}
	}
}

// TestAllocations: a request and its response are a string each.
func TestAllocations(t *testing.T) {
	cc, sc := pairs["pipe"](t)
	_, wait := serve(sc, nil, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
		_ = w.WriteResponse(&allocResponse, false)
		_ = w.WriteData(allocBody, true)
	}})
	c := NewClient(cc, nil, &quiet{})
	r := &httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Header: benchHeaders}
	n := testing.AllocsPerRun(1000, func() {
		x := c.Open()
		_ = x.WriteRequest(r, true)
		resp, err := x.ReadResponse()
		for err == nil {
			_, err = resp.Body.Next()
		}
		x.Release()
	})
	if n > 2 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	_ = wait()
}

var (
	allocBody     = []byte("body")
	allocResponse = httpmsg.Response{Status: 200, Header: httpmsg.Header{{Name: "content-length", Value: "4"}}}
)
