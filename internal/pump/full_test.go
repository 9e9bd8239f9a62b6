package pump

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// Whose limit it is: of equal ones that of the hop next to who takes nothing.
func TestFullSideIsLetGo(t *testing.T) {
	const s = time.Second
	const closedInside, closedOutside = filter.DownstreamClosed, filter.UpstreamClosed
	const down, up = filter.DownstreamHighWatermarkReached, filter.UpstreamHighWatermarkReached
	for _, c := range []struct {
		name   string
		stuck  filter.Direction
		limits []filter.Limits // innermost first
		want   []filter.Cause
	}{
		{"client, innermost", filter.FromUpstream, []filter.Limits{{DownstreamHighWatermark: 2 * s}, {DownstreamHighWatermark: 3 * s}},
			[]filter.Cause{down, closedOutside}},
		{"client, level", filter.FromUpstream, []filter.Limits{{DownstreamHighWatermark: 2 * s}, {DownstreamHighWatermark: 2 * s}},
			[]filter.Cause{closedInside, down}},
		{"host, outermost", filter.FromDownstream, []filter.Limits{{UpstreamHighWatermark: 3 * s}, {UpstreamHighWatermark: 2 * s}},
			[]filter.Cause{closedInside, up}},
		{"host, level", filter.FromDownstream, []filter.Limits{{UpstreamHighWatermark: 2 * s}, {UpstreamHighWatermark: 2 * s}},
			[]filter.Cause{up, closedOutside}},
		{"beside a later idle time", filter.FromDownstream, []filter.Limits{{UpstreamHighWatermark: 2 * s, Idle: time.Hour}, {}},
			[]filter.Cause{up, closedOutside}},
		{"beside an earlier idle time", filter.FromDownstream, []filter.Limits{{UpstreamHighWatermark: 3 * s, Idle: 2 * s}, {}},
			[]filter.Cause{filter.IdleTimeout, closedOutside}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hops := three(t, 0, 0)
				for i, l := range c.limits {
					hops[i].limits = l
				}
				r := start(t, "pipe", "pipe", nil, hops...)
				began := time.Now()
				r.stuff([]filter.Stream{r.client, r.host}[c.stuck], c.stuck)
				expectEndings(t, hops, c.want...)
				if d := time.Since(began).Truncate(time.Millisecond); d != 2*s {
					t.Errorf("after %v", d)
				}
			})
		})
	}
}

// The limit of one side is nothing to the other, and a side that has taken what was
// there begins anew.
func TestFullSideBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hops := three(t, 0)
		hops[0].limits = filter.Limits{UpstreamHighWatermark: 2 * time.Second, DownstreamHighWatermark: time.Second}
		r := start(t, "pipe", "pipe", nil, hops...)
		began := time.Now()
		b := make([]byte, 16<<20)
		for range 3 {
			wrote := make(chan error, 1)
			go func() {
				_, err := r.client.Write(b)
				wrote <- err
			}()
			time.Sleep(1500 * time.Millisecond)
			for got := 0; got < len(b); {
				n, err := r.host.Read(make([]byte, 1<<20))
				if err != nil {
					t.Fatal(err)
				}
				got += n
			}
			if err := <-wrote; err != nil {
				t.Fatal(err)
			}
		}
		r.stuff(r.client, filter.FromDownstream)
		expectEndings(t, hops, filter.UpstreamHighWatermarkReached)
		if d := time.Since(began).Truncate(time.Millisecond); d != 6500*time.Millisecond {
			t.Errorf("after %v", d)
		}
	})
}

// Every kind of pump obeys, in both directions; both sides get an orderly end.
func TestFullSideOfAnyKind(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		for d, want := range fullCauses {
			h := newHop(t)
			h.limits = filter.Limits{UpstreamHighWatermark: 50 * time.Millisecond, DownstreamHighWatermark: 50 * time.Millisecond}
			r := start(t, down, up, nil, h)
			stuck := []filter.Stream{r.host, r.client}[d]
			r.stuff([]filter.Stream{r.client, r.host}[d], filter.Direction(d))
			r.expectEnd(want)
			if _, end := read(stuck); end != "EOF" {
				t.Errorf("the side that took nothing reads %s", end)
			}
		}
	})
}
