package http2

import (
	"net"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
)

// benchHandler answers with a body of n bytes. The head is made once, as a cached one.
func benchHandler(n int) *handler {
	body := make([]byte, n)
	response := &httpmsg.Response{Status: 200, Header: httpmsg.Header{
		{Name: "content-type", Value: "text/plain"}, {Name: "content-length", Value: "100"},
		{Name: "server", Value: "x"}, {Name: "date", Value: "Mon, 02 Jan 2006 15:04:05 GMT"},
	}}
	response.Header.Set("content-length", statusText(n))
	return &handler{quiet: true, answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
		_ = w.WriteResponse(response, false)
		_ = w.WriteData(body, true)
	}}
}

func benchRequest() *httpmsg.Request {
	r := get("/some/path")
	r.Header = httpmsg.Header{
		{Name: "user-agent", Value: "bench"}, {Name: "accept", Value: "*/*"}, {Name: "x-request-id", Value: "4711"},
	}
	return r
}

func exchangeOnce(b *testing.B, v *Client, r *httpmsg.Request) {
	x := v.Open()
	_ = x.WriteRequest(r, true)
	resp, err := x.ReadResponse()
	if err != nil {
		b.Error(err)
		return
	}
	for err == nil {
		_, err = resp.Body.Next()
	}
	x.Release()
}

// BenchmarkRoundTrip is one request after the other through a pipe.
func BenchmarkRoundTrip(b *testing.B) {
	p := newPair(b, nil, nil, benchHandler(100))
	r := benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		exchangeOnce(b, p.client, r)
	}
}

// BenchmarkLoopback is 10 connections of 5 streams each, over TCP.
func BenchmarkLoopback(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "64KB": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			port := serveTCP(b, nil, benchHandler(size))
			var clients []*Client
			for range 10 {
				c, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
				if err != nil {
					b.Fatal(err)
				}
				w := newOwner()
				v := NewClient(c, nil, w)
				clients = append(clients, v)
				b.Cleanup(func() {
					v.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
					<-w.closed
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			var workers sync.WaitGroup
			for i := range 50 {
				n := b.N / 50
				workers.Go(func() {
					r := benchRequest()
					for range n {
						exchangeOnce(b, clients[i%10], r)
					}
				})
			}
			workers.Wait()
		})
	}
}
