package hcm

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// Entries are written when a request begins, when a tunnel is there, at fixed times while
// it lasts, and at the end.
func TestLogEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(t, func(s *filter.HTTPStream, p pieces) httpmsg.Body { return parked{p, s} })
		same(t, got, []entry{
			{kind: filter.DownstreamStart},
			{kind: filter.DownstreamTunnelSuccessfullyEstablished},
			{kind: filter.DownstreamPeriodic, code: 200, sent: 3},
			{kind: filter.DownstreamPeriodic, code: 200, sent: 6},
			{kind: filter.DownstreamPeriodic, code: 200, sent: 6},
			{kind: filter.DownstreamEnd, code: 200, sent: 7},
		})
	})
}

// A handler that does not say when it waits gets its entries late.
func TestLogEntriesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := logged(t, func(_ *filter.HTTPStream, p pieces) httpmsg.Body { return p })
		same(t, got, []entry{
			{kind: filter.DownstreamStart},
			{kind: filter.DownstreamTunnelSuccessfullyEstablished},
			{kind: filter.DownstreamPeriodic, code: 200, sent: 3},
			{kind: filter.DownstreamPeriodic, code: 200, sent: 6},
			{kind: filter.DownstreamEnd, code: 200, sent: 7},
		})
	})
}

// logged returns the entries of a tunnel in which a byte passes every three seconds, six
// times, and one more after 17 seconds of silence.
func logged(t *testing.T, wrap func(*filter.HTTPStream, pieces) httpmsg.Body) []entry {
	body := make(pieces)
	c := &Config{
		Logs:     logOptions{onStart: true, onTunnel: true, every: 10 * time.Second},
		Upgrades: []upgrade{{kind: "connect", enabled: true}},
	}
	r := start(t, c, func(s *filter.HTTPStream) (*httpmsg.Response, error) {
		s.Upgraded()
		return &httpmsg.Response{Status: 200, Body: wrap(s, body)}, nil
	})
	w := r.begin(&httpmsg.Request{Method: "CONNECT", Authority: "h:1"}, nil)
	for range 6 {
		time.Sleep(3 * time.Second)
		body <- []byte("x")
	}
	time.Sleep(17 * time.Second)
	body <- []byte("x")
	close(body)
	<-w.answered
	return r.log.list
}

func same(t *testing.T, got, want []entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, e := range got {
		if e.kind != want[i].kind || e.code != want[i].code || e.sent != want[i].sent {
			t.Errorf("entry %d: %+v, want %+v", i, e, want[i])
		}
	}
}

// A parked body says when it waits, as the router's do.
type parked struct {
	pieces
	stream *filter.HTTPStream
}

func (w parked) Next() ([]byte, error) {
	w.stream.Wait()
	defer w.stream.Resume()
	return w.pieces.Next()
}
