package drain_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/internal/drain"
)

// What Envoy 1.40.0 does, by the seconds that have passed.
func TestShares(t *testing.T) {
	for _, test := range []struct {
		time  time.Duration
		share []float64
	}{
		{0, []float64{1, 1}},
		{2 * time.Second, []float64{0, 1, 1}},
		{3 * time.Second, []float64{0, 0.5, 1, 1}},
		{5 * time.Second, []float64{0, 0.33, 0.67, 1, 1}},
		{10 * time.Second, []float64{0, 0.2, 0.4, 0.6, 0.8, 1, 1}},
		{15 * time.Second, []float64{0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1, 1}},
		{10 * time.Millisecond, []float64{0, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var d drain.Drain
			if d.Decide() || d.Begun() {
				t.Error("it has begun by itself")
			}
			if !d.Begin(drain.Policy{Time: test.time}) || d.Begin(drain.Policy{}) || !d.Begun() {
				t.Error("it begins once")
			}
			for second, want := range test.share {
				const asked = 4000
				n := 0
				for range asked {
					if d.Decide() {
						n++
					}
				}
				if got := float64(n) / asked; got < want-0.05 || got > want+0.05 || want == 1 && n < asked || want == 0 && n > 0 {
					t.Errorf("%v, second %d: a share of %.3f, want %.3f", test.time, second, got, want)
				}
				time.Sleep(time.Second)
			}
		})
	}
}

func TestAtOnce(t *testing.T) {
	var d drain.Drain
	d.Begin(drain.Policy{Time: time.Hour, AtOnce: true})
	if !d.Decide() {
		t.Error("it waits")
	}
}
