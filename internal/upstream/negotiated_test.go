package upstream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/plan"
)

// Requests wait for what the first connection negotiates, and then have as many as its
// version takes.
func TestNegotiated(t *testing.T) {
	for _, c := range []struct {
		chosen *filter.TLS
		want   httpmsg.Protocol
		conns  int
	}{
		{&filter.TLS{Protocol: "h2"}, httpmsg.HTTP2, 1},
		{&filter.TLS{Protocol: "http/1.1"}, httpmsg.HTTP11, 5},
		{&filter.TLS{}, httpmsg.HTTP11, 5},
	} {
		pooled(t, func(t *testing.T, l *land) {
			l.chosen, l.takes, l.streams = c.chosen, time.Millisecond, 1
			if c.want == httpmsg.HTTP2 {
				l.streams = 100
			}
			p := httpCluster()
			p.HTTP.Version = plan.Negotiated
			s, counts := l.serve(p)
			var all []*client
			for range 5 {
				all = append(all, newRequester().ask(s))
			}
			synctest.Wait()
			if n := counts.of("c")["upstream_cx_total"]; n != 1 {
				t.Errorf("%+v: %d connections before the first answer", c.chosen, n)
			}
			for _, x := range all {
				x.on(t)
				if got := x.s.Protocol(); got != c.want {
					t.Errorf("%+v: %v", c.chosen, got)
				}
			}
			for _, x := range all {
				x.s.Release()
			}
			got := counts.of("c")
			one, two := int64(c.conns), int64(0)
			if c.want == httpmsg.HTTP2 {
				one, two = 0, 1
			}
			if l.count() != c.conns || got["upstream_cx_http1_total"] != one || got["upstream_cx_http2_total"] != two || got["upstream_rq_active"] != 0 {
				t.Errorf("%+v: %d connections, %v", c.chosen, l.count(), got)
			}
			newRequester().ask(s).on(t)
			if l.count() != c.conns {
				t.Errorf("%+v: a connection more for one request", c.chosen)
			}
		})
	}
}
