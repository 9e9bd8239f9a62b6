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

// TestAllocations: what does not differ from one request to the next costs nothing, and
// what does a string for each head.
func TestAllocations(t *testing.T) {
	p := newPair(t, nil, nil, benchHandler(100))
	r := benchRequest()
	once := func() {
		x := p.client.Open()
		_ = x.WriteRequest(r, true)
		resp, err := x.ReadResponse()
		for err == nil {
			_, err = resp.Body.Next()
		}
		x.Release()
	}
	if n := testing.AllocsPerRun(1000, once); n > 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	ids := []string{"0123", "1234", "2345", "3456", "4567", "5678", "6789", "7890"}
	i := 0
	n := testing.AllocsPerRun(1000, func() {
		i++
		r.Header[2].Value = ids[i%8] + ids[i/8%8] + ids[i/64%8] // never seen lately
		once()
	})
	if n > 3 && !raceEnabled { // one is this test's, and one the head's
		t.Errorf("%v allocations for what differs", n)
	}
}
