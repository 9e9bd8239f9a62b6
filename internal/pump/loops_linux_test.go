package pump

import (
	"sync"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// An observer may start the next pump from within the end of the last.
func TestStartFromEnded(t *testing.T) {
	const lives = 20
	type pairOfStreams struct{ d, u, client, host filter.Stream }
	var next []pairOfStreams
	for range lives {
		d, client := open(t, looped)
		u, host := open(t, looped)
		next = append(next, pairOfStreams{d, u, client, host})
	}
	g := &Group{Loops: 1}
	var begin func(i int) filter.Outer
	ended := make(chan filter.Ending, lives)
	begin = func(i int) filter.Outer {
		return &chained{newHop(t), func(e filter.Ending) {
			if i+1 < lives {
				g.Start(next[i+1].d, next[i+1].u, begin(i+1), nil)
			}
			ended <- e
		}}
	}
	g.Start(next[0].d, next[0].u, begin(0), nil)
	for _, s := range next {
		write(t, s.client, "hello")
		get(t, s.host, "hello")
		s.client.Reset()
		if e := await(t, ended); e.Cause != filter.DownstreamReset {
			t.Errorf("%+v", e)
		}
		s.host.Close()
	}
	expectNothingLeft(t, g)
}

// chained does something at its end.
type chained struct {
	*hop
	then func(filter.Ending)
}

func (c *chained) Ended(e filter.Ending) {
	c.hop.Ended(e)
	c.then(e)
}

// A verdict may reach the loop before the pump itself does, and from any goroutine.
func TestCloseLocalRightAfterStart(t *testing.T) {
	g := &Group{Loops: 2}
	s := listen(t, looped)
	defer s.Close()
	for range runs(300) {
		d, client := s.connect(t)
		u, host := s.connect(t)
		hops := three(t, 0, 0)
		hops[0].outer = hops[1]
		var wg sync.WaitGroup
		hops[1].serves = func(p filter.Pump) {
			wg.Go(func() { p.CloseLocal(hops[1], "never mind") })
			wg.Go(p.Settle)
		}
		p := g.Start(d, u, hops[0], nil)
		p.CloseLocal(hops[1], "never mind")
		expectEndings(t, hops, filter.DownstreamClosed, filter.LocalClose)
		expect(t, client, "", "EOF")
		expect(t, host, "", "EOF")
		wg.Wait()
		p.CloseLocal(hops[0], "it is over")
		client.Close()
		host.Close()
	}
	expectNothingLeft(t, g)
}

// A group may be waited for and used again, also while others start pumps.
func TestWaitAndStartAgain(t *testing.T) {
	g := &Group{Loops: 2}
	s := listen(t, looped)
	defer s.Close()
	life := func() {
		d, client := s.connect(t)
		u, host := s.connect(t)
		h := newHop(t)
		g.Start(d, u, h, nil)
		write(t, client, "hello")
		get(t, host, "hello")
		client.CloseWrite()
		host.CloseWrite()
		h.wait()
		client.Close()
		host.Close()
	}
	before := fds(t)
	for range 10 {
		life()
		life()
		expectNothingLeft(t, g)
		if n := fds(t); n != before {
			t.Errorf("%d descriptors, %d before", n, before)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range runs(50) {
				life()
				g.Wait()
			}
		})
	}
	wg.Wait()
	expectNothingLeft(t, g)
}
