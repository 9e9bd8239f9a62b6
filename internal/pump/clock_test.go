package pump

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// Sockets know only real time. Nothing may end early; how late it may end, nobody
// says here.

// timed runs f for sockets, with either pump.
func timed(t *testing.T, f func(t *testing.T, kind string)) {
	for _, kind := range []string{"socket", looped} {
		t.Run(kind, func(t *testing.T) { t.Parallel(); f(t, kind) })
	}
}

func TestLimitsOfSockets(t *testing.T) {
	const u = 20 * time.Millisecond
	type hopLimits struct{ idle, used, deadline time.Duration } // used of the idle time at the start
	for _, c := range []struct {
		name  string
		hops  []hopLimits // the innermost first
		want  []filter.Cause
		after time.Duration
	}{
		{"the innermost is idle", []hopLimits{{idle: 2 * u}, {idle: 500 * u}, {}},
			[]filter.Cause{filter.IdleTimeout, filter.UpstreamClosed, filter.UpstreamClosed}, 2 * u},
		{"one in the middle is idle", []hopLimits{{idle: 500 * u}, {idle: 2 * u}, {idle: 300 * u}},
			[]filter.Cause{filter.DownstreamClosed, filter.IdleTimeout, filter.UpstreamClosed}, 2 * u},
		{"the outermost is idle", []hopLimits{{}, {}, {idle: 2 * u}},
			[]filter.Cause{filter.DownstreamClosed, filter.DownstreamClosed, filter.IdleTimeout}, 2 * u},
		{"one that began earlier is idle", []hopLimits{{idle: 500 * u}, {idle: 1000 * u, used: 998 * u}},
			[]filter.Cause{filter.DownstreamClosed, filter.IdleTimeout}, 2 * u},
		{"level idle times: each", []hopLimits{{idle: 2 * u}, {idle: 2 * u}, {idle: 500 * u}},
			[]filter.Cause{filter.IdleTimeout, filter.IdleTimeout, filter.UpstreamClosed}, 2 * u},
		{"idle time used up", []hopLimits{{idle: u, used: 500 * u}, {}},
			[]filter.Cause{filter.IdleTimeout, filter.UpstreamClosed}, 0},
		{"a deadline", []hopLimits{{deadline: 500 * u}, {deadline: 2 * u}, {deadline: 300 * u}},
			[]filter.Cause{filter.DownstreamClosed, filter.DurationReached, filter.UpstreamClosed}, 2 * u},
		{"level deadlines: each", []hopLimits{{deadline: 2 * u}, {deadline: 2 * u}},
			[]filter.Cause{filter.DurationReached, filter.DurationReached}, 2 * u},
		{"a deadline before the idle time", []hopLimits{{idle: 500 * u}, {idle: 400 * u, deadline: 2 * u}},
			[]filter.Cause{filter.DownstreamClosed, filter.DurationReached}, 2 * u},
		{"an idle time before the deadline", []hopLimits{{idle: 2 * u, deadline: 500 * u}, {}},
			[]filter.Cause{filter.IdleTimeout, filter.UpstreamClosed}, 2 * u},
		{"a deadline that has passed", []hopLimits{{}, {deadline: -u}, {idle: 2 * u}},
			[]filter.Cause{filter.DownstreamClosed, filter.DurationReached, filter.UpstreamClosed}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			timed(t, func(t *testing.T, kind string) {
				began := time.Now()
				hops := make([]*hop, len(c.hops))
				for i, l := range c.hops {
					hops[i] = newHop(t)
					hops[i].limits.Idle = l.idle
					hops[i].limits.IdleSince = began.Add(-l.used)
					if l.deadline != 0 {
						hops[i].limits.Deadline = began.Add(l.deadline)
					}
				}
				r := startShared(t, new(Group), kind, hops...)
				expect(t, r.client, "", "EOF")
				expect(t, r.host, "", "EOF")
				if d := time.Since(began); d < c.after {
					t.Errorf("after %v", d)
				}
				expectEndings(t, hops, c.want...)
			})
		})
	}
}

// startShared is start for parallel tests, which cannot count what the process has.
func startShared(t *testing.T, g *Group, kind string, hops ...*hop) *rig {
	t.Helper()
	for i := range hops[1:] {
		hops[i].outer = hops[i+1]
	}
	g.Loops = loopsFor(kind, kind)
	r := &rig{t: t, g: g, hop: hops[0]}
	d, client := open(t, kind)
	u, host := open(t, kind)
	r.client, r.host = client, host
	r.pump = r.g.Start(d, u, hops[0], nil)
	t.Cleanup(func() {
		client.Close()
		host.Close()
		r.g.Wait()
	})
	return r
}

// Bytes of either direction put the idle time off.
func TestBytesPutTheIdleTimeOfSocketsOff(t *testing.T) {
	const idle = 100 * time.Millisecond
	for _, from := range []filter.Direction{filter.FromDownstream, filter.FromUpstream} {
		timed(t, func(t *testing.T, kind string) {
			hops := three(t, idle, time.Hour)
			began := time.Now()
			r := startShared(t, new(Group), kind, hops...)
			w, rd := r.client, r.host
			if from == filter.FromUpstream {
				w, rd = rd, w
			}
			last := began
			for step := time.NewTicker(idle / 10); last.Sub(began) < 4*idle; <-step.C {
				now := time.Now()
				w.Write([]byte("x"))
				if n, _ := rd.Read(make([]byte, 1)); n == 0 {
					break // this machine is slow, and the pump is right to end if so
				}
				last = now
			}
			expectEndings(t, hops, filter.IdleTimeout, filter.UpstreamClosed)
			// A loop reads its clock once for all that it finds to do.
			if d := time.Since(last); d < idle*8/10 {
				t.Errorf("idle for %v only, %v after the beginning", d, last.Sub(began))
			}
		})
	}
}

// A stream that never pauses never idles.
func TestStreamIsNotIdle(t *testing.T) {
	timed(t, func(t *testing.T, kind string) {
		const idle = 300 * time.Millisecond
		h := newHop(t)
		h.limits.Idle = idle
		h.limits.Deadline = time.Now().Add(4 * idle)
		r := startShared(t, new(Group), kind, h)
		go func() {
			for b := make([]byte, 64<<10); ; {
				if _, err := r.client.Write(b); err != nil {
					return
				}
			}
		}()
		last, longest := time.Now(), time.Duration(0)
		for b := make([]byte, 64<<10); ; {
			n, _ := r.host.Read(b)
			longest, last = max(longest, time.Since(last)), time.Now()
			if n == 0 {
				break
			}
		}
		if e := h.wait(); e.Cause != filter.DurationReached && longest < idle/2 {
			t.Errorf("%+v, the longest pause was %v", e, longest)
		}
	})
}

// What is on its way to a side that takes nothing is let go with the idle time.
func TestIdleTimeoutEndsAFlushOfSockets(t *testing.T) {
	for _, kind := range []string{"unix", "looped unix"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := newHop(t)
			h.limits.Idle = 500 * time.Millisecond // long enough for a look around before
			flushes := make(chan bool, 2)
			h.flushing = func(begins bool) { flushes <- begins }
			r := startShared(t, hasty(), kind, h)
			r.stuff(r.client, filter.FromDownstream)
			r.client.Close()
			if !await(t, flushes) {
				t.Error("a flush ends that has not begun")
			}
			r.expectEnd(filter.IdleTimeout)
			if await(t, flushes) || len(flushes) > 0 {
				t.Error("the flush does not end once")
			}
		})
	}
}
