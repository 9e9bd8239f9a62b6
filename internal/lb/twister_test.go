package lb

import "testing"

// The C++ standard gives the 10,000th number of std::mt19937.
func TestTwister(t *testing.T) {
	r := newTwister(5489)
	for range 9999 {
		r.next()
	}
	if got := r.next(); got != 4123659995 {
		t.Error(got)
	}
}
