package pump

import (
	"errors"
	"os"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A flow from a pipe that has nothing is asleep and holds no goroutine. If another flow
// brings bytes, its goroutine takes them on, through as many pipes as there are, for as
// long as nothing has to be waited for: that costs a third of a goroutine's wake-up, and
// a hop keeps no stacks. If somebody else brings them, or if there is to wait, for room
// or for the end, the flow goes on in a goroutine of its own.

// errAsleep is what reading returns when the flow belongs to its pipe, and to whoever
// wakes it.
var errAsleep = errors.New("asleep")

// Wake implements pipe.Sleeper.
func (f *flow) Wake() {
	if f.again == nil {
		f.again = func() { f.p.run(f) }
	}
	go f.again()
}

// begin starts a flow.
func (f *flow) begin() {
	if f.src.pipe == nil || f.readPipe() != errAsleep {
		f.Wake()
	}
}

// readPipe takes a chunk over, or falls asleep.
func (f *flow) readPipe() error {
	src := f.src.pipe
	k, err := src.TakeChunk(int(f.p.limits.maxBytes), f)
	switch {
	case k != nil:
		f.held = piece{b: k.Bytes(), chunk: k}
		return nil
	case err == nil:
		return errAsleep
	}
	return endOfPipe(src, err)
}

// serve runs a reader that slept until there was something for it, and whom it wakes,
// in the goroutine of the flow that did so at the moment m.
func serve(s pipe.Sleeper, m moment) {
	f, ok := s.(*flow)
	if !ok {
		s.Wake()
		return
	}
	for f != nil {
		back := f.back
		f.back = nil
		woken := f.advance(&m)
		if woken == nil { // f is another's now
			f = back
			continue
		}
		f.back, woken.back = back, f
		f = woken
	}
}

// advance moves what there is without waiting. It returns a flow that it has woken,
// and has then to be called again; else f is asleep or runs in a goroutine.
func (f *flow) advance(m *moment) (woken *flow) {
	for {
		err := f.readPipe()
		if err == errAsleep {
			return nil
		}
		var slept pipe.Sleeper
		done := false
		if err == nil && !f.sinking && !f.slow() {
			slept, done = f.pass()
		}
		if !done {
			f.Wake() // it finds what is held, or the error again
			return nil
		}
		f.free()
		f.touch(m)
		switch s := slept.(type) {
		case nil:
		case *flow:
			return s
		default:
			s.Wake()
		}
	}
}

// slow reports whether f may wait for other things than room.
func (f *flow) slow() bool {
	return f.from == filter.FromDownstream && f.p.first != nil || f.dst.pipe == nil && f.dst.raw == nil
}

// pass writes what is held if that can be done at once; else the rest is still held.
func (f *flow) pass() (slept pipe.Sleeper, done bool) {
	if f.dst.pipe != nil {
		slept, done, _ = f.offer()
		return slept, done
	}
	f.hasty = true
	err := f.dst.raw.Write(f.tryWrite)
	if f.alarm != 0 && errors.Is(err, os.ErrDeadlineExceeded) && f.disarm() {
		err = f.dst.raw.Write(f.tryWrite)
	}
	f.hasty = false
	return nil, err == nil && f.outErr == nil && len(f.held.b) == 0
}

// offer queues the chunk that is held if there is room.
func (f *flow) offer() (slept pipe.Sleeper, taken bool, err error) {
	taken, slept, err = f.dst.pipe.OfferChunk(f.held.chunk)
	if taken {
		f.p.untold[f.from].Add(uint64(len(f.held.b)))
		f.held = piece{}
	}
	return slept, taken, err
}

// A moment is when the bytes of one read pass through all flows that can take them
// further at once, so that the clock is read once; the zero value is now.
type moment struct {
	group *Group
	at    time.Duration
}

func (m *moment) in(g *Group) time.Duration {
	if m.group != g {
		m.group, m.at = g, g.now()
	}
	return m.at
}

// touch notes that bytes pass.
func (f *flow) touch(m *moment) {
	if f.p.limits.idleHop != 0 {
		f.p.touch(m.in(f.p.group))
	}
}
