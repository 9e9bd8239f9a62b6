package pipe

import (
	"net"
	"time"
)

// finish is the writer's half close.
func (h *half) finish() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.writer.closed {
		return net.ErrClosed
	}
	h.fin = true
	h.cond.Broadcast()
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
	defer h.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
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
		p.expired = true
		h.cond.Broadcast()
	case p.timer != nil:
		p.armed = true
		p.timer.Reset(d)
	default:
		p.armed = true
		p.timer = h.newTimer(p, d)
	}
	return nil
}

// newTimer returns a timer that expires p unless it was replaced; mu is held, so
// its call cannot run before the caller has stored it.
func (h *half) newTimer(p *party, d time.Duration) *time.Timer {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if p.timer == t {
			p.armed, p.expired = false, true
			h.cond.Broadcast()
		}
	})
	return t
}
