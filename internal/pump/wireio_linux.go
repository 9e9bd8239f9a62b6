package pump

import (
	"errors"
	"syscall"

	"github.com/ginnel/ginnel/filter"
	"golang.org/x/sys/unix"
)

const (
	// turnBytes bounds what a wire moves in one direction before others have their
	// turn. It is as much as a pipe takes: fewer and larger steps cost the kernel less,
	// and the peers, who are woken as often. Splicing so much takes 0.2 ms.
	turnBytes = 1 << 20
	// stepBytes is what a step counts for at least: where only few bytes may be held, a
	// turn would else be a million of them.
	stepBytes = 4 << 10
	// From so many reads on, without bytes the other way, of so many bytes at least,
	// it is a stream and moves through a pipe. Messages to and fro would only pay for
	// the further system call.
	streamRun   = 8
	streamBytes = 4 << 10
)

// errWould is for a read or write that has to wait.
var errWould = errors.New("would block")

// move passes on what s sends, until there is nothing, or no room, or the turn is
// over; then it reports true.
func (w *wire) move(d filter.Direction) (more bool) {
	s := &w.sides[d]
	for left := turnBytes; left > 0; {
		n, err := w.advance(d)
		switch {
		case err == errWould:
			return false
		case err != nil:
			w.sourceEnded(d, err)
			return false
		case w.phase != moving || s.has(sinking|deaf):
			return false
		}
		left -= max(n, stepBytes)
	}
	return true
}

// advance moves some bytes one step. Errors are about reading.
func (w *wire) advance(d filter.Direction) (int, error) {
	s := &w.sides[d]
	switch {
	case s.cargo != nil && s.cargo.n > 0:
		return w.unload(d)
	case !s.has(readable):
		return 0, errWould
	case s.has(streaming) && w.hasPipe(s):
		return w.load(d)
	}
	return w.copy(d)
}

// copy reads into the loop's buffer and writes on.
func (w *wire) copy(d filter.Direction) (int, error) {
	s := &w.sides[d]
	buf := w.loop.buf[:min(bufBytes, int(w.limits.maxBytes))]
	n, errno := recv(s.fd, buf)
	if n <= 0 || errno != 0 {
		return 0, w.readEnd(s, errno)
	}
	if n < len(buf) && !s.has(eager) {
		s.is &^= readable // there was no more; saves the read that would say so
	}
	w.count(d, n)
	if !w.awake(d, n) {
		return n, nil
	}
	w.write(d, buf[:n])
	return n, nil
}

// count finds out whether reads make a stream.
func (w *wire) count(d filter.Direction, n int) {
	s, o := &w.sides[d], &w.sides[1-d]
	o.run = 0
	switch {
	case n < streamBytes:
		s.run = 0
	case s.run < streamRun:
		s.run++
	default:
		s.is |= streaming
	}
}

// readEnd says what a read without bytes means.
func (w *wire) readEnd(s *side, errno syscall.Errno) error {
	switch errno {
	case 0:
		return w.endOfSocket(s)
	case unix.EAGAIN:
		s.is &^= readable
		return errWould
	case unix.EINTR:
		return nil
	}
	return ended(errno)
}

