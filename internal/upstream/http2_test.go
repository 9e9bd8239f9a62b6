package upstream

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/http2"
	"github.com/ginnel/ginnel/internal/inproc"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A hall is a network of servers of HTTP/2, which answer when they are told to.
type hall struct {
	t       *testing.T
	options http2.ServerOptions

	mu      sync.Mutex
	servers []*http2.Server
	serving sync.WaitGroup
	answer  chan struct{} // closed: requests are answered
}

func (h *hall) Connect(*inproc.Dial) (filter.Stream, error) {
	near, far := pipe.New(pipe.Options{})
	s := http2.NewServer(far, &h.options, h)
	h.mu.Lock()
	h.servers = append(h.servers, s)
	h.mu.Unlock()
	h.serving.Go(func() { s.Serve() })
	return near, nil
}

func (h *hall) Active(int) {}

func (h *hall) Refuse(_ *httpmsg.Request, _ httpmsg.Responder, status int, why *httpmsg.ResetError) {
	h.t.Errorf("refused with %d: %v", status, why)
}

func (h *hall) Answer(_ *httpmsg.Request, w httpmsg.Responder) {
	gone := make(chan struct{})
	w.OnReset(func(*httpmsg.ResetError) { close(gone) })
	select {
	case <-h.answer:
		w.WriteResponse(&httpmsg.Response{Status: 200}, true)
	case <-gone:
	}
}

// An answered is a request under way in a test.
type answered struct {
	x    filter.UpstreamStream
	id   uint64
	done chan struct{}
	code int
	err  error
}

func call2(t *testing.T, s *Set) *answered {
	t.Helper()
	r := newRequester()
	x, err := s.get(t, "c").(filter.HTTPCluster).Open(&r.r)
	if err != nil {
		t.Fatal(err)
	}
	a := &answered{x: x, id: r.info.Up.ID, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		defer x.Release()
		a.err = x.WriteRequest(&httpmsg.Request{Method: "GET", Scheme: "http", Authority: "a", Path: "/"}, true)
		if a.err == nil {
			a.err = x.Flush()
		}
		if a.err == nil {
			var resp *httpmsg.Response
			if resp, a.err = x.ReadResponse(); a.err == nil {
				a.code = resp.Status
			}
		}
	}()
	return a
}

// withHall runs a test of a pool of real connections of HTTP/2 in virtual time.
func withHall(t *testing.T, o http2.ServerOptions, f func(t *testing.T, h *hall, s *Set, c counts)) {
	synctest.Test(t, func(t *testing.T) {
		h := &hall{t: t, options: o, answer: make(chan struct{})}
		s, c := run(t, Options{Network: h}, http2Cluster())
		f(t, h, s, c)
		s.Close()
		h.serving.Wait()
		if got := c.of("c"); got["upstream_rq_active"] != 0 || got["upstream_cx_active"] != 0 || got["upstream_rq_pending_active"] != 0 {
			t.Error(got)
		}
	})
}

// A server that drains answers what it has; what comes then goes to a new connection.
func TestHTTP2ServerDrains(t *testing.T) {
	withHall(t, http2.ServerOptions{}, func(t *testing.T, h *hall, s *Set, c counts) {
		a, b := call2(t, s), call2(t, s)
		synctest.Wait()
		h.servers[0].Drain(time.Second)
		time.Sleep(2 * time.Second)
		next := call2(t, s)
		close(h.answer)
		for _, x := range []*answered{a, b, next} {
			if <-x.done; x.err != nil || x.code != 200 {
				t.Errorf("%d, %v", x.code, x.err)
			}
		}
		if a.id != b.id || next.id == a.id {
			t.Errorf("connections %d, %d, then %d", a.id, b.id, next.id)
		}
		time.Sleep(2 * time.Second)
		if got := c.of("c"); got["upstream_cx_close_notify"] != 1 || got["upstream_cx_destroy"] != 1 || got["upstream_cx_destroy_with_active_rq"] != 0 || got["upstream_rq_total"] != 3 {
			t.Error(got)
		}
	})
}

// What the server's SETTINGS allow is kept to.
func TestHTTP2ServerLimits(t *testing.T) {
	withHall(t, http2.ServerOptions{Options: http2.Options{MaxConcurrentStreams: 2}}, func(t *testing.T, h *hall, s *Set, _ counts) {
		var all []*answered
		for range 6 {
			all = append(all, call2(t, s))
			synctest.Wait()
		}
		close(h.answer)
		used := make(map[uint64]int)
		for _, x := range all {
			if <-x.done; x.err != nil || x.code != 200 {
				t.Errorf("%d, %v", x.code, x.err)
			}
			used[x.id]++
		}
		if len(used) != 3 {
			t.Errorf("connections %v", used)
		}
	})
}

// A server that breaks off cuts the requests, and the next one finds a new connection.
func TestHTTP2ServerGone(t *testing.T) {
	withHall(t, http2.ServerOptions{}, func(t *testing.T, h *hall, s *Set, c counts) {
		a := call2(t, s)
		synctest.Wait()
		h.servers[0].Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		if <-a.done; a.err == nil {
			t.Error("no error")
		}
		synctest.Wait()
		if got := c.of("c"); got["upstream_cx_destroy_with_active_rq"] != 1 {
			t.Error(got)
		}
		close(h.answer)
		b := call2(t, s)
		if <-b.done; b.err != nil || b.code != 200 || b.id == a.id {
			t.Errorf("%d, %v", b.code, b.err)
		}
	})
}
