package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/admin"
	"github.com/ginnel/ginnel/internal/machine"
	"github.com/ginnel/ginnel/internal/stats"
)

// lines are the entries of a log. They come when the answer may already have been read.
type lines chan string

func (l lines) Log(i *filter.Info, t filter.AccessLogType) {
	h := i.HTTP()
	l <- fmt.Sprintf("%v %s %s %s %s %d %s rx=%d tx=%d xff=%s ua=%s type=%s conn=%d", t, h.Request.Method, h.Request.Path, h.Request.Authority,
		h.Protocol, h.Code, i.Extra.Details, i.Received, i.Sent, h.Request.Header.Get("x-forwarded-for"), h.Request.Header.Get("user-agent"),
		h.Response.Header.Get("content-type"), i.ID)
	if h.FirstSent <= 0 || h.LastSent < h.FirstSent || i.Duration <= 0 || i.Local == nil || i.Remote == nil {
		l <- fmt.Sprintf("incomplete: %+v, %+v", i, h)
	}
}

// Every request has its entry, whatever became of it.
func TestLog(t *testing.T) {
	log, conns := make(lines, 10), uint64(0)
	s := admin.New(admin.Options{
		Proxy: newFake(t), Stats: stats.New(stats.Options{}), Logs: []filter.AccessLog{log},
		NextID: func() uint64 { conns++; return conns },
	})
	r := serve(t, s, "127.0.0.1:0")
	here := machine.Address()
	for i, x := range []struct {
		method, path, body string
		headers            []string
		want               string
	}{
		{"GET", "/ready?x=y", "", nil, "200 admin_filter_response rx=0 tx=5 xff=" + here},
		{"HEAD", "/ready", "", nil, "200 admin_filter_response rx=0 tx=5 xff=" + here},
		{"POST", "/healthcheck/fail", "a=b", nil, "200 admin_filter_response rx=3 tx=3 xff=" + here},
		{"GET", "/quitquitquit", "unread", []string{"X-Forwarded-For", "1.2.3.4"}, "405 admin_filter_response rx=6 tx=38 xff=1.2.3.4," + here},
	} {
		r.do(t, x.method, x.path, x.body, x.headers...)
		want := fmt.Sprintf("DownstreamEnd %s %s %s HTTP/1.1 %s ua=Go-http-client/1.1 type=text/plain; charset=UTF-8 conn=%d", x.method, x.path, r.addr, x.want, i+1)
		if got := <-log; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	code, answer := r.do(t, "GET", "/none", "")
	if got, want := <-log, fmt.Sprintf(" %d admin_filter_response rx=0 tx=%d ", code, len(answer)); code != 404 || !strings.Contains(got, want) {
		t.Errorf("got %s, want%s", got, want)
	}
	r.Close()
	if len(log) > 0 {
		t.Errorf("one more: %s", <-log)
	}
}
