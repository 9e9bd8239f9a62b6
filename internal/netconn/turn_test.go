package netconn

import (
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A fakeLoop calls whoever it watches for again and again.
type fakeLoop struct{ watches, stops int }

func (f *fakeLoop) Watch(fd int, _ Batch, ready func(*Turn) bool) (stop func(), err error) {
	f.watches++
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
				ready(&Turn{Home: 3})
			}
		}
	})
	return func() { f.stops++; close(end); wg.Wait() }, nil
}

func TestServeBy(t *testing.T) {
	for name, a := range families(t) {
		t.Run(name, func(t *testing.T) {
			l := listen(t, a, ListenOptions{})
			before := openFDs(t)
			loop, served, homes := &fakeLoop{}, make(chan error), make(chan int)
			go func() {
				served <- l.ServeBy(loop, func(s *Socket, _ *Turn) {
					home, _ := s.Home()
					homes <- home
					s.Close()
				}, nil)
			}()
			for range 10 {
				c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if home := <-homes; home != 3 {
					t.Errorf("accepted by loop %d", home)
				}
				if _, ok := c.Home(); ok {
					t.Error("no loop has accepted a dialled socket")
				}
				c.Close()
			}
			l.Close()
			if err := <-served; err != nil || loop.watches != 1 || loop.stops != 1 {
				t.Errorf("%v after %d watches, of which %d were stopped", err, loop.watches, loop.stops)
			}
			if n := openFDs(t); n != before-1 {
				t.Errorf("%d descriptors before, %d after", before, n)
			}
		})
	}
}

// Who has accepted himself may leave the rest to loops.
func TestServeByAfterAccept(t *testing.T) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	before := openFDs(t)
	dial := func() *Socket {
		c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := dial()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got, served := make(chan *Socket), make(chan error, 1)
	go func() { served <- l.ServeBy(&fakeLoop{}, func(s *Socket, _ *Turn) { got <- s }, nil) }()
	b := dial()
	select {
	case s := <-got:
		s.Close()
	case err := <-served:
		t.Fatal(err)
	}
	l.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	for _, s := range []*Socket{a, b, first} {
		s.Close()
	}
	if n := openFDs(t); n >= before {
		t.Errorf("%d descriptors before, %d after", before, n)
	}
}

// withoutDescriptors has a client of l wait, and takes away what descriptors there are until
// they are given back, or the test ends.
func withoutDescriptors(t *testing.T, l *Listener) (giveBack func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Max: old.Max}); err != nil {
		t.Skip(err)
	}
	giveBack = func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }
	t.Cleanup(giveBack)
	return giveBack
}

// Loops meet the same error again and again until they watch no more; it is one
// failure, and one pause.
func TestServeByFailsOnce(t *testing.T) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	giveBack := withoutDescriptors(t, l)
	failures := 0
	loop := &insistentLoop{}
	failed := func(error) {
		failures++
		giveBack()
	}
	got, served := make(chan *Socket), make(chan error)
	go func() { served <- l.ServeBy(loop, func(s *Socket, _ *Turn) { got <- s }, failed) }()
	(<-got).Close()
	l.Close()
	if err := <-served; err != nil || failures != 1 || loop.watches != 2 {
		t.Errorf("%v after %d failures and %d watches", err, failures, loop.watches)
	}
}

// Loops that cannot accept say so once, and who goes on then waits until they can.
func TestServeByAfterTrouble(t *testing.T) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	giveBack := withoutDescriptors(t, l)
	loop, got, troubles := &insistentLoop{}, make(chan *Socket), make(chan error, 10)
	handle := func(s *Socket, _ *Turn) { got <- s }
	if err := l.AcceptBy(loop, handle, func(err error) { troubles <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-troubles; err != unix.EMFILE {
		t.Error(err)
	}
	failures, served := 0, make(chan error)
	go func() {
		served <- l.ServeBy(loop, handle, func(error) {
			failures++
			giveBack()
		})
	}()
	(<-got).Close()
	l.Close()
	if err := <-served; err != nil || len(troubles) > 0 || failures != 1 || loop.watches != 3 {
		t.Errorf("%v after %d more troubles, %d failures and %d watches", err, len(troubles), failures, loop.watches)
	}
}

// An insistentLoop calls once for each watch, and twice more while that is stopped.
type insistentLoop struct{ watches int }

func (f *insistentLoop) Watch(fd int, _ Batch, ready func(*Turn) bool) (stop func(), err error) {
	f.watches++
	var wg sync.WaitGroup
	wg.Go(func() { ready(&Turn{}) })
	return func() {
		wg.Wait()
		ready(&Turn{})
		ready(&Turn{})
	}, nil
}

// A watch that the system has no memory for now is tried again.
func TestServeByOutlivesLackOfMemory(t *testing.T) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	failures, loop := make(chan error, 10), &forgetfulLoop{}
	got, served := make(chan *Socket), make(chan error)
	go func() {
		served <- l.ServeBy(loop, func(s *Socket, _ *Turn) { got <- s }, func(err error) { failures <- err })
	}()
	c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	(<-got).Close()
	if err := <-failures; !errors.Is(err, unix.ENOMEM) {
		t.Error(err)
	}
	l.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A forgetfulLoop has no memory for its first watch.
type forgetfulLoop struct {
	fakeLoop
	failed bool
}

func (f *forgetfulLoop) Watch(fd int, _ Batch, ready func(*Turn) bool) (stop func(), err error) {
	if !f.failed {
		f.failed = true
		return nil, os.NewSyscallError("epoll_ctl", unix.ENOMEM)
	}
	return f.fakeLoop.Watch(fd, Batch{}, ready)
}

func TestServeByNoLoops(t *testing.T) {
	l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
	if err := l.ServeBy(noLoops{}, nil, nil); err != ErrNoLoops {
		t.Error(err)
	}
	l.Close()
	if err := l.ServeBy(noLoops{}, nil, nil); err != nil {
		t.Errorf("of a closed listener: %v", err)
	}
}

// What is left of a queue when an event has brought its most is the next event's.
func TestServeInBatches(t *testing.T) {
	const waiting = 20
	for _, most := range []int{0, 1, 3} {
		l := listen(t, ip("127.0.0.1:0"), ListenOptions{})
		var events []int
		sum := 0
		took := make(chan struct{})
		l.SetBatch(Batch{Most: most, Took: func(n int) {
			events = append(events, n)
			if sum += n; sum == waiting {
				close(took)
			}
		}})
		for range waiting {
			c, err := Dial(l.Addr(), time.Time{}, nil, DialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		served := make(chan error, 1)
		go func() { served <- l.Serve(func(s *Socket) { s.Close() }, nil) }()
		<-took
		l.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if sum != waiting || most > 0 && slices.Max(events) > most {
			t.Errorf("at most %d at once: events of %v", most, events)
		}
	}
}

// An assigned home is told from that of the loop which accepted.
func TestAssignedHome(t *testing.T) {
	s := &Socket{home: 3 + 1}
	if n, ok := s.Home(); n != 3 || !ok || s.Assigned() {
		t.Errorf("accepted by loop 3: %d, %v, assigned %v", n, ok, s.Assigned())
	}
	s.Assign(0)
	if n, ok := s.Home(); n != 0 || !ok || !s.Assigned() {
		t.Errorf("assigned to loop 0: %d, %v, assigned %v", n, ok, s.Assigned())
	}
}

type noLoops struct{}

func (noLoops) Watch(int, Batch, func(*Turn) bool) (func(), error) { return nil, ErrNoLoops }
