package hcm

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A periodic is when a stream writes access log entries while it lasts. They are written
// by the connection's timer while the stream's goroutine waits, for the Info is that
// goroutine's; else by itself, as soon as it looks.
type periodic struct {
	on      bool
	waiting bool         // the stream's goroutine has given up owner
	next    atomic.Int64 // when the next entry is due, on the connection's clock
	due     atomic.Bool  // an entry is due that nobody has written yet
	// owner is held by the stream's goroutine, but while it waits. It is used only if on.
	owner sync.Mutex
}

// beginPeriodic starts the stream's clock, if such entries are wanted.
func (s *stream) beginPeriodic() {
	every := s.conn.service.config.Logs.every
	if s.periodic.on = every > 0 && len(s.conn.service.logs) > 0; !s.periodic.on {
		return
	}
	s.periodic.waiting = false
	s.periodic.next.Store(int64(s.entered + every))
	s.periodic.due.Store(false)
	s.periodic.owner.Lock()
}

// endPeriodic is called after the last entry.
func (s *stream) endPeriodic() {
	if s.periodic.on {
		s.periodic.owner.Unlock()
	}
}

// nextEntry is when the connection's timer has to call for one.
func (s *stream) nextEntry() time.Duration {
	if !s.periodic.on {
		return never
	}
	return time.Duration(s.periodic.next.Load())
}

// passEntry reports whether an entry is due, and moves on to the next one. Only the
// connection's timer calls it.
func (s *stream) passEntry(now time.Duration) bool {
	at := s.nextEntry()
	if at > now {
		return false
	}
	every := s.conn.service.config.Logs.every
	s.periodic.next.Store(int64(at + every*(1+(now-at)/every))) // what was missed is left out
	return true
}

// callEntry has an entry written for a stream that is still in that turn.
func (s *stream) callEntry(turn uint64) {
	s.acting.Lock()
	defer s.acting.Unlock()
	s.mu.Lock()
	over := s.over || s.turn != turn
	s.mu.Unlock()
	if over {
		return
	}
	s.periodic.due.Store(true)
	if s.periodic.owner.TryLock() {
		s.writeEntry()
		s.periodic.owner.Unlock()
	}
}

// writeEntry writes an entry if one is due. The caller holds owner.
func (s *stream) writeEntry() {
	if !s.periodic.due.Swap(false) {
		return
	}
	s.info.Duration = max(s.conn.since()-s.begun, 1)
	s.info.Received = s.body.received.Load()
	s.log(filter.DownstreamPeriodic)
	s.info.Duration = 0
}

// Wait implements filter.HTTPHost.
func (s *stream) Wait() {
	p := &s.periodic
	if !p.on || p.waiting {
		return
	}
	p.waiting = true
	for {
		s.writeEntry()
		p.owner.Unlock()
		// One may have become due since, and found the owner at home.
		if !p.due.Load() || !p.owner.TryLock() {
			return
		}
	}
}

// Resume implements filter.HTTPHost.
func (s *stream) Resume() {
	if p := &s.periodic; p.waiting {
		p.owner.Lock()
		p.waiting = false
	}
}
