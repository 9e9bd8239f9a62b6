// Package nameset is names that come from clients, of which only so many are taken:
// statistics are named by them, and stay.
package nameset

import (
	"sync"
	"sync/atomic"
)

// A Set holds at most Most names. It is safe for concurrent use.
type Set struct {
	Most int64 // fixed before the first use

	names sync.Map // string -> struct{}
	count atomic.Int64
}

// Admit reports whether a name is in the set, and takes it in if there is room.
func (s *Set) Admit(name string) bool {
	if _, ok := s.names.Load(name); ok {
		return true
	}
	if s.count.Add(1) > s.Most {
		s.count.Add(-1)
		return false
	}
	if _, ok := s.names.LoadOrStore(name, struct{}{}); ok {
		s.count.Add(-1) // somebody else was faster
	}
	return true
}
