package pump

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A timetable is a wheel and, beside it, a list of what it should know.
type timetable struct {
	t     *testing.T
	rnd   *rand.Rand
	wheel wheel
	now   time.Duration
	wires []*wire
	due   map[*wire]time.Duration
	tick  map[*wire]int64 // in which it is to fire
}

// newTimetable begins at any moment: a wheel's time is that of its group.
func newTimetable(t *testing.T, seed uint64, wires int) *timetable {
	x := &timetable{t: t, rnd: rand.New(rand.NewPCG(seed, 0)), due: map[*wire]time.Duration{}, tick: map[*wire]int64{}}
	x.now = x.span()
	x.wheel.now = int64(x.now / tick)
	for range wires {
		x.wires = append(x.wires, new(wire))
	}
	return x
}

// span is any time from nothing to a month, short ones as often as long ones.
func (x *timetable) span() time.Duration {
	return time.Duration(x.rnd.Int64N(1 << (1 + x.rnd.IntN(51))))
}

func (x *timetable) set(w *wire) {
	due := x.now + x.span() - 5*time.Millisecond // sometimes it has passed
	if x.rnd.IntN(4) == 0 {
		due = due.Truncate(tick)
	}
	x.wheel.set(w, due)
	x.due[w] = due
	x.tick[w] = max(int64((due+tick-1)/tick), x.wheel.now+1)
}

func (x *timetable) forget(w *wire) {
	delete(x.due, w)
	delete(x.tick, w)
}

// advance checks what fires: all that is due and nothing else.
func (x *timetable) advance(to time.Duration) {
	x.now = to
	var want []*wire
	for _, w := range x.wires {
		if at, ok := x.tick[w]; ok && at <= int64(to/tick) {
			want = append(want, w)
		}
	}
	fired := map[*wire]bool{}
	x.wheel.advance(to, func(w *wire) {
		if due, ok := x.due[w]; !ok || due > to {
			x.t.Errorf("at %v: fired %v (set: %v)", to, due, ok)
		}
		fired[w] = true
		x.forget(w)
		if x.rnd.IntN(3) == 0 {
			x.set(w)
		}
	})
	for _, w := range want {
		if !fired[w] {
			x.t.Errorf("at %v: %v has not fired", to, x.due[w])
		}
	}
}

// check compares the first moment the wheel asks for with the list.
func (x *timetable) check() {
	at, ok := x.wheel.next()
	if ok != (len(x.due) > 0) {
		x.t.Fatalf("next: %v with %d timers", ok, len(x.due))
	}
	if !ok {
		return
	}
	first := int64(1 << 62)
	for _, tick := range x.tick {
		first = min(first, tick)
	}
	if at > time.Duration(first)*tick || int64(at/tick) <= x.wheel.now {
		x.t.Errorf("at %v: next %v, the first timer is due in tick %d", x.now, at, first)
	}
}

// chained counts the timers by the lists of the wheel itself.
func (v *wheel) chained(t *testing.T) (n int) {
	for level := range v.slots {
		for slot, w := range v.slots[level] {
			if used := v.used[level]&(1<<slot) != 0; used != (w != nil) {
				t.Errorf("level %d, slot %d: used %v, empty %v", level, slot, used, w == nil)
			}
			var prev *wire
			for ; w != nil; prev, w = w, w.timer.next {
				if w.timer.prev != prev || w.timer.due == 0 || int(w.rung.level) != level || int(w.rung.slot) != slot {
					t.Errorf("level %d, slot %d: %+v", level, slot, w.timer)
				}
				n++
			}
		}
	}
	return n
}

