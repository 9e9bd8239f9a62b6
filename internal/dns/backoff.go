package dns

import (
	"math/rand/v2"
	"time"
)

// A Backoff is how long to wait after lookups that failed.
type Backoff struct{ usual, at, most time.Duration }

// NewBackoff returns a Backoff that begins. base is the first time to wait, most the
// longest; without base it is always usual.
func NewBackoff(usual, base, most time.Duration) Backoff { return Backoff{usual, base, most} }

// Next returns the time until the next try: by chance, up to a limit that doubles (Envoy).
func (b *Backoff) Next() time.Duration {
	if b.at == 0 {
		return b.usual
	}
	wait := rand.N(b.at)
	b.at = min(2*b.at, b.most)
	return wait
}
