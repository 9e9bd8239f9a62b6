package router

import (
	"io"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	store "github.com/ginnel/ginnel/internal/stats"
)

// A still cluster answers at once, with nothing made for it.
type still struct {
	*cluster
	up   stillUp
	info filter.ClusterInfo
}

func (c *still) Open(r *filter.StreamRequest) (filter.UpstreamStream, error) {
	r.Info.Up.Host, r.Info.Up.ClusterInfo = &c.up.host, &c.info
	return &c.up, nil
}

type stillUp struct {
	host filter.Host
	resp httpmsg.Response
}

func (u *stillUp) WriteRequest(*httpmsg.Request, bool) error { return nil }
func (u *stillUp) ReadResponse() (*httpmsg.Response, error)  { u.resp.Body = u; return &u.resp, nil }
func (u *stillUp) WriteData([]byte, bool) error              { return nil }
func (u *stillUp) WriteTrailer(httpmsg.Header) error         { return nil }
func (u *stillUp) Flush() error                              { return nil }
func (u *stillUp) Reset(*httpmsg.ResetError)                 {}
func (u *stillUp) Release()                                  {}
func (u *stillUp) Host() *filter.Host                        { return &u.host }
func (u *stillUp) Protocol() httpmsg.Protocol                { return httpmsg.HTTP11 }
func (u *stillUp) Wire() filter.HTTPBytes                    { return filter.HTTPBytes{} }
func (u *stillUp) Outcome(int, *httpmsg.ResetError)          {}
func (u *stillUp) Next() ([]byte, error)                     { return stillBody, io.EOF }
func (u *stillUp) Ready() bool                               { return true }
func (u *stillUp) Trailer() httpmsg.Header                   { return nil }

var stillBody = []byte("hello")

type realScope struct{ in *store.Scope }

func (s realScope) Scope(p string) filter.Scope         { return realScope{s.in.Scope(p)} }
func (s realScope) Counter(n string) filter.Counter     { return s.in.Counter(n) }
func (s realScope) Gauge(n string) filter.Gauge         { return nil }
func (s realScope) Histogram(n string) filter.Histogram { return s.in.Histogram(n, store.Unspecified) }
func (s realScope) Close()                              {}

// A plain exchange allocates nothing here.
func TestPlainExchangeAllocatesNothing(t *testing.T) {
	run := plainExchange(t)
	if n := testing.AllocsPerRun(1000, run); n > 0 && !raceEnabled {
		t.Errorf("%v allocations for an exchange", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	run := plainExchange(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func plainExchange(t testing.TB) func() {
	w := newWorld(t, &Config{}, plain)
	c := &still{cluster: w.c}
	c.cluster.stats = realScope{store.New(store.Options{}).Scope("cluster.c.")}
	c.up.resp = httpmsg.Response{Status: 200, Header: head(0, "content-length", "0", "date", "d", "server", "s").Header}
	w.only = c
	req := get("/", "user-agent", "u", "accept", "*/*", "x-request-id", "i")
	req.Header = append(make(httpmsg.Header, 0, 20), req.Header...)
	client := w.client(req)
	client.response.Header = make(httpmsg.Header, 0, 20)
	client.found = w.table.Match(queryOf(client))
	lines := len(req.Header)
	return func() {
		client.stream.Info.Start = time.Now()
		client.ends = client.ends[:0]
		req.Header = req.Header[:lines]
		client.response.Header = client.response.Header[:0]
		resp, err := w.handler.ServeHTTP(client.stream)
		if err != nil || resp.Status != 200 {
			t.Fatal(resp, err)
		}
		if _, err := resp.Body.Next(); err != io.EOF {
			t.Fatal(err)
		}
		for _, f := range client.ends {
			f()
		}
	}
}

// The timer of a call goes on when the call is over, and does not keep the router until then.
func TestTimerKeepsNothing(t *testing.T) {
	r := &Router{}
	r.calls.New = func() any { return newCall(r) }
	x := r.calls.New().(*call)
	x.mu.Lock()
	x.start = time.Now()
	x.arm(routeClock, 0, time.Hour)
	x.mu.Unlock()
	timer, left := x.timer, weak.Make(r)
	x.free()
	x, r = nil, nil
	for range 3 { // pools let go at the second collection
		runtime.GC()
	}
	if left.Value() != nil {
		t.Error("the router is still there")
	}
	if !timer.Stop() {
		t.Error("the timer does not run")
	}
}
