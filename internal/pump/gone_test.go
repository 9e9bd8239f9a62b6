package pump

import (
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A side that was full and is gone is full no more: while what it sent before is still
// to be delivered its limit does not count.
func TestFullSideThatIsGone(t *testing.T) {
	combinations(t, func(t *testing.T, down, up string) {
		h := newHop(t)
		h.limits.UpstreamHighWatermark = time.Hour
		r := startIn(t, &Group{FlushTimeout: time.Hour}, down, up, nil, h)
		r.stuff(r.host, filter.FromUpstream)
		resumed := make(chan struct{})
		var once sync.Once
		h.mu.Lock()
		before := h.flow
		h.flow = func(d filter.Direction, paused bool) {
			before(d, paused)
			if d == filter.FromDownstream && !paused {
				once.Do(func() { close(resumed) })
			}
		}
		h.mu.Unlock()
		r.stuff(r.client, filter.FromDownstream)
		r.host.Reset()
		await(t, resumed)
		if b, _ := read(r.client); len(b) == 0 {
			t.Error("nothing was delivered")
		}
		h.wait()
	})
}
