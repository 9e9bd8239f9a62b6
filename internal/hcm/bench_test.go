package hcm

import (
	"testing"
	"time"
	"unsafe"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// sink is a client that takes everything.
type sink struct{}

func (sink) WriteResponse(*httpmsg.Response, bool) error { return nil }
func (sink) WriteData([]byte, bool) error                { return nil }
func (sink) WriteTrailer(httpmsg.Header) error           { return nil }
func (sink) Flush() error                                { return nil }
func (sink) Reset(*httpmsg.ResetError)                   {}
func (sink) StopRequest(*httpmsg.ResetError)             {}
func (sink) OnReset(func(*httpmsg.ResetError))           {}

// defaults are the limits of an empty configuration.
var defaults = limits{idle: time.Hour, drain: 5 * time.Second, delayedClose: time.Second, streamIdle: 5 * time.Minute}

// requests returns a function that has a request answered, as a codec would.
func requests(tb testing.TB, logs bool) func() {
	body := []byte("hello")
	var rest httpmsg.Bytes
	r := start(tb, &Config{Request: requestOptions{generateID: true}, Limits: defaults}, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		resp := s.NewResponse()
		resp.Status = 200
		resp.Header = append(resp.Header, httpmsg.Field{Name: "content-length", Value: "5"}, httpmsg.Field{Name: "content-type", Value: "text/plain"})
		s.Route()
		s.OnReset(nil)
		rest = body
		resp.Body = &rest
		return resp, nil
	})
	if !logs {
		r.sv.logs = nil
	}
	r.do(get("/")) // from then on the connection is set up
	c := r.codec.h.(*conn)
	q := httpmsg.Request{Protocol: httpmsg.HTTP11}
	lines := httpmsg.Header{{Name: "user-agent", Value: "curl"}, {Name: "accept", Value: "*/*"}, {Name: "x-a", Value: "1"}}
	var kept httpmsg.Header
	return func() {
		kept = append(kept[:0], lines...)
		q.Method, q.Authority, q.Path, q.Scheme, q.Header = "GET", "host", "/", "", kept
		c.Active(1)
		c.Answer(&q, sink{})
		c.Active(0)
		kept = q.Header
	}
}

func BenchmarkRequest(b *testing.B) {
	do := requests(b, false)
	b.ReportAllocs()
	for b.Loop() {
		do()
	}
}

// A request costs its id, and nothing else of the heap.
func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("pools keep nothing for sure")
	}
	do := requests(t, false)
	do()
	if n := testing.AllocsPerRun(1000, do); n > 1 {
		t.Errorf("%v allocations per request, want at most 1", n)
	}
}

// What an idle connection keeps, beside its codec.
func TestSizeOfConn(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n > 256 {
		t.Errorf("a conn takes %d bytes, want at most 256", n)
	}
}
