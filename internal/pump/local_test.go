package pump

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// states are what a pump may be in the middle of.
var states = map[string]func(t *testing.T, r *rig){
	"idle": func(*testing.T, *rig) {},
	"after bytes": func(t *testing.T, r *rig) {
		write(t, r.client, "a")
		get(t, r.host, "a")
		write(t, r.host, "b")
		get(t, r.client, "b")
	},
	"client half closed": func(t *testing.T, r *rig) {
		r.client.CloseWrite()
		expect(t, r.host, "", "EOF")
	},
	"host half closed": func(t *testing.T, r *rig) {
		r.host.CloseWrite()
		expect(t, r.client, "", "EOF")
	},
	"host reads nothing": func(t *testing.T, r *rig) { r.stuff(r.client, filter.FromDownstream) },
	"client reads nothing": func(t *testing.T, r *rig) {
		r.stuff(r.host, filter.FromUpstream)
	},
	"nobody reads": func(t *testing.T, r *rig) {
		r.stuff(r.client, filter.FromDownstream)
		r.stuff(r.host, filter.FromUpstream)
	},
}

// stuff writes until the pump cannot pass more on; the writer ends with the pump.
func (r *rig) stuff(from filter.Stream, dir filter.Direction) {
	full := make(chan struct{})
	var once sync.Once
	r.hop.mu.Lock()
	before := r.hop.flow
	r.hop.flow = func(d filter.Direction, paused bool) {
		if before != nil {
			before(d, paused)
		}
		if d == dir && paused {
			once.Do(func() { close(full) })
		}
	}
	r.hop.mu.Unlock()
	written := make(chan struct{})
	go func() {
		defer close(written)
		b := make([]byte, 64<<10)
		for {
			if _, err := from.Write(b); err != nil {
				return
			}
		}
	}()
	r.t.Cleanup(func() { from.Close(); <-written })
	await(r.t, full)
}

func TestCloseLocalInEveryState(t *testing.T) {
	for name, prepare := range states {
		t.Run(name, func(t *testing.T) {
			combinations(t, func(t *testing.T, down, up string) {
				hops := three(t, 0, 0, 0)
				r := start(t, down, up, nil, hops...)
				prepare(t, r)
				r.pump.CloseLocal(hops[1], "a reason")
				r.pump.CloseLocal(hops[2], "another reason")
				for i, want := range []filter.Ending{
					{Cause: filter.DownstreamClosed}, {Cause: filter.LocalClose, Reason: "a reason"}, {Cause: filter.UpstreamClosed},
				} {
					if e := hops[i].wait(); e != want {
						t.Errorf("hop %d: %+v, want %+v", i, e, want)
					}
				}
			})
		})
	}
}

func TestCloseLocalEndsBothSidesInGoodOrder(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		r := start(t, down, up, nil)
		write(t, r.client, "passed on")
		get(t, r.host, "passed on")
		r.pump.CloseLocal(r.hop, "drained")
		expect(t, r.client, "", "EOF")
		expect(t, r.host, "", "EOF")
		r.expectEnd(filter.LocalClose)
	})
}

func TestCloseLocalFromServes(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		hops := three(t, 0, 0, 0)
		hops[1].serves = func(p filter.Pump) { p.CloseLocal(hops[1], "too late") }
		r := start(t, down, up, nil, hops...)
		expect(t, r.host, "", "EOF")
		expect(t, r.client, "", "EOF")
		expectEndings(t, hops, filter.DownstreamClosed, filter.LocalClose, filter.UpstreamClosed)
	})
}

func TestEndedFromInnerToOuter(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		var order []*hop
		hops := three(t, 0, 0, 0)
		for _, h := range hops {
			h.order = &order
		}
		r := start(t, down, up, nil, hops...)
		r.client.Reset()
		expectEndings(t, hops, filter.DownstreamReset, filter.DownstreamReset, filter.DownstreamReset)
		r.g.Wait()
		for i, h := range hops {
			if order[i] != h {
				t.Error("not in order")
			}
		}
	})
}

