package pump

import (
	"time"

	"github.com/ginnel/ginnel/filter"
)

// close ends both streams as the verdict says.
func (p *pair) close() {
	switch p.verdict.Cause {
	case filter.DownstreamClosed:
		p.down.stream.Close()
		p.deliver(&p.up)
		p.up.stream.Close()
	case filter.UpstreamClosed:
		p.up.stream.Close()
		p.deliver(&p.down)
		p.down.stream.Close()
	case filter.DownstreamReset:
		p.down.stream.Close()
		p.drain(&p.up)
		p.up.stream.Reset()
	case filter.UpstreamReset:
		p.up.stream.Close()
		p.drain(&p.down)
		p.down.stream.Reset()
	default:
		p.down.stream.Close()
		p.up.stream.Close()
	}
}

// deliver makes an orderly end of e possible: a socket that is closed while its peer
// goes on sending is reset, and what was not acknowledged is lost.
func (p *pair) deliver(e *end) {
	if e.sock == nil || e.sock.Unix() {
		return
	}
	if e.eof { // its peer can send no more
		return
	}
	_ = e.sock.CloseWrite()
	p.await(e, func() bool {
		const fin = 1
		n, err := e.sock.Unsent()
		return !e.sock.Discard() || err != nil || n <= fin || e.sock.Poll().Dead
	})
}

// drain waits until the bytes before a reset have left.
func (p *pair) drain(e *end) {
	if e.sock == nil || e.sock.Unix() {
		return
	}
	finished := e.eof && e.shut // then Dead says nothing of what is still on its way
	p.await(e, func() bool {
		n, err := e.sock.Unsent()
		ev := e.sock.Poll()
		if err != nil || n == 0 || ev.Failed || ev.Dead && !finished {
			return true
		}
		e.sock.Discard() // where its window is full the kernel drops acknowledgements, too
		return false
	})
}

// How often await looks.
const (
	minWait = time.Millisecond
	maxWait = 32 * time.Millisecond
)

// await looks again and again until done, as long as the bytes that e has not sent
// get fewer and nothing local cuts it short. The kernel has no event for that.
func (p *pair) await(e *end, done func() bool) {
	if done() {
		return
	}
	if e == &p.up {
		p.beginFlush()
	}
	cut := make(chan struct{})
	p.setCut(cut)
	defer p.setCut(nil)
	wait := time.NewTimer(minWait)
	defer wait.Stop()
	left, _ := e.sock.Unsent()
	for idle, pause := time.Duration(0), minWait; idle < p.group.flushTimeout(); idle += pause {
		select {
		case <-cut:
			return
		case <-wait.C:
		}
		if done() {
			return
		}
		if n, _ := e.sock.Unsent(); n < left {
			left, idle = n, 0
		}
		pause = min(2*pause, maxWait)
		wait.Reset(pause)
	}
}

func (p *pair) setCut(c chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = c
}
