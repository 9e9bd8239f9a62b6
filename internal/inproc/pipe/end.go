package pipe

import (
	"net"
	"time"
)

// finish is the writer's half close.
func (h *half) finish() error {
	h.mu.Lock()
	if h.writer.closed {
		h.mu.Unlock()
		return net.ErrClosed
	}
	h.fin = true
	slept := h.rouse()
	h.mu.Unlock()
	h.tell(slept)
	return nil
}

// closeReader ends the half from the reading side, with mu held, and returns
// what nobody will read.
func (h *half) closeReader(reset bool) (unread list) {
	unread, h.queue, h.bytes = h.queue, list{}, 0
	h.reset = h.reset || reset
	h.reader.close()
	return unread
}

// closeWriter ends the half from the writing side, with mu held.
func (h *half) closeWriter(reset bool) {
	h.fin = true
	h.reset = h.reset || reset
	h.writer.close()
}

func (p *party) close() {
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

func (h *half) buffered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes
}

func (h *half) setDeadline(p *party, t time.Time) error {
	h.mu.Lock()
	if p.closed {
		h.mu.Unlock()
		return net.ErrClosed
	}
	slept := h.setTimer(p, t)
	passed := p.expired
	h.mu.Unlock()
	if passed {
		h.tell(slept)
	}
	return nil
}

// setTimer replaces the deadline of p, with mu held. If it has passed, who slept for
// it must be told.
func (h *half) setTimer(p *party, t time.Time) (slept Sleeper) {
	if p.armed && !p.timer.Stop() {
		p.timer = nil // its call is on the way, and will find itself replaced
	}
	p.armed, p.expired = false, false
	if t.IsZero() {
		return nil
	}
	d := time.Until(t)
	switch {
	case d <= 0:
		return h.expire(p)
	case p.timer != nil:
		p.armed = true
		p.timer.Reset(d)
	default:
		p.armed = true
		p.timer = h.newTimer(p, d)
	}
	return nil
}

// expire is what a deadline of p does that has passed, with mu held.
func (h *half) expire(p *party) (slept Sleeper) {
	p.armed, p.expired = false, true
	if p == &h.reader {
		return h.rouse()
	}
	return nil
}

// newTimer returns a timer that expires p unless it was replaced; mu is held, so
// its call cannot run before the caller has stored it.
func (h *half) newTimer(p *party, d time.Duration) *time.Timer {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		h.mu.Lock()
		var slept Sleeper
		mine := p.timer == t
		if mine {
			slept = h.expire(p)
		}
		h.mu.Unlock()
		if mine {
			h.tell(slept)
		}
	})
	return t
}