func TestFirstData(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		t.Run("passes", func(t *testing.T) {
			calls := make(chan int, 10)
			r := start(t, down, up, func() error { calls <- 1; return nil })
			write(t, r.host, "banner first")
			get(t, r.client, "banner first")
			if len(calls) != 0 {
				t.Error("the host's bytes are no downstream data")
			}
			write(t, r.client, "x")
			get(t, r.host, "x")
			r.client.CloseWrite()
			expect(t, r.host, "", "EOF")
			if len(calls) != 1 {
				t.Errorf("called %d times", len(calls))
			}
		})
		t.Run("refuses bytes", func(t *testing.T) {
			r := start(t, down, up, func() error { return errors.New("rbac_deny_close") })
			write(t, r.client, "secret")
			expect(t, r.host, "", "EOF")
			expect(t, r.client, "", "EOF")
			if e := r.hop.wait(); e != (filter.Ending{Cause: filter.LocalClose, Reason: "rbac_deny_close"}) {
				t.Errorf("%+v", e)
			}
			if up, _ := r.hop.moved(); up != 0 {
				t.Errorf("%d bytes passed", up)
			}
		})
		t.Run("refuses the end", func(t *testing.T) {
			r := start(t, down, up, func() error { return errors.New("no") })
			r.client.CloseWrite()
			r.expectEnd(filter.LocalClose)
		})
	})
}

func TestSettleWhileRunning(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		hops := three(t, 0, 0)
		r := start(t, down, up, nil, hops...)
		write(t, r.client, "12345")
		get(t, r.host, "12345")
		for up := uint64(0); up != 5; up, _ = r.hop.moved() { // counted just after it arrived
			r.g.Settle()
		}
		if up, down := hops[1].moved(); up != 5 || down != 0 {
			t.Errorf("outer hop: moved %d, %d", up, down)
		}
		write(t, r.host, "123")
		get(t, r.client, "123")
		r.awaitMoved(5, 3)
		r.client.Reset()
		r.expectEnd(filter.DownstreamReset)
		r.g.Wait()
		r.pump.Settle()
		r.g.Settle()
	})
}

func TestGroupClose(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		hops := three(t, 0, 0)
		r := start(t, down, up, nil, hops...)
		if n := r.g.Active(); n != 1 {
			t.Errorf("%d active", n)
		}
		r.g.Close("shutdown")
		r.g.Wait()
		late := newHop(t)
		d, client := open(t, down)
		u, host := open(t, up)
		r.g.Start(d, u, late, nil)
		for _, h := range append(hops, late) {
			if e := h.wait(); e != (filter.Ending{Cause: filter.LocalClose, Reason: "shutdown"}) {
				t.Errorf("%+v", e)
			}
		}
		client.Close()
		host.Close()
	})
}

func TestBackPressure(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		r := start(t, down, up, nil)
		const size = 64 << 20
		full := make(chan struct{})
		var once sync.Once
		r.hop.mu.Lock()
		r.hop.flow = func(d filter.Direction, paused bool) {
			if d != filter.FromDownstream {
				t.Error("the wrong direction is paused")
			}
			once.Do(func() { close(full) })
		}
		r.hop.mu.Unlock()
		wrote := make(chan error, 1)
		go func() {
			_, err := r.client.Write(make([]byte, size))
			r.client.CloseWrite()
			wrote <- err
		}()
		await(t, full)
		if b, e := read(r.host); len(b) != size || e != "EOF" {
			t.Errorf("read %d, %s", len(b), e)
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		r.hop.mu.Lock()
		if r.hop.paused != r.hop.resumed {
			t.Errorf("paused %v, resumed %v", r.hop.paused, r.hop.resumed)
		}
		r.hop.mu.Unlock()
	})
}

