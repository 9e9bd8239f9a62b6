package pump

import (
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
)

// close ends both streams as the verdict says.
func (p *pair) close() {
	switch p.verdict.Cause {
	case filter.DownstreamClosed:
		p.down.stream.Close()
		p.deliver(&p.up)
		filter.CloseFor(p.up.stream, p.verdict.reason())
	case filter.UpstreamClosed:
		p.up.stream.Close()
		p.deliver(&p.down)
		filter.CloseFor(p.down.stream, p.verdict.reason())
	case filter.DownstreamReset:
		p.down.stream.Close()
		p.drain(&p.up)
		p.up.stream.Reset()
	case filter.UpstreamReset:
		p.up.stream.Close()
		p.drain(&p.down)
		p.down.stream.Reset()
	default:
		filter.CloseFor(p.down.stream, p.verdict.reason())
		filter.CloseFor(p.up.stream, p.verdict.reason())
	}
}

// deliver makes an orderly end of e possible: a socket that is closed while its peer
// goes on sending is reset, and what was not acknowledged is lost.
func (p *pair) deliver(e *end) {
	s := e.socket()
	if s == nil || s.Unix() {
		return
	}
	if e.eof && e.below == nil { // its peer can send no more
		return
	}
	if x, ok := e.stream.(interface{ Finish() }); ok { // its last word goes before the FIN
		x.Finish()
	}
	_ = s.CloseWrite()
	p.await(e, func() bool { return delivered(s) })
}

// drain waits until the bytes before a reset have left.
func (p *pair) drain(e *end) {
	s := e.socket()
	if s == nil || s.Unix() {
		return
	}
	p.await(e, func() bool { return drained(s, e.eof && e.shut) })
}

// await looks again and again until done, as long as the bytes that e has not sent
// get fewer and nothing local cuts it short.
func (p *pair) await(e *end, done func() bool) {
	if done() {
		return
	}
	if e == &p.up {
		p.beginFlush()
	}
	cut := p.awaitCut()
	l := newLinger(e.socket())
	wait := time.NewTimer(l.pause)
	defer wait.Stop()
	for {
		select {
		case <-cut:
			return
		case <-wait.C:
		}
		if done() || l.stuck(e.socket(), p.group.flushTimeout()) {
			return
		}
		wait.Reset(l.pause)
	}
}

// awaitCut returns a channel that is closed when a local verdict has come behind the
// first one.
func (p *pair) awaitCut() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = make(chan struct{})
	if p.hurried {
		close(p.cut)
	}
	return p.cut
}

// delivered reports whether all that was written to s, and its FIN, has left, or never
// will.
func delivered(s *netconn.Socket) bool {
	const fin = 1
	n, err := s.Unsent()
	return !s.Discard() || err != nil || n <= fin || s.Poll().Dead
}

// drained is delivered for a socket that will be reset. Where both directions have
// finished Dead says nothing of what is still on its way.
func drained(s *netconn.Socket, finished bool) bool {
	n, err := s.Unsent()
	e := s.Poll()
	if err != nil || n == 0 || e.Failed || e.Dead && !finished {
		return true
	}
	s.Discard() // where its window is full the kernel drops acknowledgements, too
	return false
}

// A linger is the wait for bytes to leave a socket, look by look: the kernel has no
// event for that.
type linger struct {
	unsent int           // when looked at last
	pause  time.Duration // until the next look
	idle   time.Duration // without progress so far
}

// How often a linger looks.
const (
	minWait = time.Millisecond
	maxWait = 32 * time.Millisecond
)

func newLinger(s *netconn.Socket) linger {
	n, _ := s.Unsent()
	return linger{unsent: n, pause: minWait}
}

// stuck takes a look after a pause: it reports whether s has made no progress for so
// long.
func (l *linger) stuck(s *netconn.Socket, timeout time.Duration) bool {
	l.idle += l.pause
	if n, _ := s.Unsent(); n < l.unsent {
		l.unsent, l.idle = n, 0
	}
	l.pause = min(2*l.pause, maxWait)
	return l.idle >= timeout
}
