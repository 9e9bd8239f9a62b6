package dnscache

import (
	"context"
	"runtime"
	"testing"

	"github.com/ginnel/ginnel/internal/dns"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/stats/teststats"
)

func (s *Caches) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// A cache is the same for all who have one of its plan, and forgotten with the last of them.
func TestCachesForget(t *testing.T) {
	s := New(teststats.New(), func(plan.NameServers) Lookup {
		return func(context.Context, string, plan.NameFamily) (dns.Answer, error) { return dns.Answer{}, nil }
	})
	defer s.Close()
	a, b := &plan.DNSCache{Name: "a", Hash: 1}, &plan.DNSCache{Name: "a", Hash: 2}
	kept := s.Get(a)
	if s.Get(a) != kept || s.Get(b) == kept {
		t.Error("caches are not told apart by their plans")
	}
	for s.count() > 1 { // b's: what cleans up runs beside the collector
		runtime.GC()
	}
	if s.Get(a) != kept {
		t.Error("one that is used was forgotten")
	}
	runtime.KeepAlive(kept)
}
