package upstream

import (
	"sync"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// slots are the connections that one host may have (per_host_thresholds). Who finds
// none free waits in line.
type slots struct {
	limit uint32 // 0: none; fixed

	mu      sync.Mutex
	used    uint32
	waiting []chan struct{}
}

// take takes a slot if one is free.
func (s *slots) take() bool {
	if s.limit == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used >= s.limit {
		return false
	}
	s.used++
	return true
}

// force takes a slot, be one free or not.
func (s *slots) force() {
	if s.limit == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used++
}

// await waits for a slot until the deadline (zero: none) or cancel.
func (s *slots) await(cancel <-chan struct{}, deadline time.Time) error {
	turn := make(chan struct{})
	s.mu.Lock()
	if s.used < s.limit { // freed since
		s.used++
		s.mu.Unlock()
		return nil
	}
	s.waiting = append(s.waiting, turn)
	s.mu.Unlock()

	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-turn:
		return nil
	case <-cancel:
		s.leave(turn)
		return filter.ErrCanceled
	case <-late:
		s.leave(turn)
		return filter.ErrConnectTimeout
	}
}

// leave takes a waiter out of the line, or passes on the slot that it got meanwhile.
func (s *slots) leave(turn chan struct{}) {
	s.mu.Lock()
	for i, w := range s.waiting {
		if w == turn {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()
	s.release()
}

// release gives a slot back, or to the first in line.
func (s *slots) release() {
	if s.limit == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 && s.used <= s.limit {
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
		return
	}
	s.used--
}
