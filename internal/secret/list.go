package secret

import (
	"slices"
	"sync"

	"github.com/ginnel/ginnel/filter"
)

var _ filter.CertificateList = (*Store)(nil)

// A list is who has certificates in use.
type list struct {
	mu  sync.Mutex
	all []*shower
}

type shower struct {
	in func() filter.CertificatesInUse
}

// Show implements filter.CertificateList.
func (s *Store) Show(in func() filter.CertificatesInUse) (end func()) {
	x := &shower{in}
	s.list.mu.Lock()
	defer s.list.mu.Unlock()
	s.list.all = append(s.list.all, x)
	return func() {
		s.list.mu.Lock()
		defer s.list.mu.Unlock()
		s.list.all = slices.DeleteFunc(s.list.all, func(y *shower) bool { return y == x })
	}
}

// Certificates returns those in use, of one socket after the other, the oldest first.
func (s *Store) Certificates() []filter.CertificatesInUse {
	s.list.mu.Lock()
	all := slices.Clone(s.list.all)
	s.list.mu.Unlock()
	out := make([]filter.CertificatesInUse, len(all))
	for i, x := range all {
		out[i] = x.in()
	}
	return out
}
