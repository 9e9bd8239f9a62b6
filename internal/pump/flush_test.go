package pump

import (
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// stalled returns a pair whose flows have not begun, and a host that takes nothing: with
// bytes for it that have not left.
func stalled(t *testing.T, h *hop) *pair {
	t.Helper()
	g := &Group{FlushTimeout: time.Hour}
	g.begin()
	d, client := open(t, "socket")
	u, host := open(t, "socket")
	t.Cleanup(func() {
		client.Close()
		host.Close()
		g.Wait()
	})
	u.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for b := make([]byte, 1<<20); ; {
		if _, err := u.Write(b); err != nil {
			break
		}
	}
	p := newPair(g, d, u, h, nil)
	g.running.add()
	g.add(p)
	return p
}

// A reason of our own ends the flush of a connection that its peer has closed, also when
// it comes before the flush has begun.
func TestLocalCloseBeforeTheFlush(t *testing.T) {
	for _, c := range []filter.Cause{filter.DownstreamClosed, filter.DownstreamReset} {
		h := newHop(t)
		p := stalled(t, h)
		p.end(verdict{Ending: filter.Ending{Cause: c}})
		p.CloseLocal(nil, "shutdown")
		p.CloseLocal(nil, "and again")
		p.begin()
		if e := h.wait(); e.Cause != c {
			t.Errorf("%+v", e)
		}
	}
}

// The clock goes on between the end of a connection and its flush.
func TestLimitEndsAFlushAfterALook(t *testing.T) {
	h := newHop(t)
	h.limits.Deadline = time.Now().Add(200 * time.Millisecond)
	p := stalled(t, h)
	p.watch()
	p.end(verdict{Ending: filter.Ending{Cause: filter.DownstreamClosed}})
	p.mu.Lock()
	p.timer.Stop()
	p.mu.Unlock()
	p.expire() // as one that was put off does
	p.begin()
	if e := h.wait(); e.Cause != filter.DownstreamClosed {
		t.Errorf("%+v", e)
	}
}

// The deadline of a pause that is over costs the next message nothing, and is then gone.
func TestDeadlineOfAPauseThatIsOver(t *testing.T) {
	for name, write := range map[string]func(*flow) bool{
		"in passing":     func(f *flow) bool { _, done := f.pass(); return done },
		"in a goroutine": func(f *flow) bool { return f.writeSocket() == nil },
	} {
		g := &Group{FlushTimeout: time.Nanosecond}
		g.begin()
		d, client := open(t, "pipe")
		u, host := open(t, "socket")
		p := newPair(g, d, u, newHop(t), nil)
		f := &p.flows[filter.FromDownstream]
		f.arm()
		f.held = piece{b: []byte("hello")}
		if !write(f) || f.alarm != 0 {
			t.Errorf("%s: not written, or the deadline stays", name)
		}
		get(t, host, "hello")
		for _, s := range []filter.Stream{d, client, u, host} {
			s.Close()
		}
	}
}
