package netconn

import (
	"sync"

	"github.com/ginnel/ginnel/filter"
)

// Hangups tells when peers end their direction of a stream, and when they reset it, while
// nobody reads: as the server of a request must know who waits for the answer. It is one
// epoll for all streams, in which each is registered once and which data does not wake.
// The zero value is ready; Close ends it.
type Hangups struct {
	mu      sync.Mutex
	poll    *hangupPoll // nil until first used
	closed  bool
	watches map[uint64]watch // by an id that is never used again
	last    uint64
}

type watch struct {
	f    func()
	told bool // that the peer's direction is over
}

// Watch implements filter.Hangups.
func (h *Hangups) Watch(s filter.Stream, f func()) (stop func()) {
	switch s := s.(type) {
	case *Socket:
		return h.watch(s, f)
	case interface {
		OnHangup(f func()) (stop func())
	}:
		return s.OnHangup(f)
	case filter.Layer:
		return h.Watch(s.Below(), f)
	}
	return func() {}
}

func (h *Hangups) watch(s *Socket, f func()) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || !h.start() {
		return func() {}
	}
	h.last++
	id := h.last
	h.watches[id] = watch{f: f} // before an event can come
	if err := s.control(func(fd int) error { return h.poll.add(fd, id) }); err != nil {
		delete(h.watches, id)
	}
	return func() { h.stop(s, id) }
}

// start makes the poll, if there is none yet; false: this system has none.
func (h *Hangups) start() bool {
	if h.poll == nil {
		p, err := newHangupPoll()
		if err != nil {
			return false
		}
		h.poll, h.watches = p, make(map[uint64]watch)
		go p.run(h.happened)
	}
	return true
}

func (h *Hangups) stop(s *Socket, id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.watches[id]; ok {
		delete(h.watches, id)
		_ = s.control(h.poll.remove) // a closed socket has left by itself
	}
}

// happened is told of the end of a peer's direction, or of both: nothing follows that.
func (h *Hangups) happened(id uint64, both bool) {
	h.mu.Lock()
	w, ok := h.watches[id]
	switch {
	case both:
		delete(h.watches, id)
	case ok:
		h.watches[id] = watch{w.f, true}
	}
	h.mu.Unlock()
	if ok && (both || !w.told) {
		w.f()
	}
}

// Close ends all watches and waits for functions that run.
func (h *Hangups) Close() {
	h.mu.Lock()
	p := h.poll
	h.poll, h.closed = nil, true
	clear(h.watches)
	h.mu.Unlock()
	if p != nil {
		p.close()
	}
}
