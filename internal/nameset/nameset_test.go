package nameset

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

func TestAdmit(t *testing.T) {
	s := &Set{Most: 2}
	for _, c := range []struct {
		name string
		want bool
	}{{"a", true}, {"a", true}, {"b", true}, {"c", false}, {"a", true}, {"b", true}, {"d", false}} {
		if got := s.Admit(c.name); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestTogether: however many ask at once, no more are taken than may be.
func TestTogether(t *testing.T) {
	s := &Set{Most: 10}
	var admitted atomic.Int64
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if s.Admit(strconv.Itoa(i)) {
				admitted.Add(1)
			}
		})
	}
	all.Wait()
	if n := admitted.Load(); n > 10 || n == 0 {
		t.Errorf("%d admitted", n)
	}
}
