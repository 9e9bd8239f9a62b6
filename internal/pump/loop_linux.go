package pump

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
	"golang.org/x/sys/unix"
)

// A loop moves the bytes of its wires in one goroutine, which alone touches them and
// the plain fields. It waits in the kernel for readiness, edge-triggered, with one
// buffer for all wires.
type loop struct {
	group  *Group
	epoll  int
	bell   int // an eventfd that wakes the loop
	now    time.Duration
	events []unix.EpollEvent
	buf    []byte
	wheel  wheel
	queue  queue
	pipes  pipes
	batch  []unix.EpollEvent // what is left of the last events
	round  int               // how many the last events were
	fresh  time.Duration     // when other goroutines had their turn last
	breath breath
	turn   *turn // of the next connection; nil: make one

	asleep atomic.Bool // or about to be: who posts must ring
	done   chan struct{}

	number int   // fixed
	count  int64 // of wires; guarded by loops.mu

	mu      sync.Mutex
	inbox   []message
	stopped bool
	watches []*watch // by watch.slot
	wires   []*wire  // by wire.slot
	free    []int32  // slots
	spare   []message
	vacated []int32 // free from the next round of events on: this one may still name them
}

// A message is for a wire: to begin it, or to end it with a verdict.
type message struct {
	w *wire // nil: for all of them; then with a verdict
	v *verdict
}

const (
	maxEvents = 256
	bufBytes  = largestBytes // hold has a buffer for all of it
	// maxGreed bounds how long a busy loop goes on before the runtime's poller is
	// looked at, which the Go scheduler does only when it finds nothing to run.
	maxGreed = time.Millisecond
)

func newLoop(g *Group) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	lungs, err := newBreath()
	if err != nil {
		unix.Close(epoll)
		unix.Close(bell)
		return nil, err
	}
	l := &loop{
		breath: lungs, group: g, epoll: epoll, bell: bell, done: make(chan struct{}),
		events: make([]unix.EpollEvent, maxEvents), buf: make([]byte, bufBytes),
	}
	l.now = g.now()
	l.wheel.now = int64(l.now / tick)
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: bellSlot}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, bell, &ev); err != nil {
		lungs.close()
		unix.Close(epoll)
		unix.Close(bell)
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return l, nil
}

// Events of the bell and of watches; those of wires are not negative.
const (
	bellSlot   = -1
	firstWatch = -2
)

// stop ends a loop that has no wires and waits for it.
func (l *loop) stop() {
	l.mu.Lock()
	l.stopped = true
	l.ring()
	l.mu.Unlock()
	<-l.done
}

// post leaves a message. It may be called from any goroutine, also the loop's own.
func (l *loop) post(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.inbox = append(l.inbox, m)
	if l.asleep.CompareAndSwap(true, false) {
		l.ring()
	}
}

// ring is called with mu held: a loop that has been told to stop closes the bell, whose
// number may be anybody's descriptor right after.
func (l *loop) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(l.bell, one[:]) // full: it rings already
}

// run is the goroutine of a loop. It ends when the loop does, or when a connection
// that is being set up has left its turn: then another one has gone on.
func (l *loop) run() {
	for {
		for len(l.batch) > 0 {
			ev := l.batch[0]
			l.batch = l.batch[1:]
			if !l.handle(&ev) {
				return
			}
		}
		rest := l.queue.len
		if w := l.queue.take(); w != nil {
			w.turn()
			l.now = l.group.now()
		}
		if !l.readMail() {
			l.end()
			return
		}
		l.wheel.advance(l.now, (*wire).expire)
		l.yield(rest > 0)
		l.round = l.wait()
		l.batch = l.events[:l.round]
		l.now = l.group.now()
	}
}

func (l *loop) end() {
	l.closePipes()
	l.breath.close()
	unix.Close(l.epoll)
	unix.Close(l.bell)
	close(l.done)
}

// wait returns the number of events; it blocks unless there is something else to do.
func (l *loop) wait() int {
	n := pollEvents(l.epoll, l.events)
	if n > 0 || l.queue.len > 0 {
		return n
	}
	l.asleep.Store(true)
	l.mu.Lock()
	pending := len(l.inbox) > 0 || l.stopped
	l.mu.Unlock()
	if !pending {
		// An ordinary blocking call lets the runtime give this goroutine's processor
		// to others.
		n, _ = unix.EpollWait(l.epoll, l.events, l.patience())
		if n = max(n, 0); n == 0 {
			l.closeIdlePipes()
		}
		l.fresh = l.group.now()
	}
	l.asleep.Store(false)
	return n
}

// patience returns how long the loop may sleep, in ms.
func (l *loop) patience() int {
	longest := time.Hour
	if len(l.pipes.free) > 0 {
		longest = pipeIdle
	}
	at, ok := l.wheel.next()
	if !ok {
		return int(longest / tick)
	}
	return int(max(0, min((at-l.group.now()+tick-1), longest)/tick))
}

// yield lets other goroutines run; on a loop with little to do that costs more than it
// brings. Only when the scheduler finds none does it look which of them have become
// ready by their sockets; so that this happens although a loop is always ready, it now
// and then waits for nothing.
func (l *loop) yield(unfinished bool) {
	switch {
	case l.now-l.fresh >= maxGreed:
		l.breath.take()
		l.fresh = l.group.now()
	case l.round > 1 || unfinished:
		runtime.Gosched()
	}
}

// handle passes an event on to its wire or watch. It reports false if the loop goes on
// in another goroutine.
func (l *loop) handle(ev *unix.EpollEvent) bool {
	switch {
	case ev.Fd == bellSlot:
	case ev.Fd < 0:
		return l.accept(firstWatch - ev.Fd)
	default:
		if w := l.wires[ev.Fd>>1]; w != nil { // nil: it ended in this round
			w.ready(filter.Direction(ev.Fd&1), ev.Events)
		}
	}
	return true
}

// watch lets the loop hear of a socket.
func (l *loop) watch(w *wire, d filter.Direction, op int, events uint32) error {
	ev := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: w.slot<<1 | int32(d)}
	return unix.EpollCtl(l.epoll, op, int(w.sides[d].fd), &ev)
}

// readMail reports false when the loop is to end.
func (l *loop) readMail() bool {
	l.mu.Lock()
	mail := l.inbox
	l.inbox = l.spare[:0]
	l.free = append(l.free, l.vacated...)
	l.vacated = l.vacated[:0]
	stopped := l.stopped
	l.mu.Unlock()
	for i, m := range mail {
		l.read(m)
		mail[i] = message{}
	}
	l.spare = mail
	return !stopped
}

func (l *loop) read(m message) {
	switch {
	case m.w == nil:
		for _, w := range l.wires {
			if w != nil {
				w.end(*m.v)
			}
		}
	case m.v != nil:
		m.w.end(*m.v)
	default:
		l.adopt(m.w)
	}
}

// adopt gives a new wire its slot and begins it.
func (l *loop) adopt(w *wire) {
	l.mu.Lock()
	if k := len(l.free); k > 0 {
		w.slot = l.free[k-1]
		l.free = l.free[:k-1]
		l.wires[w.slot] = w
	} else {
		w.slot = int32(len(l.wires))
		l.wires = append(l.wires, w)
	}
	l.mu.Unlock()
	w.begin()
}

// drop forgets a wire that has ended.
func (l *loop) drop(w *wire) {
	l.wheel.clear(w)
	l.mu.Lock()
	l.wires[w.slot] = nil
	l.vacated = append(l.vacated, w.slot)
	l.mu.Unlock()
}
