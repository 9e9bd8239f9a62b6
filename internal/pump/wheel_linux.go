package pump

import (
	"math/bits"
	"time"
)

// A wheel is the timers of a loop: every wire has at most one. Setting, clearing and
// firing take the same time however many there are.
//
// A timer stands in the first of four levels that reaches it, of 64 slots each: of
// 1 ms, 64 ms, 4 s and 4 min. When its slot comes up it fires, or moves to a finer
// level. What lies beyond the last one (4 h) waits there and is put off again.
type wheel struct {
	now   int64 // ticks that have passed
	used  [levels]uint64
	slots [levels][slots]*wire
}

const (
	tick     = time.Millisecond
	levels   = 4
	slotBits = 6
	slots    = 1 << slotBits
)

// A timer is a wire's link in the wheel.
type timer struct {
	next, prev *wire
	due        time.Duration // in the group's time; 0: not set
}

// A rung is where in the wheel a timer stands. It is apart from the timer to fill a gap
// of the wire, which idle connections keep.
type rung struct{ level, slot uint8 }

// set makes w's timer fire at the given moment, or as soon as possible after it.
func (v *wheel) set(w *wire, due time.Duration) {
	v.clear(w)
	w.timer.due = max(due, 1)
	v.place(w)
}

// clear takes back a timer that has not fired.
func (v *wheel) clear(w *wire) {
	t := &w.timer
	if t.due == 0 {
		return
	}
	if t.next != nil {
		t.next.timer.prev = t.prev
	}
	if t.prev != nil {
		t.prev.timer.next = t.next
	} else {
		r := w.rung
		v.slots[r.level][r.slot] = t.next
		if t.next == nil {
			v.used[r.level] &^= 1 << r.slot
		}
	}
	*t = timer{}
}

func (v *wheel) place(w *wire) {
	t := &w.timer
	at := max(int64((t.due+tick-1)/tick), v.now+1)
	level := 0
	for at>>(level*slotBits)-v.now>>(level*slotBits) >= slots {
		if level == levels-1 {
			at = v.now + (slots-1)<<(level*slotBits)
			break
		}
		level++
	}
	w.rung = rung{uint8(level), uint8(at >> (level * slotBits) % slots)}
	head := &v.slots[w.rung.level][w.rung.slot]
	t.next, t.prev = *head, nil
	if t.next != nil {
		t.next.timer.prev = w
	}
	*head = w
	v.used[w.rung.level] |= 1 << w.rung.slot
}

// advance fires what is due at the given moment. fire may set the timer of its wire
// again, and touch no other.
func (v *wheel) advance(now time.Duration, fire func(*wire)) {
	was, is := v.now, int64(now/tick)
	if is <= was {
		return
	}
	v.now = is
	for level := range v.used {
		shift := level * slotBits
		passed := v.passed(level, was>>shift, is>>shift)
		for passed != 0 {
			slot := bits.TrailingZeros64(passed)
			passed &^= 1 << slot
			v.empty(level, slot, now, fire)
		}
	}
}

// passed returns the used slots of a level in (from, to].
func (v *wheel) passed(level int, from, to int64) uint64 {
	if to-from >= slots {
		return v.used[level]
	}
	n := uint(to - from)
	return v.used[level] & bits.RotateLeft64(1<<n-1, int((from+1)%slots))
}

// empty fires the timers of a slot, and puts those off whose time has not come.
func (v *wheel) empty(level, slot int, now time.Duration, fire func(*wire)) {
	w := v.slots[level][slot]
	v.slots[level][slot] = nil
	v.used[level] &^= 1 << slot
	for w != nil {
		t := w.timer
		w.timer = timer{}
		if t.due <= now {
			fire(w)
		} else {
			v.set(w, t.due)
		}
		w = t.next
	}
}

// next returns when advance should be called, at the latest; ok is false if there is
// no timer.
func (v *wheel) next() (at time.Duration, ok bool) {
	first := int64(-1)
	for level, used := range v.used {
		if used == 0 {
			continue
		}
		shift := level * slotBits
		base := v.now>>shift + 1
		n := int64(bits.TrailingZeros64(bits.RotateLeft64(used, -int(base%slots))))
		if t := (base + n) << shift; first < 0 || t < first {
			first = t
		}
	}
	return time.Duration(first) * tick, first >= 0
}
