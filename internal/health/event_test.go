package health

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/eventlog"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

// A page is a file of events, whatever its path.
type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Open(string) (filter.LogFile, error) { return p, nil }

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// events are what happened, without what is the same in all events.
func (p *page) events(t *testing.T) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for l := range strings.Lines(p.text.String()) {
		_, l, _ = strings.Cut(l, `"cluster_name":"web",`)
		l, _, ok := strings.Cut(l, `,"locality":`)
		if !ok {
			t.Errorf("no cluster or locality: %s", l)
		}
		before, after, _ := strings.Cut(l, `"timestamp":`)
		_, after, _ = strings.Cut(after, `Z"`)
		out = append(out, strings.Trim(before+after, ","))
	}
	p.text.Reset()
	return out
}

// logged is examined with a log of events.
func logged(t *testing.T, p *plan.HealthCheck, first string, f func(h *Host, x *patient, log *page)) {
	synctest.Test(t, func(t *testing.T) {
		log, x := &page{}, &patient{t: t}
		x.serve = x.http
		x.says(first)
		events, _ := eventlog.Open(log, []string{"events"})
		k := New(Options{Plan: p, Cluster: "web", Stats: teststats.New(), Used: func() bool { return true }, Changed: func() {}, Events: events})
		h := k.Watch(Target{
			Dial: x.dial, Addr: filter.IPAddr{AddrPort: netip.MustParseAddrPort("[::1]:80")}, Locality: &corev3.Locality{Zone: "z"},
		})
		k.Start([]*Host{h})
		synctest.Wait()
		f(h, x, log)
		k.Close()
		x.wg.Wait()
	})
}

const (
	healthy  = `"add_healthy_event":{"first_check":false}`
	passes   = ""
	degraded = `"degraded_healthy_host":{}`
	restored = `"no_longer_degraded_host":{}`
)

func ejected(why string) string { return `"eject_unhealthy_event":{"failure_type":"` + why + `}` }

func failed(why string) string {
	typ, status, _ := strings.Cut(why, `",`)
	return `"health_check_failure_event":{"failure_type":"` + typ + `","first_check":false,` + status + `}`
}

// What changes the health of a host is an event, and a failure that is the first result.
func TestEvents(t *testing.T) {
	logged(t, check(), "refuse", func(h *Host, x *patient, log *page) {
		want := func(what string, events ...string) {
			t.Helper()
			if got := log.events(t); !slices.Equal(got, events) {
				t.Errorf("%s: %q, want %q", what, got, events)
			}
		}
		want("first", `"health_check_failure_event":{"failure_type":"NETWORK","first_check":true,"http_status_code":0}`)
		x.says("HTTP/1.1 200 OK\r\nx-envoy-degraded: 1\r\ncontent-length: 0\r\n\r\n")
		time.Sleep(20 * time.Second)
		want("well", degraded, healthy) // the second check makes it well
		x.says(ok)
		time.Sleep(20 * time.Second)
		want("restored", restored)
		x.says(down)
		time.Sleep(20 * time.Second)
		want("down", ejected(`ACTIVE","http_status_code":503`))
		x.says(ok)
		time.Sleep(20 * time.Second)
		want("well again", healthy)
		h.Immediate()
		want("told by an answer", ejected(`PASSIVE","http_status_code":0`))
	})
}

// Where all is to be told, so are checks that change nothing; what made a host healthy is
// told once.
func TestAllEvents(t *testing.T) {
	p := check()
	p.LogFailures, p.LogSuccesses = true, true
	p.Interval, p.HealthyEdge, p.UnhealthyEdge, p.UnhealthyAfter = 10*time.Second, 10*time.Second, 10*time.Second, 10*time.Second
	logged(t, p, ok, func(h *Host, x *patient, log *page) {
		time.Sleep(5 * time.Second)
		if got := log.events(t); !slices.Equal(got, []string{`"add_healthy_event":{"first_check":true}`}) {
			t.Errorf("first: %q", got)
		}
		for _, step := range []struct {
			says string
			want []string
		}{
			{ok, []string{passes}},
			{"", []string{failed(`NETWORK_TIMEOUT","http_status_code":0`)}},
			{"", []string{ejected(`NETWORK_TIMEOUT","http_status_code":0`), failed(`NETWORK_TIMEOUT","http_status_code":0`)}},
			{down, []string{failed(`ACTIVE","http_status_code":503`)}},
			{ok, []string{passes}},
			{ok, []string{healthy}},
		} {
			x.says(step.says)
			time.Sleep(10*time.Second + p.Timeout*map[bool]time.Duration{true: 1}[step.says == ""])
			if got := log.events(t); !slices.Equal(got, step.want) {
				t.Errorf("%q: %q, want %q", step.says, got, step.want)
			}
		}
	})
}

// A host that could not be asked in time is one that took too long, though the dial notices
// that first.
func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Second))
		defer cancel()
		if expired(ctx) {
			t.Error("before the time")
		}
		time.Sleep(time.Second)
		if !expired(ctx) {
			t.Error("not when it is over")
		}
	})
}
