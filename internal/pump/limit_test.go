package pump

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// three returns hops with the given idle times, the innermost first.
func three(t *testing.T, idle ...time.Duration) []*hop {
	hops := make([]*hop, len(idle))
	for i := range hops {
		hops[i] = newHop(t)
		hops[i].limits.Idle = idle[i]
	}
	return hops
}

func expectEndings(t *testing.T, hops []*hop, want ...filter.Cause) {
	t.Helper()
	var got []filter.Cause
	for _, h := range hops {
		got = append(got, h.wait().Cause)
	}
	if !slices.Equal(got, want) {
		t.Errorf("causes %v, want %v", got, want)
	}
}

func TestIdleTimeoutBelongsToTheSmallest(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name string
		idle []time.Duration
		want []filter.Cause
	}{
		{"innermost", []time.Duration{2 * s, 5 * s, 0}, []filter.Cause{filter.IdleTimeout, filter.UpstreamClosed, filter.UpstreamClosed}},
		{"middle", []time.Duration{5 * s, 2 * s, 3 * s}, []filter.Cause{filter.DownstreamClosed, filter.IdleTimeout, filter.UpstreamClosed}},
		{"outermost", []time.Duration{0, 0, 2 * s}, []filter.Cause{filter.DownstreamClosed, filter.DownstreamClosed, filter.IdleTimeout}},
		{"level: each", []time.Duration{2 * s, 2 * s, 4 * s}, []filter.Cause{filter.IdleTimeout, filter.IdleTimeout, filter.UpstreamClosed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hops := three(t, c.idle...)
				for _, h := range hops {
					h.limits.IdleSince = time.Now()
				}
				r := start(t, "pipe", "pipe", nil, hops...)
				began := time.Now()
				expect(t, r.client, "", "EOF")
				expect(t, r.host, "", "EOF")
				expectEndings(t, hops, c.want...)
				if d := time.Since(began); d != 2*s {
					t.Errorf("after %v", d)
				}
			})
		})
	}
}

func TestIdleTimeCountsFromItsHopsBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hops := three(t, 2*time.Second, 10*time.Second)
		hops[1].limits.IdleSince = time.Now().Add(-9 * time.Second)
		start(t, "pipe", "pipe", nil, hops...)
		began := time.Now()
		expectEndings(t, hops, filter.DownstreamClosed, filter.IdleTimeout)
		if d := time.Since(began); d != time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestBytesPutTheIdleTimeoutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hops := three(t, 2*time.Second)
		r := start(t, "pipe", "pipe", nil, hops...)
		began := time.Now()
		for range 3 {
			time.Sleep(1500 * time.Millisecond)
			write(t, r.client, "x")
			get(t, r.host, "x")
			time.Sleep(1500 * time.Millisecond)
			write(t, r.host, "x")
			get(t, r.client, "x")
		}
		expectEndings(t, hops, filter.IdleTimeout)
		if d := time.Since(began); d != 11*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

// Filter state may ask for any idle time.
func TestEndlessIdleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hops := three(t, math.MaxInt64, 0)
		hops[1].limits.Deadline = time.Now().Add(4 * time.Second)
		r := start(t, "pipe", "pipe", nil, hops...)
		began := time.Now()
		time.Sleep(time.Second)
		write(t, r.client, "x")
		get(t, r.host, "x")
		expectEndings(t, hops, filter.DownstreamClosed, filter.DurationReached)
		if d := time.Since(began); d != 4*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hops := three(t, 2*time.Second, 2*time.Second, 2*time.Second)
		hops[0].limits.Deadline = time.Now().Add(4 * time.Second)
		hops[1].limits.Deadline = time.Now().Add(3 * time.Second)
		r := start(t, "pipe", "pipe", nil, hops...)
		time.Sleep(1500 * time.Millisecond)
		write(t, r.client, "x")
		get(t, r.host, "x")
		began := time.Now()
		expectEndings(t, hops, filter.DownstreamClosed, filter.DurationReached, filter.UpstreamClosed)
		if d := time.Since(began); d != 1500*time.Millisecond {
			t.Errorf("after %v", d)
		}
	})
}

func TestExpiredBeforeStart(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		for cause, limits := range map[filter.Cause]filter.Limits{
			filter.DurationReached: {Deadline: time.Now().Add(-time.Second)},
			filter.IdleTimeout:     {Idle: time.Second, IdleSince: time.Now().Add(-time.Hour)},
		} {
			h := newHop(t)
			h.limits = limits
			r := start(t, down, up, nil, h)
			r.expectEnd(cause)
			expect(t, r.client, "", "EOF")
			expect(t, r.host, "", "EOF")
		}
	})
}

// A flush that is stuck ends with the idle timeout.
func TestIdleTimeoutEndsAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHop(t)
		h.limits.Idle = 5 * time.Second
		began := make(chan bool, 2)
		h.flushing = func(on bool) { began <- on }
		r := start(t, "pipe", "pipe", nil, h)
		go func() {
			r.client.Write(make([]byte, 1500<<10))
			r.client.Close()
		}()
		if !<-began || <-began {
			t.Error("flushing does not begin and end")
		}
		r.expectEnd(filter.IdleTimeout)
		if up, _ := h.moved(); up < 1<<20 {
			t.Errorf("only %d bytes were passed on", up)
		}
	})
}
