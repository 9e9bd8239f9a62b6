package netconn

import (
	"sync"
	"testing"
	"time"
)

// A fakeLoop calls whoever it watches for again and again.
type fakeLoop struct{ watches, stops int }

func (f *fakeLoop) Watch(fd int, ready func(*Turn) bool) (stop func(), err error) {
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

type noLoops struct{}

func (noLoops) Watch(int, func(*Turn) bool) (func(), error) { return nil, ErrNoLoops }