// A reset is passed on although the other side takes nothing.
func TestResetWhileStuck(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		for _, s := range []string{"host reads nothing", "client reads nothing", "nobody reads"} {
			t.Run("client, "+s, func(t *testing.T) {
				r := startIn(t, hasty(), down, up, nil)
				states[s](t, r)
				r.client.Reset()
				r.expectEnd(filter.DownstreamReset)
			})
			t.Run("host, "+s, func(t *testing.T) {
				r := startIn(t, hasty(), down, up, nil)
				states[s](t, r)
				r.host.Reset()
				r.expectEnd(filter.UpstreamReset)
			})
		}
	})
}

// A client that is gone for good is noticed when it is written to.
func TestWriteToAClosedPeer(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		r := start(t, down, up, nil)
		write(t, r.client, "last words")
		get(t, r.host, "last words")
		r.client.Close()
		b := []byte(strings.Repeat("x", 1000))
		for {
			if _, err := r.host.Write(b); err != nil {
				break
			}
		}
		r.expectEnd(filter.DownstreamClosed)
	})
}

// While a client is gone and its last bytes are on their way, the host may have to
// write before it reads them.
func TestFlushTakesWhatTheHostWritesMeanwhile(t *testing.T) {
	for _, up := range kinds {
		t.Run(up, func(t *testing.T) {
			flushing := make(chan bool, 2)
			h := newHop(t)
			h.flushing = func(on bool) { flushing <- on }
			r := start(t, "deep pipe", up, nil, h)
			big := strings.Repeat("0123456789abcdef", 1<<20) // 16 MiB
			go func() {
				r.client.Write([]byte(big))
				r.client.Close()
			}()
			answer := make(chan struct{})
			go func() {
				defer close(answer)
				r.host.Write([]byte(big))
				b, e := read(r.host)
				if b != big || e != "EOF" {
					t.Errorf("read %d, %s", len(b), e)
				}
			}()
			<-answer
			r.expectEnd(filter.DownstreamClosed)
		})
	}
}

// Both sides have ended, but the host has not read everything.
func TestFlushIsToldOnce(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		told := make(chan bool, 100)
		h := newHop(t)
		h.flushing = func(on bool) { told <- on }
		full := make(chan struct{}, 100)
		h.flow = func(_ filter.Direction, paused bool) { full <- struct{}{} }
		r := startIn(t, hasty(), down, up, nil, h)
		r.host.CloseWrite()
		expect(t, r.client, "", "EOF")
		sent := 0
		for b := make([]byte, 32<<10); len(full) == 0; { // in step: a FIN needs room, too
			r.client.Write(b)
			sent += len(b)
			for up := uint64(0); up != uint64(sent) && len(full) == 0; up, _ = h.moved() {
				r.pump.Settle()
			}
		}
		end := r.client.CloseWrite
		if down == "pipe" { // whose half close alone is none, with bytes unread
			end = r.client.Close
		}
		end()
		if !await(t, told) {
			t.Error("the flush ends before it begins")
		}
		if b, e := read(r.host); len(b) != sent || e != "EOF" {
			t.Errorf("read %d of %d, %s", len(b), sent, e)
		}
		r.expectEnd(filter.DownstreamClosed)
		if await(t, told) || len(told) != 0 {
			t.Error("the flush does not end once")
		}
	})
}

// Who set the streams up may have left a deadline behind.
func TestStrayDeadlines(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		d, client := open(t, down)
		u, host := open(t, up)
		d.SetDeadline(time.Now().Add(-time.Second))
		u.SetDeadline(time.Now().Add(-time.Second))
		h := newHop(t)
		g := &Group{Loops: loopsFor(down, up)}
		g.Start(d, u, h, nil)
		defer g.Wait()
		write(t, client, "question")
		get(t, host, "question")
		write(t, host, "answer")
		get(t, client, "answer")
		client.CloseWrite()
		host.CloseWrite()
		h.wait()
		client.Close()
		host.Close()
	})
}
