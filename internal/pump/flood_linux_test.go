package pump

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/netconn"
)

// floodEnv makes the test's program a flood: it sends to the first address without an
// end, and takes what comes from the second, in so many connections.
const floodEnv = "GINNEL_PUMP_TEST_FLOOD"

// flood reports false if the program is to run tests.
func flood() bool {
	var from, to string
	n := 0
	if k, _ := fmt.Sscan(os.Getenv(floodEnv), &from, &to, &n); k != 3 {
		return false
	}
	for range n {
		go func() {
			if c, err := net.Dial("tcp", from); err == nil {
				io.Copy(c, zeros{})
			}
		}()
		go func() {
			if c, err := net.Dial("tcp", to); err == nil {
				io.Copy(struct{ io.Writer }{io.Discard}, c)
			}
		}()
	}
	io.Copy(io.Discard, os.Stdin) // until the test closes it
	return true
}

// startFlood keeps the loops of a group busy with n streams from another process,
// until the test ends.
func startFlood(t *testing.T, g *Group, n int) {
	t.Helper()
	downs, ups := listen(t, looped), listen(t, looped)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%v %v %d", floodEnv, downs.Addr(), ups.Addr(), n))
	stop, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var pumps []*rig
	for range n {
		d, err := downs.Accept()
		if err != nil {
			t.Fatal(err)
		}
		u, err := ups.Accept()
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{t: t, g: g, hop: newHop(t)}
		r.pump = g.Start(d, u, r.hop, nil)
		pumps = append(pumps, r)
	}
	downs.Close()
	ups.Close()
	t.Cleanup(func() {
		for _, r := range pumps {
			r.awaitMore() // it was a flood to the end
			r.pump.CloseLocal(nil, "enough")
		}
		stop.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		expectNothingLeft(t, g)
	})
}

// While loops never rest, everything else of the program goes on: goroutines, timers,
// what waits for the Go poller, accepting in goroutines and by the loops themselves.
func TestBusyLoopsLeaveTimeForGoroutines(t *testing.T) {
	for _, procs := range []int{1, 2} {
		for name, others := range map[string]func(t *testing.T, g *Group){
			"goroutines": exchangeByGoroutines, "timers": passTime, "collector": func(*testing.T, *Group) { runtime.GC() },
			"accepts": func(t *testing.T, g *Group) {
				exchangeWith(t, func(l *netconn.Listener, serve func(*netconn.Socket)) error { return l.Serve(serve, nil) })
			},
			"accepts of loops": func(t *testing.T, g *Group) {
				exchangeWith(t, func(l *netconn.Listener, serve func(*netconn.Socket)) error {
					return l.ServeBy(g, func(s *netconn.Socket, turn *netconn.Turn) { serve(s) }, nil)
				})
			},
		} {
			t.Run(fmt.Sprint(procs, " processors, ", name), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				g := &Group{Loops: procs}
				startFlood(t, g, 4)
				done := make(chan struct{})
				go func() {
					defer close(done)
					others(t, g)
				}()
				await(t, done)
			})
		}
	}
}

// exchangeByGoroutines passes a token around that never rests.
func exchangeByGoroutines(*testing.T, *Group) {
	a, b := make(chan int), make(chan int)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range a {
			b <- i
		}
		close(b)
	})
	for i := range 1000 {
		a <- i
		<-b
	}
	close(a)
	wg.Wait()
}

func passTime(*testing.T, *Group) {
	for range 20 {
		<-time.After(time.Millisecond)
	}
}

// exchangeWith has a server take connections, each of which exchanges some messages.
func exchangeWith(t *testing.T, run func(l *netconn.Listener, serve func(*netconn.Socket)) error) {
	l, err := netconn.Listen(filter.IPAddr{AddrPort: netip.MustParseAddrPort("127.0.0.1:0")}, netconn.ListenOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	var wg, served sync.WaitGroup
	wg.Go(func() {
		err := run(l, func(s *netconn.Socket) {
			served.Go(func() {
				defer s.Close()
				io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
			})
		})
		if err != nil {
			t.Error(err)
		}
	})
	for range 20 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			break
		}
		for i := range 10 {
			word := strings.Repeat("x", 1+i)
			io.WriteString(c, word)
			if _, err := io.ReadFull(c, make([]byte, len(word))); err != nil {
				t.Error(err)
			}
		}
		c.Close()
	}
	served.Wait()
	l.Close()
	wg.Wait()
}

// A connection that has to wait while it is set up leaves the loop that accepted it,
// which serves the others meanwhile: those that wait in the same round, too.
func TestWhoWaitsLeavesItsTurn(t *testing.T) {
	g := &Group{Loops: 1}
	r := startMany(t, g, 0)[0]
	s := listen(t, looped)
	const waiting = 5
	arrived := make(chan *netconn.Socket, waiting)
	free := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.ServeBy(g, func(s *netconn.Socket, turn *netconn.Turn) {
			turn.Leave()
			turn.Leave()
			wg.Add(1)
			defer wg.Done()
			arrived <- s
			<-free
			s.Close()
		}, nil)
		if err != nil {
			t.Error(err)
		}
	})
	var clients []filter.Stream
	for range waiting {
		c, err := netconn.Dial(s.Addr(), time.Time{}, nil, netconn.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	for range waiting {
		await(t, arrived)
		write(t, r.client, "question")
		get(t, r.host, "question")
	}
	close(free)
	for _, c := range clients {
		expect(t, c, "", "EOF")
		c.Close()
	}
	s.Close()
	wg.Wait()
}
