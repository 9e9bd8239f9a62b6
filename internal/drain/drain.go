// Package drain decides which connections end, and when, while what serves them is on its
// way out.
package drain

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// A Policy is how drains go.
type Policy struct {
	Time   time.Duration // after which everything that asks is to end; 0: from the beginning
	AtOnce bool          // everything that asks is to end from the beginning
}

// A Drain is one that may have begun; the zero Drain has not. It is safe for concurrent use.
type Drain struct{ begun atomic.Pointer[beginning] }

type beginning struct {
	Policy
	at time.Time
}

// Begin begins the drain. It reports false if it had begun before.
func (d *Drain) Begin(p Policy) bool {
	return d.begun.CompareAndSwap(nil, &beginning{p, time.Now()})
}

// Begun reports whether the drain has begun.
func (d *Drain) Begun() bool { return d.begun.Load() != nil }

// Decide reports whether a connection that asks is to end now, in order. The share of those
// that are grows with each second, until after half the time it is all of them: seen on
// Envoy 1.40.0, that has ceil(time/2) steps, each a second.
func (d *Drain) Decide() bool {
	b := d.begun.Load()
	if b == nil {
		return false
	}
	elapsed := time.Since(b.at)
	if b.AtOnce || elapsed >= b.Time {
		return true
	}
	steps := (int64(b.Time/time.Second) + 1) / 2
	return rand.Int64N(max(steps, 1)) < int64(elapsed/time.Second)
}
