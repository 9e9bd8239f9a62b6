package router

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// The lines of trailers are used again by the codec when the request is over; a mirror may
// send its copy later.
func TestFeedKeepsTrailers(t *testing.T) {
	lines := httpmsg.Header{{Name: "x-sum", Value: "1"}}
	f := (&tee{}).feed(0, nil)
	f.add([]byte("all"), trailed{lines}, io.EOF)
	lines[0] = httpmsg.Field{Name: "x-other", Value: "of another request"}
	if p, err := f.Next(); string(p) != "all" || err != io.EOF {
		t.Fatalf("got %q, %v", p, err)
	}
	if got := f.Trailer(); got.Get("x-sum") != "1" || got.Has("x-other") {
		t.Errorf("got %v", got)
	}
}

// trailed is a body of which only the trailers are left.
type trailed struct{ lines httpmsg.Header }

func (trailed) Next() ([]byte, error)     { return nil, io.EOF }
func (trailed) Ready() bool               { return true }
func (b trailed) Trailer() httpmsg.Header { return b.lines }

// A mirror gets the request with a host of its own, and its end is nobody's concern.
func TestMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "requestMirrorPolicies": [{"cluster": "m"}, {"cluster": "bad"}]}}`)
		m, bad := w.cluster("m"), w.cluster("bad")
		w.clusters["m"], w.clusters["bad"] = m, bad
		w.c.then(event{head: head(200), end: true, request: true})
		m.then(later(5*time.Second, status(200)))
		bad.scripts = []script{{err: filter.ErrNoHost}}
		req := post("/p", newBody(true, "one ", "two"))
		req.Authority = "h:80"
		c := w.client(req)
		c.stream.Info.MergeMetadata(filter.Metadata{"envoy.lb": &structpb.Struct{}})
		if r := c.do(); r.status != 200 || r.took != 0 || r.flags != "-" {
			t.Errorf("got %+v", r)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		u := m.opened[0]
		if m.asked[0].Info.Metadata["envoy.lb"] == nil {
			t.Error("the mirror has no metadata")
		}
		if u.request.Authority != "h-shadow:80" || u.request.Path != "/p" || string(u.body) != "one two" || !u.complete ||
			u.request.Header.Get("x-envoy-internal") != "true" || w.c.opened[0].request.Header.Has("x-envoy-internal") {
			t.Errorf("the mirror got %+v %q", u.request, u.body)
		}
		m.released()
	})
}

// A mirror that does not answer ends with the route's timeout, or with the request.
func TestMirrorEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "timeout": "3s", "requestMirrorPolicies": [{"cluster": "m"}]}}`)
		m := w.cluster("m")
		w.clusters["m"] = m
		m.then()
		m.then()
		w.c.then(status(200))
		w.c.then(status(413))
		w.get("/")
		w.client(post("/", newBody(false, "a"))).do()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		m.released()
	})
}

// The mirror of a request without a timeout goes on for some time after it, or until the
// proxy ends.
func TestMirrorWithoutTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Config{}, `{"match": {"prefix": "/"}, "route": {"cluster": "c", "timeout": "0s", "requestMirrorPolicies": [{"cluster": "m"}]}}`)
		m := w.cluster("m")
		w.clusters["m"] = m
		m.then()
		w.c.then(later(time.Hour, status(200)))
		w.get("/")
		time.Sleep(orphanTime - time.Second)
		synctest.Wait()
		u := m.opened[0]
		u.mu.Lock()
		if u.released != 0 {
			t.Error("the mirror has ended early")
		}
		u.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		m.released()

		ctx, end := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		w.handler.(*Router).env.Background = func(f func(context.Context)) bool {
			tasks.Go(func() { f(ctx) })
			return true
		}
		m.then()
		w.c.then(status(200))
		w.get("/")
		synctest.Wait()
		end()
		tasks.Wait()
		m.released()
	})
}