// write passes on bytes of the loop's buffer; what is not taken becomes cargo.
func (w *wire) write(d filter.Direction, b []byte) {
	s, o := &w.sides[d], &w.sides[1-d]
	for len(b) > 0 {
		n, errno := 0, unix.EAGAIN
		if o.has(writable) {
			n, errno = send(o.fd, b)
		}
		switch errno {
		case 0:
			w.passed(d, n)
			b = b[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			s.cargo = w.loop.hold(b)
			w.pause(d)
			return
		default:
			w.destinationEnded(d, ended(errno))
			return
		}
	}
}

func (w *wire) passed(d filter.Direction, n int) {
	w.untold[d].Add(uint64(n))
	w.sides[d].is &^= doomed
	if w.limits.idleHop != 0 {
		w.touch(w.loop.now)
	}
}

// hasPipe makes sure that s has an empty pipe at hand. Where there is none it stops
// being a stream for the next few reads.
func (w *wire) hasPipe(s *side) bool {
	if s.cargo == nil {
		s.cargo = w.loop.takePipe()
	}
	if s.cargo == nil {
		s.is &^= streaming
		s.run = 0
	}
	return s.cargo != nil
}

// load moves what has arrived into the pipe at hand, which is given back when there
// is no more.
func (w *wire) load(d filter.Direction) (int, error) {
	s := &w.sides[d]
	n, errno := splice(s.fd, s.cargo.w, min(s.cargo.size, int(w.limits.maxBytes)))
	if n > 0 && errno == 0 {
		s.cargo.n = n
		if n < streamBytes {
			s.is &^= streaming
			s.run = 0
		}
		return 0, nil
	}
	w.loop.release(s.cargo)
	s.cargo = nil
	if errno == unix.EINVAL { // not a socket that can do so
		s.is &^= streaming
		s.run = 0
		return 0, nil
	}
	// A splice does not get past an urgent byte, and takes it for the end if the FIN has
	// come; a read does, and knows.
	if errno == 0 || errno == unix.EAGAIN && s.has(eager) {
		return w.copy(d)
	}
	return 0, w.readEnd(s, errno)
}

// unload writes on what is held.
func (w *wire) unload(d filter.Direction) (n int, err error) {
	s, o, c := &w.sides[d], &w.sides[1-d], w.sides[d].cargo
	errno := unix.EAGAIN
	switch {
	case !o.has(writable):
	case c.buf != nil:
		n, errno = send(o.fd, c.b)
	default:
		n, errno = splice(c.r, o.fd, c.n)
	}
	switch errno {
	case 0:
	case unix.EINTR:
		return 0, nil
	case unix.EAGAIN:
		w.pause(d)
		return 0, errWould
	default:
		if c.buf == nil && errno == unix.EPIPE && o.fate == alive && !o.sock.Unix() {
			o.fate = o.unsaid()
		}
		w.destinationEnded(d, ended(errno))
		return 0, errWould
	}
	w.passed(d, n)
	if c.n -= n; c.n > 0 {
		if c.buf != nil {
			c.b = c.b[n:]
		}
		return n, nil
	}
	if c.buf != nil || !s.has(streaming) {
		w.loop.release(c)
		s.cargo = nil
	}
	w.resume(d)
	return n, nil
}

// pause notes that the other side is full.
func (w *wire) pause(d filter.Direction) {
	s, o := &w.sides[d], &w.sides[1-d]
	o.is &^= writable
	if !o.has(roomy) {
		o.is |= roomy
		// It cannot fail: the kernel changes what it has. It reports room at once if
		// there is some by now.
		_ = w.loop.watch(w, 1-d, unix.EPOLL_CTL_MOD, always|unix.EPOLLOUT)
	}
	if !s.has(paused) {
		s.is |= paused
		if w.flow(d, max(1, w.loop.now)) {
			w.arm()
		}
		w.lookForFlush(d)
	}
	if s.alarm == 0 { // one that is due is look's: the other direction may bring us here all the time
		w.setAlarm(s)
	}
}

func (w *wire) resume(d filter.Direction) {
	if s := &w.sides[d]; s.has(paused) {
		s.is &^= paused
		w.flow(d, 0)
	}
}

// awake runs the hook that waits for the first downstream bytes, of which n have come; it
// reports false if that has ended the wire.
func (w *wire) awake(d filter.Direction, n int) bool {
	if d == filter.FromUpstream || w.first == nil {
		return true
	}
	first := w.first
	w.first = nil
	if err := first(); err != nil {
		w.kept(n)
		w.end(verdict{Ending: filter.Ending{Cause: filter.LocalClose, Reason: err.Error()}, at: w.hop})
		return false
	}
	return true
}

// sink throws away what s sends, so that its peer does not block on us while it has
// still to take what the other direction brings.
func (w *wire) sink(d filter.Direction) (more bool) {
	s := &w.sides[d]
	for left := turnBytes; left > 0; {
		if !s.has(readable) {
			return false
		}
		n, errno := recv(s.fd, w.loop.buf)
		if n > 0 && errno == 0 {
			left -= n
			continue
		}
		switch err := w.readEnd(s, errno); err {
		case errWould:
			return false
		case nil:
		default:
			w.sunk(d, err)
			return false
		}
	}
	return true
}
