package netconn

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Watcher is event loops that look after listening sockets.
type Watcher interface {
	// Watch calls ready on one of the loops when connections wait to be accepted from
	// fd, again and again until stop is called; a call may then still be under way.
	// ready takes one connection, reports whether there may be another one, and does not
	// block unless it leaves its turn. b is for each loop by itself. The error is ErrNoLoops
	// or the system's.
	Watch(fd int, b Batch, ready func(*Turn) (more bool)) (stop func(), err error)
}

// A Batch is the connections that are accepted at one event of a listening socket, before
// whoever accepts turns to something else. What is left waits for the next event.
type Batch struct {
	Most int         // 0: as many as suit whoever accepts
	Took func(n int) // told after each event how many there were, if any; it must not block. nil: nobody is
}

// Ended tells of the end of an event that has brought n connections.
func (b *Batch) Ended(n int) {
	if n > 0 && b.Took != nil {
		b.Took(n)
	}
}

// ErrNoLoops is the error of a Watcher that cannot watch.
var ErrNoLoops = errors.New("there are no event loops")

// A Turn is the time that a loop gives to a new connection: as long as nothing blocks
// it is set up in the loop's goroutine. On the loopback interface, where nothing does,
// that saves a quarter of a connection's CPU (107 -> 76 us): no other thread is woken.
type Turn struct {
	// Leave parts the calling goroutine from its loop, which goes on in another one.
	// Further calls do nothing.
	Leave func()
	// Home is the loop's number.
	Home int
}

// AcceptBy has the loops of w accept until Close: handle is called in the goroutine of
// one of them, and may still run when Close has returned. Nobody waits meanwhile:
// AcceptBy returns when they have begun. trouble is called at most once, by a loop, when
// accepting fails; who wants to go on then calls ServeBy, elsewhere.
func (l *Listener) AcceptBy(w Watcher, handle func(*Socket, *Turn), trouble func(error)) error {
	// Until the watch is stopped loops meet the same error again and again.
	var told atomic.Bool
	return l.watch(w, func(t *Turn) bool {
		s, err := l.acceptNow()
		switch {
		case err == nil:
			s.home = uint16(t.Home) + 1
			handle(s, t)
			return true
		case err == unix.EAGAIN: // another loop was faster
		case err != net.ErrClosed && told.CompareAndSwap(false, true):
			trouble(err)
		}
		return false
	})
}

// ServeBy accepts like Serve, but by the loops of w, as AcceptBy.
func (l *Listener) ServeBy(w Watcher, handle func(*Socket, *Turn), failed func(error)) error {
	l.unwatch() // of AcceptBy
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		began := time.Now()
		err := l.serveBy(w, handle)
		if time.Since(began) > 2*pause {
			pause = minPause
		}
		switch {
		case err == nil || errors.Is(err, net.ErrClosed):
			return nil
		case !exhausted(err):
			return err
		case failed != nil:
			failed(err)
		}
		if !l.sleep(pause) {
			return nil
		}
	}
}

// serveBy accepts until Close, and then returns nil, or until the first error.
func (l *Listener) serveBy(w Watcher, handle func(*Socket, *Turn)) error {
	trouble := make(chan error, 1)
	if err := l.AcceptBy(w, handle, func(err error) { trouble <- err }); err != nil {
		return err
	}
	select {
	case <-l.done:
		return nil
	case err := <-trouble:
		l.unwatch()
		return l.acceptError(err)
	}
}

func (l *Listener) watch(w Watcher, ready func(*Turn) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil
	case !l.listening:
		return errNotListening
	}
	stop, err := w.Watch(l.fd, l.batch, ready)
	if err == nil {
		l.stopWatch = stop
	}
	return err
}

func (l *Listener) unwatch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endWatch()
}

// endWatch comes before the descriptor is closed: its number may be another socket's
// right after. l.mu is held.
func (l *Listener) endWatch() {
	if l.stopWatch != nil {
		l.stopWatch()
		l.stopWatch = nil
	}
}

// acceptNow does not wait; the error is the system's.
func (l *Listener) acceptNow() (*Socket, error) {
	l.inUse.RLock()
	defer l.inUse.RUnlock()
	if l.gone {
		return nil, net.ErrClosed
	}
	fd, from, err := acceptNext(l.fd)
	if err != nil {
		return nil, err
	}
	return l.accepted(fd, from), nil
}

// Home returns the number of the loop that accepted the socket, if one did, or that it was
// assigned to.
func (s *Socket) Home() (loop int, ok bool) {
	n := s.home &^ assigned
	return int(n) - 1, n > 0
}

// assigned is a bit of Socket.home.
const assigned = 1 << 15

// Assign makes a loop the socket's home whatever else there is to do for it. It is for who
// owns the socket and has not passed it on yet.
func (s *Socket) Assign(loop int) { s.home = uint16(loop+1) | assigned }

// Assigned reports whether its home was assigned to the socket.
func (s *Socket) Assigned() bool { return s.home&assigned != 0 }