func TestWheelAgainstAList(t *testing.T) {
	for range runs(200) {
		seed := nextSeed()
		x := newTimetable(t, seed, 1+int(seed%50))
		for range 300 {
			w := x.wires[x.rnd.IntN(len(x.wires))]
			switch x.rnd.IntN(8) {
			case 0, 1, 2:
				x.set(w)
			case 3:
				x.wheel.clear(w)
				x.forget(w)
			case 4, 5:
				x.advance(x.now + x.span())
			case 6:
				x.advance(x.now + time.Duration(x.rnd.IntN(3))*tick)
			default: // as a loop does
				if at, ok := x.wheel.next(); ok {
					x.advance(max(x.now, at+time.Duration(x.rnd.IntN(int(tick)))))
				}
			}
			x.check()
			if n := x.wheel.chained(t); n != len(x.due) {
				t.Errorf("%d timers in the wheel, %d in the list", n, len(x.due))
			}
		}
		if t.Failed() {
			t.Fatalf("repeat with -seed %d", seed)
		}
	}
}

// A loop that sleeps until next has not to wake up often for one timer: once for
// each level, and for each round of the last one.
func TestWheelSleeps(t *testing.T) {
	for _, due := range []time.Duration{1, tick, 63 * tick, 64 * tick, 65 * tick, time.Second, time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour, 30 * 24 * time.Hour, maxIdle} {
		for _, begin := range []time.Duration{0, 63 * tick, 4095 * tick, 12345678 * tick} {
			var v wheel
			v.now = int64(begin / tick)
			fired, waits := false, 0
			rounds := min(1+int(due/(4*time.Hour)), 1000)
			v.set(new(wire), begin+due)
			for ; !fired && waits < levels+rounds; waits++ {
				at, ok := v.next()
				if !ok {
					t.Fatalf("%v after %v is lost", due, begin)
				}
				v.advance(at, func(*wire) { fired = true })
			}
			if !fired && rounds < 1000 {
				t.Errorf("%v after %v has not fired in %d looks", due, begin, waits)
			}
		}
	}
}

// What is due at the same moment need not fire in an order, but all of it must, also
// when a wire sets its timer anew while it fires.
func TestWheelFiresASlotWhole(t *testing.T) {
	var v wheel
	wires := make([]*wire, 100)
	for i := range wires {
		wires[i] = new(wire)
		v.set(wires[i], 10*tick)
	}
	for _, w := range []*wire{wires[0], wires[50], wires[99]} { // last, middle, first of the list
		v.clear(w)
	}
	var fired []*wire
	again := func(w *wire) { fired = append(fired, w); v.set(w, 10*tick) }
	v.advance(9*tick, again)
	if len(fired) != 0 {
		t.Errorf("%d fired early", len(fired))
	}
	for round := 1; round <= 3; round++ { // due already: in each tick, but not twice
		v.advance(time.Duration(9+round)*tick, again)
		if len(fired) != 97*round {
			t.Errorf("%d fired in %d ticks", len(fired), round)
		}
	}
	for i, w := range wires {
		if gone := i == 0 || i == 50 || i == 99; slices.Contains(fired, w) == gone {
			t.Errorf("wire %d: cleared %v", i, gone)
		}
	}
}

// BenchmarkWheel: what a timer costs does not depend on how many there are.
func BenchmarkWheel(b *testing.B) {
	for _, n := range []int{100, 10_000, 1_000_000} {
		rnd := rand.New(rand.NewPCG(1, 2))
		wires := make([]wire, n)
		var v wheel
		now := time.Duration(0)
		for i := range wires {
			v.set(&wires[i], time.Duration(rnd.Int64N(int64(time.Hour))))
		}
		b.Run(fmt.Sprint("set/", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				v.set(&wires[i*7919%n], now+time.Duration(i%3_600_000)*tick)
			}
		})
		b.Run(fmt.Sprint("next/", n), func(b *testing.B) {
			for b.Loop() {
				v.next()
			}
		})
		// An op is one timer's firing, with its way down the levels.
		b.Run(fmt.Sprint("fire/", n), func(b *testing.B) {
			for fired := 0; fired < b.N; {
				now += time.Hour / time.Duration(n)
				v.advance(now, func(w *wire) { fired++; v.set(w, now+time.Hour) })
			}
		})
	}
}
