package pump

import (
	"testing"

	"github.com/ginnel/ginnel/internal/netconn"
)

// The more events a loop had in a round, the more connections it takes at once: else
// those that wait would have to wait the longer the more there is to do.
func TestBusyLoopsAcceptMore(t *testing.T) {
	for _, c := range []struct{ events, waiting, want int }{
		{1, 100, 1}, {15, 100, 1}, {32, 100, 3}, {256, 100, 17}, {256, 5, 5}, {1, 0, 0},
	} {
		taken := 0
		w := &watch{func(*netconn.Turn) bool {
			if taken == c.waiting {
				return false
			}
			taken++
			return true
		}}
		l := &loop{group: new(Group), watches: []*watch{w}, round: c.events}
		if !l.accept(0) || taken != c.want {
			t.Errorf("after %d events, with %d waiting, it took %d; want %d", c.events, c.waiting, taken, c.want)
		}
	}
}
