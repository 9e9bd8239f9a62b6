package pump

import (
	"slices"
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
				stop, err := g.Watch(watched, netconn.Batch{}, func(*netconn.Turn) bool { return false })
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
	for _, c := range []struct{ events, most, waiting, want int }{
		{1, 0, 100, 1}, {15, 0, 100, 1}, {32, 0, 100, 3}, {256, 0, 100, 17}, {256, 0, 5, 5}, {1, 0, 0, 0},
		{256, 1, 100, 1}, {256, 4, 100, 4}, {256, 20, 100, 17}, {256, 4, 3, 3},
	} {
		taken, told := 0, 0
		w := &watch{netconn.Batch{Most: c.most, Took: func(n int) { told = n }}, func(*netconn.Turn) bool {
			if taken == c.waiting {
				return false
			}
			taken++
			return true
		}}
		l := &loop{group: new(Group), watches: []*watch{w}, round: c.events}
		if !l.accept(0) || taken != c.want || told != c.want {
			t.Errorf("after %d events, with %d waiting and %d at most, it took %d, and told of %d; want %d", c.events, c.waiting, c.most, taken, told, c.want)
		}
	}
}

// A connection that leaves its turn is the last one of its event, and is told of before its
// set-up has come to its end.
func TestLeftTurnEndsTheEvent(t *testing.T) {
	told := make(chan int, 2)
	g := &Group{Loops: 1}
	l, err := newLoop(g)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	l.round = 5 * acceptShare
	l.watches = []*watch{{netconn.Batch{Took: func(n int) { told <- n }}, func(turn *netconn.Turn) bool {
		if n++; n == 3 {
			turn.Leave()
			if got := await(t, told); got != 3 {
				t.Errorf("told of %d", got)
			}
		}
		return true
	}}}
	if l.accept(0) || n != 3 || len(told) != 0 {
		t.Errorf("it went on to connection %d, and told %d times more", n, len(told))
	}
	l.stop()
}

// A socket that was assigned to a loop has its bytes moved by that one, whatever else there
// is to do for it.
func TestAssignedLoop(t *testing.T) {
	g := &Group{Loops: 3}
	for range 6 {
		d, client := open(t, looped)
		u, host := open(t, looped)
		d.(*netconn.Socket).Assign(1)
		g.Start(d, u, newHop(t), nil)
		write(t, client, "hello")
		get(t, host, "hello")
		t.Cleanup(func() { client.Close(); host.Close() })
	}
	var counts []int64
	g.loops.mu.Lock()
	for _, l := range g.loops.all {
		counts = append(counts, l.count)
	}
	g.loops.mu.Unlock()
	if !slices.Equal(counts, []int64{0, 6, 0}) {
		t.Errorf("wires of the loops: %d", counts)
	}
	g.Close("over")
	expectNothingLeft(t, g)
}
