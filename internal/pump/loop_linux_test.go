package pump

import (
	"os"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
	"golang.org/x/sys/unix"
)

// A message for a pump that has ended may come when its loop is gone, and the number
// of its bell is somebody else's descriptor.
func TestStoppedLoopsDoNotRing(t *testing.T) {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(bell)
	l := &loop{bell: bell, stopped: true}
	l.asleep.Store(true)
	l.post(message{w: new(wire)})
	if n, err := unix.Read(bell, make([]byte, 8)); err != unix.EAGAIN {
		t.Errorf("the bell was rung: read %d, %v", n, err)
	}
	if len(l.inbox) > 0 {
		t.Error("a message was left that nobody will read")
	}
}

// What the kernel refuses to watch ends, and takes the other side with it.
func TestUnwatchableSocket(t *testing.T) {
	for d, name := range []string{"downstream", "upstream"} {
		t.Run(name, func(t *testing.T) {
			before := fds(t)
			ours, peer := open(t, looped)
			sides := [2]filter.Stream{ours, ours}
			sides[d] = unwatchable(t)
			h := newHop(t)
			g := &Group{Loops: 1}
			g.Start(sides[filter.FromDownstream], sides[filter.FromUpstream], h, nil)
			if e := h.wait(); e.Cause != filter.LocalClose || e.Reason != "epoll_ctl: Operation not permitted" {
				t.Errorf("%+v", e)
			}
			expect(t, peer, "", "EOF")
			peer.Close()
			expectNothingLeft(t, g)
			if n := fds(t); n != before {
				t.Errorf("%d descriptors before, %d after", before, n)
			}
		})
	}
}

// unwatchable is a file in the guise of a socket: no epoll takes it.
func unwatchable(t *testing.T) *netconn.Socket {
	t.Helper()
	fd, err := unix.Open(os.Args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := netconn.New(fd, filter.IPAddr{}, filter.IPAddr{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
