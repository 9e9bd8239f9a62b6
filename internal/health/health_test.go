package health

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/http2"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A patient is a host under check.
type patient struct {
	t      *testing.T
	answer atomic.Pointer[string] // to each request; "": none
	serve  func(s filter.Stream)

	mu    sync.Mutex
	dials int
	heads []string
	wg    sync.WaitGroup
}

func (p *patient) says(answer string) { p.answer.Store(&answer) }

func (p *patient) dial(ctx context.Context) (filter.Stream, error) {
	if *p.answer.Load() == "refuse" {
		return nil, errors.New("refused")
	}
	near, far := pipe.New(pipe.Options{})
	p.mu.Lock()
	p.dials++
	p.mu.Unlock()
	p.wg.Go(func() {
		defer far.Close()
		p.serve(far)
	})
	return near, nil
}

// http answers requests of HTTP/1.
func (p *patient) http(s filter.Stream) {
	in := bufio.NewReader(s)
	for {
		head := ""
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			head += line
		}
		p.mu.Lock()
		p.heads = append(p.heads, head)
		p.mu.Unlock()
		io.WriteString(s, *p.answer.Load())
	}
}

const (
	ok   = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
	down = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
)

// check is a health check with its intervals all different.
func check() *plan.HealthCheck {
	return &plan.HealthCheck{
		HTTP:    &plan.HTTPCheck{Protocol: httpmsg.HTTP11, Method: "GET", Path: "/hc", Expected: []plan.StatusRange{{Start: 200, End: 201}}},
		Timeout: time.Second, Healthy: 2, Unhealthy: 2,
		Interval: 10 * time.Second, HealthyEdge: 3 * time.Second, UnhealthyEdge: 4 * time.Second, UnhealthyAfter: 5 * time.Second,
		NoTraffic: time.Minute, NoTrafficHealthy: 2 * time.Minute,
	}
}

// examined runs a test of one checked host in virtual time.
func examined(t *testing.T, p *plan.HealthCheck, used bool, first string, f func(t *testing.T, h *Host, p *patient, c teststats.Counts)) {
	synctest.Test(t, func(t *testing.T) {
		c := teststats.New()
		x := &patient{t: t}
		x.serve = x.http
		x.says(first)
		k := New(Options{Plan: p, Cluster: "web", Stats: c, Used: func() bool { return used }, Changed: func() {}})
		h := k.Watch(Target{Dial: x.dial})
		if !h.Failed() {
			t.Error("healthy before it was checked")
		}
		k.Start([]*Host{h})
		synctest.Wait()
		f(t, h, x, c.Below("health_check."))
		k.Close()
		x.wg.Wait()
		if below := c.Below("health_check."); below.Value("healthy") != 0 || below.Value("degraded") != 0 {
			t.Error("gauges of a closed checker are not 0")
		}
	})
}

// The first check is enough to be healthy, one connection is kept, and the request is
// Envoy's.
func TestHTTP(t *testing.T) {
	examined(t, check(), true, ok, func(t *testing.T, h *Host, p *patient, c teststats.Counts) {
		if h.Failed() {
			t.Fatal("not healthy after the first check")
		}
		time.Sleep(21 * time.Second)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.heads) != 3 || p.dials != 1 {
			t.Errorf("%d checks on %d connections", len(p.heads), p.dials)
		}
		if want := "GET /hc HTTP/1.1\r\nhost: web\r\nuser-agent: Envoy/HC\r\n\r\n"; p.heads[0] != want {
			t.Errorf("%q, want %q", p.heads[0], want)
		}
		c.Want(t, map[string]int64{"attempt": 3, "success": 3, "healthy": 1})
	})
}

// A bad status is enough to be unhealthy; to be healthy again takes the threshold, at the
// edge interval.
func TestBadStatus(t *testing.T) {
	examined(t, check(), true, ok, func(t *testing.T, h *Host, p *patient, c teststats.Counts) {
		p.says(down)
		time.Sleep(11 * time.Second)
		if !h.Failed() {
			t.Fatal("healthy with 503")
		}
		p.says(ok)
		time.Sleep(5 * time.Second) // unhealthy interval
		if !h.Failed() {
			t.Error("one check of two was enough")
		}
		time.Sleep(3 * time.Second) // healthy edge
		if h.Failed() {
			t.Error("two checks were not enough")
		}
		c.Want(t, map[string]int64{"attempt": 4, "success": 3, "failure": 1, "healthy": 1})
	})
}

func TestRetriableStatus(t *testing.T) {
	p := check()
	p.HTTP.Retriable = []plan.StatusRange{{Start: 500, End: 600}}
	examined(t, p, true, ok, func(t *testing.T, h *Host, p *patient, _ teststats.Counts) {
		p.says(down)
		time.Sleep(11 * time.Second)
		if h.Failed() {
			t.Fatal("one of two retriable ones was enough")
		}
		time.Sleep(4 * time.Second) // unhealthy edge
		if !h.Failed() {
			t.Error("two were not")
		}
	})
}

// Silence, and a connection that cannot be made, count by the threshold.
func TestNetworkFailures(t *testing.T) {
	for _, how := range []string{"", "refuse", "SSH-2.0\r\n\r\n"} {
		p := check()
		p.OneConnection = how == "refuse"
		examined(t, p, true, ok, func(t *testing.T, h *Host, p *patient, c teststats.Counts) {
			p.says(how)
			time.Sleep(11500 * time.Millisecond)
			if h.Failed() {
				t.Fatal("one was enough")
			}
			time.Sleep(5 * time.Second)
			if !h.Failed() {
				t.Errorf("%q: two were not", how)
			}
			c.Want(t, map[string]int64{"attempt": 3, "success": 1, "failure": 2, "network_failure": 2})
		})
	}
}

