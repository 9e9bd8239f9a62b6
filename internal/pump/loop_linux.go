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

// loops are the event loops of a group. They run while it has wires, and until Wait.
type loops struct {
	mu   sync.Mutex
	all  []*loop
	next int
}

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
	busy   int               // events of the last round
	fresh  time.Duration     // when other goroutines had their turn last
	breath breath
	turn   *turn // of the next connection; nil: make one

	asleep atomic.Bool // or about to be: who posts must ring
	done   chan struct{}

	mu      sync.Mutex
	inbox   []message
	stopped bool
	number  int
	count   int64    // of wires
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
	bufBytes  = 256 << 10
	// maxGreed bounds how long a busy loop goes on before the runtime's poller is
	// looked at, which the Go scheduler does only when it finds nothing to run.
	maxGreed = time.Millisecond
)

// startLooped starts a wire if loops serve such streams; nil if not.
func (g *Group) startLooped(down, up filter.Stream, hop filter.Outer, first func() error) filter.Pump {
	if g.Loops <= 0 {
		return nil
	}
	w := newWire(down, up)
	if w == nil {
		return nil
	}
	home, ok := w.sides[filter.FromDownstream].sock.Home()
	if !ok {
		home = -1
	}
	l := g.claimLoop(home)
	if l == nil {
		return nil
	}
	w.link = link{group: g, hop: hop, first: first}
	w.loop = l
	w.limits.read(hop, g.epoch, g.now())
	for h := hop; h != nil; h = h.Outer() {
		h.Serves(w)
	}
	l.post(message{w: w})
	if reason := g.closing.Load(); reason != nil {
		w.CloseLocal(nil, *reason)
	}
	return w
}

// claimLoop chooses the loop of a wire, which then counts as running: home if it is
// one and has not much more to do than others, else whoever has least.
func (g *Group) claimLoop(home int) *loop {
	ls := &g.loops
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.start(g) != nil {
		return nil
	}
	g.running.Add(1)
	g.active.Add(1)
	ls.next = (ls.next + 1) % len(ls.all)
	least := ls.all[ls.next]
	for _, l := range ls.all {
		if l.count < least.count {
			least = l
		}
	}
	if home >= 0 && home < len(ls.all) && ls.all[home].count <= least.count+least.count/8+1 {
		least = ls.all[home]
	}
	least.count++
	return least
}

// running returns the loops.
func (ls *loops) running() []*loop {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.all
}

// released counts a wire that has ended.
func (ls *loops) released(l *loop) {
	ls.mu.Lock()
	l.count--
	ls.mu.Unlock()
}

func (ls *loops) open(g *Group) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.start(g)
}

// start begins the loops if they do not run; ls.mu is held.
func (ls *loops) start(g *Group) error {
	if ls.all != nil {
		return nil
	}
	var all []*loop
	for n := range g.Loops {
		l, err := newLoop(g)
		if err != nil {
			for _, l := range all {
				l.stop()
			}
			return err
		}
		l.number = n
		all = append(all, l)
		go l.run()
	}
	ls.all = all
	return nil
}

// stop ends the loops of a group that has no pump left; they begin anew with its next.
func (ls *loops) stop(g *Group) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if g.active.Load() != 0 {
		return
	}
	for _, l := range ls.all {
		l.stop()
	}
	ls.all = nil
}

// each calls f for every loop.
func (ls *loops) each(f func(*loop)) {
	for _, l := range ls.running() {
		f(l)
	}
}

// settle has the hops of all wires told of their bytes.
func (ls *loops) settle() {
	ls.each(func(l *loop) {
		l.mu.Lock()
		wires := append([]*wire(nil), l.wires...)
		l.mu.Unlock()
		for _, w := range wires {
			if w != nil {
				w.Settle()
			}
		}
	})
}

// close ends all wires for a local reason of every hop.
func (ls *loops) close(reason string) {
	v := &verdict{Ending: filter.Ending{Cause: filter.LocalClose, Reason: reason}}
	ls.each(func(l *loop) { l.post(message{v: v}) })
}

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
	l.mu.Unlock()
	l.ring()
	<-l.done
}

// post leaves a message. It may be called from any goroutine, also the loop's own.
func (l *loop) post(m message) {
	l.mu.Lock()
	if !l.stopped {
		l.inbox = append(l.inbox, m)
	}
	l.mu.Unlock()
	if l.asleep.CompareAndSwap(true, false) {
		l.ring()
	}
}

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
		turns := l.queue.len
		if w := l.queue.take(); w != nil {
			w.turn()
		}
		if !l.readMail() {
			l.end()
			return
		}
		l.wheel.advance(l.now, (*wire).expire)
		if l.busy > 1 || turns > 0 {
			l.yield()
		}
		l.busy = l.wait()
		l.batch = l.events[:l.busy]
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
			l.closePipes()
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

// yield lets other goroutines run. Only when the scheduler finds none does it look
// which of them have become ready by their sockets; so that this happens although a
// loop is always ready, it now and then waits for nothing.
func (l *loop) yield() {
	if l.now-l.fresh < maxGreed {
		runtime.Gosched()
		return
	}
	l.breath.take()
	l.fresh = l.group.now()
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

// A queue is the wires that have more to do than one turn allows.
type queue struct {
	first, last *wire
	len         int
}

func (q *queue) put(w *wire) {
	if w.queued {
		return
	}
	w.queued = true
	if q.last == nil {
		q.first = w
	} else {
		q.last.following = w
	}
	q.last = w
	q.len++
}

func (q *queue) take() *wire {
	w := q.first
	if w == nil {
		return nil
	}
	if q.first = w.following; q.first == nil {
		q.last = nil
	}
	w.following, w.queued = nil, false
	q.len--
	return w
}
