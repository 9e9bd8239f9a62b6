package outlier

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/eventlog"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

// A page is a file of events.
type page struct{ text strings.Builder }

func (p *page) Open(string) (filter.LogFile, error) { return p, nil }

func (p *page) Write(b []byte) (int, error) { return p.text.Write(b) }

// events are those since the last time, without their time.
func (p *page) events() (out []string) {
	for l := range strings.Lines(p.text.String()) {
		before, after, _ := strings.Cut(l, `"timestamp":`)
		_, after, _ = strings.Cut(after, `Z",`)
		out = append(out, strings.TrimSuffix(before+after, "\n"))
	}
	p.text.Reset()
	return out
}

// Events are as Envoy 1.40 writes them: of ejections, of those that are not enforced, and of
// hosts that are back.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, p := &page{}, envoy()
		p.ConsecutiveGateway, p.Consecutive5xx = 2, 3
		p.RateHosts, p.RateRequests, p.StdevFactor, p.Enforce[plan.SuccessRate] = 2, 10, 500, 0
		p.FailureHosts, p.FailureRequests, p.FailurePercent, p.Enforce[plan.FailurePercentage] = 2, 10, 60, 100
		events, _ := eventlog.Open(log, []string{"events"})
		d := New(Options{Plan: p, Stats: teststats.New(), Changed: func() {}, Cluster: "c", Events: events}, 0)
		defer d.Close()
		h, other := d.Add("127.0.0.1:9"), d.Add("127.0.0.1:10")
		want := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			d.mu.Lock()
			got := log.events()
			d.mu.Unlock()
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s\nwant %s", what, got, want)
			}
		}
		fail(h, 503, 3)
		want("in a row",
			`{"type":"CONSECUTIVE_GATEWAY_FAILURE","cluster_name":"c","upstream_url":"127.0.0.1:9","action":"EJECT","num_ejections":0,"enforced":false,"eject_consecutive_event":{}}`,
			`{"type":"CONSECUTIVE_5XX","cluster_name":"c","upstream_url":"127.0.0.1:9","action":"EJECT","num_ejections":1,"enforced":true,"eject_consecutive_event":{}}`)
		time.Sleep(31 * time.Second)
		want("back",
			`{"type":"CONSECUTIVE_5XX","secs_since_last_action":"30","cluster_name":"c","upstream_url":"127.0.0.1:9","action":"UNEJECT","num_ejections":1,"enforced":false}`)
		for range 5 {
			fail(h, 500, 2)
			h.Answered(200)
			fail(other, 200, 3)
		}
		time.Sleep(10 * time.Second)
		want("rates",
			`{"type":"SUCCESS_RATE","secs_since_last_action":"10","cluster_name":"c","upstream_url":"127.0.0.1:9","action":"EJECT","num_ejections":1,"enforced":false,"eject_success_rate_event":{"host_success_rate":33,"cluster_average_success_rate":66,"cluster_success_rate_ejection_threshold":50}}`,
			`{"type":"FAILURE_PERCENTAGE","secs_since_last_action":"10","cluster_name":"c","upstream_url":"127.0.0.1:9","action":"EJECT","num_ejections":2,"enforced":true,"eject_failure_percentage_event":{"host_success_rate":33}}`)
		h.Checked()
		want("found well",
			`{"type":"CONSECUTIVE_5XX","secs_since_last_action":"1","cluster_name":"c","upstream_url":"127.0.0.1:9","action":"UNEJECT","num_ejections":2,"enforced":false}`)
	})
}