// A cluster without connections is checked seldom.
func TestNoTraffic(t *testing.T) {
	examined(t, check(), false, ok, func(t *testing.T, _ *Host, _ *patient, c teststats.Counts) {
		time.Sleep(119 * time.Second)
		c.Want(t, map[string]int64{"attempt": 1, "success": 1, "healthy": 1})
		time.Sleep(2 * time.Second)
		c.Want(t, map[string]int64{"attempt": 2, "success": 2, "healthy": 1})
	})
}

func TestDegraded(t *testing.T) {
	examined(t, check(), true, "HTTP/1.1 200 OK\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n", func(t *testing.T, h *Host, p *patient, c teststats.Counts) {
		if h.Failed() || !h.Degraded() {
			t.Errorf("failed %v, degraded %v", h.Failed(), h.Degraded())
		}
		p.says(ok)
		time.Sleep(11 * time.Second)
		if h.Degraded() {
			t.Error("degraded for ever")
		}
		h.Immediate()
		if !h.Failed() || !h.Excluded() {
			t.Error("what the host says of itself does not count")
		}
		c.Want(t, map[string]int64{"attempt": 2, "success": 2, "failure": 1, "passive_failure": 1})
	})
}

func TestReceive(t *testing.T) {
	p := check()
	p.HTTP.Receive, p.HTTP.ReceiveBytes = [][]byte{[]byte("al"), []byte("ve")}, 1024
	p.HTTP.Method, p.HTTP.Body = "POST", []byte("ping")
	p.HTTP.Add = []plan.HeaderAdd{{Name: "x-a", Value: "1"}, {Name: "user-agent", Value: "me", Overwrite: true}}
	examined(t, p, true, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nalive", func(t *testing.T, h *Host, p *patient, _ teststats.Counts) {
		if h.Failed() {
			t.Fatal("not found")
		}
		p.mu.Lock()
		if head := p.heads[0]; !strings.Contains(head, "user-agent: me\r\n") || !strings.Contains(head, "x-a: 1\r\n") || !strings.Contains(head, "content-length: 4\r\n") {
			t.Errorf("%q", head)
		}
		p.mu.Unlock()
	})
}

func TestTCP(t *testing.T) {
	for name, c := range map[string]struct {
		plan plan.TCPCheck
		fail bool
	}{
		"connects":       {plan.TCPCheck{}, false},
		"answers":        {plan.TCPCheck{Send: []byte("ping"), Receive: [][]byte{[]byte("p"), []byte("g")}}, false},
		"something else": {plan.TCPCheck{Send: []byte("ping"), Receive: [][]byte{[]byte("pong")}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := check()
			p.HTTP, p.TCP = nil, &c.plan
			synctest.Test(t, func(t *testing.T) {
				x := &patient{t: t, serve: func(s filter.Stream) { io.Copy(s, s) }}
				x.says("")
				k := New(Options{Plan: p, Stats: teststats.New(), Used: func() bool { return true }, Changed: func() {}})
				h := k.Watch(Target{Dial: x.dial})
				k.Start([]*Host{h})
				<-k.Checked()
				if h.Failed() != c.fail {
					t.Errorf("failed %v", h.Failed())
				}
				k.Close()
				x.wg.Wait()
			})
		})
	}
}

// A clinic answers health checks of gRPC.
type clinic struct {
	p    *patient
	path string
	body string
}

func (c *clinic) Active(int) {}

func (c *clinic) Refuse(_ *httpmsg.Request, w httpmsg.Responder, status int, why *httpmsg.ResetError) {
	c.p.t.Errorf("refused with %d: %v", status, why)
}

func (c *clinic) Answer(r *httpmsg.Request, w httpmsg.Responder) {
	c.path = r.Path
	for r.Body != nil {
		b, err := r.Body.Next()
		c.body += string(b)
		if err != nil {
			break
		}
	}
	w.WriteResponse(&httpmsg.Response{Status: 200, Header: httpmsg.Header{{Name: "content-type", Value: "application/grpc"}}}, false)
	w.WriteData([]byte(*c.p.answer.Load()), false)
	w.WriteTrailer(httpmsg.Header{{Name: "grpc-status", Value: "0"}})
}

func TestGRPC(t *testing.T) {
	for answer, failed := range map[string]bool{
		"\x00\x00\x00\x00\x02\x08\x01": false, // SERVING
		"\x00\x00\x00\x00\x02\x08\x02": true,  // NOT_SERVING
		"\x00\x00\x00\x00\x00":         true,  // UNKNOWN
		"":                             true,
		"\x00\x00\x00\x00\x02\x08\xff": true, // cut short
	} {
		p := check()
		p.HTTP, p.GRPC = nil, &plan.GRPCCheck{Service: "a.B"}
		synctest.Test(t, func(t *testing.T) {
			x := &patient{t: t}
			c := &clinic{p: x}
			x.serve = func(s filter.Stream) { http2.NewServer(s, nil, c).Serve() }
			x.says(answer)
			k := New(Options{Plan: p, Cluster: "web", Stats: teststats.New(), Used: func() bool { return true }, Changed: func() {}})
			h := k.Watch(Target{Dial: x.dial})
			k.Start([]*Host{h})
			<-k.Checked()
			if h.Failed() != failed {
				t.Errorf("%q: failed %v", answer, h.Failed())
			}
			k.Close()
			x.wg.Wait()
			if c.path != "/grpc.health.v1.Health/Check" || c.body != "\x00\x00\x00\x00\x05\x0a\x03a.B" {
				t.Errorf("%s %q", c.path, c.body)
			}
		})
	}
}
