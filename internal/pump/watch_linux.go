package pump

import (
	"os"

	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// A watch is a listening socket in the eyes of one loop.
type watch struct {
	netconn.Batch
	ready func(*netconn.Turn) (more bool)
}

// A turn is the loop's time that a new connection takes. It is used again unless it
// was left.
type turn struct {
	netconn.Turn
	loop  *loop
	watch *watch
	taken int // connections of this event before the present one
	left  bool
}

func newTurn(l *loop) *turn {
	t := &turn{loop: l}
	t.Home, t.Leave = l.number, t.leave
	return t
}

// leave lets the loop go on in another goroutine.
func (t *turn) leave() {
	if !t.left {
		t.left = true
		t.watch.Ended(t.taken + 1)
		t.loop.turn = nil
		go t.loop.run()
	}
}

var _ netconn.Watcher = (*Group)(nil)

// Watch implements netconn.Watcher: all loops watch fd, and one of them, which has
// time, takes a connection.
func (g *Group) Watch(fd int, b netconn.Batch, ready func(*netconn.Turn) bool) (stop func(), err error) {
	if g.Loops <= 0 {
		return nil, netconn.ErrNoLoops
	}
	g.begin()
	ls := &g.loops
	ls.mu.Lock() // so that Wait ends all of these loops or none
	defer ls.mu.Unlock()
	if err := ls.start(g); err != nil {
		return nil, err
	}
	var slots []int32
	all := ls.all
	stop = func() {
		for i, slot := range slots {
			all[i].unwatch(fd, slot)
		}
	}
	for _, l := range all {
		slot, err := l.watchListener(fd, &watch{b, ready})
		if err != nil {
			stop()
			return nil, err
		}
		slots = append(slots, slot)
	}
	return stop, nil
}

func (l *loop) watchListener(fd int, w *watch) (slot int32, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slot = 0; int(slot) < len(l.watches) && l.watches[slot] != nil; slot++ {
	}
	// Level-triggered, for an event does not empty the queue; and exclusive, for one loop
	// is to wake up for it.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: firstWatch - slot}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return 0, os.NewSyscallError("epoll_ctl", err)
	}
	if int(slot) == len(l.watches) {
		l.watches = append(l.watches, nil)
	}
	l.watches[slot] = w
	return slot, nil
}

func (l *loop) unwatch(fd int, slot int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped { // else the epoll goes, or has gone
		_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
	l.watches[slot] = nil
}

// acceptShare is how many events a loop handles for each connection that it takes: a
// busy one takes several in a row, or those that wait would never come to an end, and
// one with time looks again.
const acceptShare = 16

// accept lets a watch take connections. It reports false if one has left its turn, and
// so goes on in this goroutine without the loop.
func (l *loop) accept(slot int32) bool {
	l.mu.Lock()
	w := l.watches[slot]
	l.mu.Unlock()
	if w == nil { // it was stopped in this round
		return true
	}
	taken, most := 0, l.round/acceptShare+1
	if w.Most > 0 {
		most = min(most, w.Most)
	}
	for ; taken < most; taken++ {
		t := l.turnOf(w, taken)
		more := w.ready(&t.Turn)
		if t.left { // what follows is another goroutine's
			return false
		}
		l.now = l.group.now()
		if !more {
			break
		}
	}
	w.Ended(taken)
	return true
}

// turnOf returns the turn of the next connection of an event.
func (l *loop) turnOf(w *watch, taken int) *turn {
	if l.turn == nil {
		l.turn = newTurn(l)
	}
	l.turn.watch, l.turn.taken = w, taken
	return l.turn
}
