package listener

import "testing"

// A new connection is for the worker that has fewest, the first of several.
func TestBalance(t *testing.T) {
	b := newBalance(3)
	join := func(want uint16) {
		t.Helper()
		if got := b.join(); got != want {
			t.Errorf("joined %d, want %d, of %v", got, want, b)
		}
	}
	for _, want := range []uint16{0, 1, 2, 0, 1, 2} {
		join(want)
	}
	b.leave(1)
	b.leave(1)
	b.leave(2)
	for _, want := range []uint16{1, 1, 2, 0} {
		join(want)
	}
	if newBalance(0).join() != 0 {
		t.Error("a proxy without workers has one")
	}
}
