package hcm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// Entries are written when a request begins, when a tunnel is there, while it flows, and
// at the end.
func TestLogEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := make(pieces)
		c := &Config{
			Logs:     logOptions{onStart: true, onTunnel: true, every: 10 * time.Second},
			Upgrades: []upgrade{{kind: "connect", enabled: true}},
		}
		r := start(t, c, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
			s.Upgraded()
			return &httpmsg.Response{Status: 200, Body: body}, nil
		})
		w := r.begin(&httpmsg.Request{Method: "CONNECT", Authority: "h:1"}, nil)
		for range 6 {
			time.Sleep(4 * time.Second)
			body <- []byte("x")
		}
		close(body)
		<-w.answered
		want := []entry{
			{kind: filter.DownstreamStart},
			{kind: filter.DownstreamTunnelSuccessfullyEstablished},
			{kind: filter.DownstreamPeriodic, code: 200, sent: 3},
			{kind: filter.DownstreamPeriodic, code: 200, sent: 6},
			{kind: filter.DownstreamEnd, code: 200, sent: 6},
		}
		if len(r.log.list) != len(want) {
			t.Fatalf("%+v", r.log.list)
		}
		for i, e := range r.log.list {
			if e.kind != want[i].kind || e.code != want[i].code || e.sent != want[i].sent {
				t.Errorf("entry %d: %+v, want %+v", i, e, want[i])
			}
		}
	})
}
