package pump

import (
	"sync"
	"testing"

	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// Wait ends what is watched before it or leaves alone what is watched after it: a watch
// never meets a loop that has gone, whose epoll may be another's descriptor by now.
func TestWatchWhileWaiting(t *testing.T) {
	g := &Group{Loops: 2}
	before := fds(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			watched, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(watched)
			for range runs(200) {
				stop, err := g.Watch(watched, func(*netconn.Turn) bool { return false })
				if err != nil {
					t.Error(err)
					return
				}
				stop()
				g.Wait()
			}
		})
	}
	wg.Wait()
	g.Wait()
	if n := fds(t); n != before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
}

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
