package hcm

import (
	"net"
	"net/netip"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

func addr(s string) net.Addr { return filter.IPAddr{AddrPort: netip.MustParseAddrPort(s)} }

// hello answers everything.
func hello(s *filter.HTTPStream) (*httpmsg.Response, error) {
	resp := s.NewResponse()
	resp.Status = 200
	body := httpmsg.Bytes("hello")
	resp.Body = &body
	return resp, nil
}

func TestAnswer(t *testing.T) {
	r := start(t, &Config{}, hello)
	w, resp := r.do(get("/"))
	if resp.Status != 200 || string(w.body) != "hello" || !w.ended {
		t.Errorf("%d %q ended %v", resp.Status, w.body, w.ended)
	}
	if resp.Header.Get("server") != "envoy" || resp.Header.Get("date") == "" {
		t.Errorf("head %v", resp.Header)
	}
	if e := r.log.last(t); e.code != 200 || e.sent != 5 || e.flags != "-" || e.kind != filter.DownstreamEnd {
		t.Errorf("log %+v", e)
	}
	for name, want := range map[string]int64{
		"downstream_rq_total": 1, "downstream_rq_http1_total": 1, "downstream_rq_2xx": 1, "downstream_rq_completed": 1,
		"downstream_rq_active": 0, "downstream_cx_total": 1, "downstream_cx_active": 1, "downstream_cx_http1_active": 1,
	} {
		if got := r.stats.value(name); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
}
