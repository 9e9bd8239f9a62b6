package hcm

import (
	"testing"
	"time"
)

// TestPremature: half of so many streams, however the other half fares, as in Envoy.
func TestPremature(t *testing.T) {
	for _, c := range []struct {
		name     string
		lived    time.Duration
		answered bool
		before   int // streams that were answered
		want     int // streams until the connection is closed; 0: it is not
	}{
		{"young", time.Millisecond, false, 0, 250},
		{"young, behind good ones", time.Millisecond, false, 200, 250},
		{"young, behind many good ones", time.Millisecond, false, 400, 400},
		{"answered", time.Millisecond, true, 0, 0},
		{"old", prematureLifetime, false, 0, 0},
	} {
		var p premature
		for range c.before {
			p.tooMany(time.Hour, true)
		}
		got := 0
		for i := 1; i <= 1000 && got == 0; i++ {
			if p.tooMany(c.lived, c.answered) {
				got = i
			}
		}
		if got != c.want {
			t.Errorf("%s: closed at %d, want %d", c.name, got, c.want)
		}
	}
}
