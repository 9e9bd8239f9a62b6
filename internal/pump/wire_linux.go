package pump

import (
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// A wire is a pump between two sockets without a goroutine: a loop moves its bytes.
// Its ends and counts are those of a pair, but that nothing happens in both
// directions at once.
type wire struct {
	link
	loop      *loop
	sides     [2]side // by filter.Direction: who sends
	finale    *finale // nil until the wire ends
	timer     timer
	following *wire // in the loop's queue
	slot      int32
	rung      rung // of timer
	phase     phase
	queued    bool
}

// A side is a socket and the flow of what comes from it.
type side struct {
	sock  *netconn.Socket
	cargo *cargo        // read from this side and not yet written to the other; or a pipe at hand
	alarm time.Duration // when to look again whether there is a point in waiting for the other side; 0: there is one
	fd    int32
	is    sideState
	fate  fate
	run   uint8 // reads in a row that make it a stream
}

type sideState uint16

const (
	readable  sideState = 1 << iota // a read may bring something
	writable                        // a write may take something
	eager                           // a short read need not be the last: the end, an error or urgent bytes have come
	hungUp                          // both directions are over, or an error waits: the system has said so
	finished                        // before that its peer had ended its direction
	roomy                           // room for writing is watched
	streaming                       // bytes move through a pipe
	paused                          // reading waits for the other side to take what was read
	doomed                          // it was reset, and the other side has not moved since the last look
	eof                             // what its peer sent was passed on, and then its FIN
	deaf                            // nobody reads it any more
	shut                            // CloseWrite was called
	lurking                         // it is watched only for its peer to go away as a whole
	sinking                         // what it sends is thrown away
)

func (s *side) has(x sideState) bool { return s.is&x != 0 }

type phase uint8

const (
	fresh phase = iota
	moving
	delivering // one side is closed, the other takes what is left
	over
)

// newWire returns nil if the streams are not sockets that a loop can watch.
func newWire(down, up filter.Stream) *wire {
	d, ok := down.(*netconn.Socket)
	if !ok {
		return nil
	}
	u, ok := up.(*netconn.Socket)
	if !ok {
		return nil
	}
	dfd, err := d.Detach()
	if err != nil {
		return nil
	}
	ufd, err := u.Detach()
	if err != nil {
		return nil
	}
	w := new(wire)
	w.sides[filter.FromDownstream] = newSide(d, dfd)
	w.sides[filter.FromUpstream] = newSide(u, ufd)
	return w
}

func newSide(s *netconn.Socket, fd int) side {
	is := writable
	if s.Unix() { // a read of it stops behind bytes that came with a descriptor
		is |= eager
	}
	return side{sock: s, fd: int32(fd), is: is}
}

// CloseLocal implements filter.Pump. Without a hop it is the reason of all of them.
func (w *wire) CloseLocal(at filter.Outer, reason string) {
	w.loop.post(message{w, &verdict{Ending: filter.Ending{Cause: filter.LocalClose, Reason: reason}, at: at}})
}

// What a loop asks the kernel to tell of a socket; it tells of errors unasked. Room
// for writing comes with it once there was none.
const always = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI

// begin is called by the loop, once.
func (w *wire) begin() {
	if w.phase != fresh { // it was ended before
		w.close(w.finale.verdict)
		return
	}
	w.phase = moving
	w.arm()
	for d := range w.sides {
		if err := w.loop.watch(w, filter.Direction(d), unix.EPOLL_CTL_ADD, always); err != nil {
			w.end(verdict{Ending: filter.Ending{Cause: filter.LocalClose, Reason: "epoll_ctl: " + netconn.Text(err)}})
			return
		}
	}
}

// ready takes an event of a side. It is a hint: what is true a read or write will
// tell.
func (w *wire) ready(d filter.Direction, events uint32) {
	s := &w.sides[d]
	if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.is |= writable | hungUp
	} else if events&unix.EPOLLRDHUP != 0 {
		s.is |= finished
	}
	if events&unix.EPOLLOUT != 0 {
		s.is |= writable
	}
	if events&(always|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.is |= readable
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLPRI|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.is |= eager
	}
	if w.sides[0].has(streaming) || w.sides[1].has(streaming) { // small messages first
		w.loop.queue.put(w)
		return
	}
	w.turn()
}

// turn moves bytes in both directions, not more than a turn's.
func (w *wire) turn() {
	more := false
	for d := range w.sides {
		more = w.step(filter.Direction(d)) || more
	}
	if more && w.phase == moving {
		w.loop.queue.put(w)
	}
}

// step does what is to do in one direction; it reports whether there is more.
func (w *wire) step(d filter.Direction) (more bool) {
	s := &w.sides[d]
	switch {
	case w.phase != moving:
		return false
	case s.has(lurking):
		w.lurk(d)
		return false
	case s.has(sinking):
		return w.sink(d)
	case s.has(deaf):
		return false
	}
	return w.move(d)
}
