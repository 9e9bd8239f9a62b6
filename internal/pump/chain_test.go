package pump

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// A chain is pumps joined by streams of a kind, between two sockets; hops[0] is next
// to the client.
type chain struct {
	client, host filter.Stream
	hops         []*hop
	pumps        []filter.Pump
	g            *Group
}

func newChain(t *testing.T, n int, joint string) *chain {
	t.Helper()
	before, chunks := fds(t), pipe.ChunksInUse()
	c := &chain{g: &Group{Loops: loopsFor(joint, joint)}}
	down, client := open(t, "socket")
	c.client = client
	for i := range n {
		up, next := open(t, joint)
		if i == n-1 {
			up.Close()
			next.Close()
			up, c.host = open(t, "socket")
		}
		h := newHop(t)
		c.hops = append(c.hops, h)
		c.pumps = append(c.pumps, c.g.Start(down, up, h, nil))
		down = next
	}
	t.Cleanup(func() {
		c.client.Close()
		c.host.Close()
		c.g.Wait()
		if n, f := pipe.ChunksInUse(), fds(t); n != chunks || f != before || c.g.BuffersInUse() != 0 {
			t.Errorf("left: %d chunks, %d descriptors, %d buffers", n-chunks, f-before, c.g.BuffersInUse())
		}
	})
	return c
}

func (c *chain) expectAll(t *testing.T, want filter.Cause) {
	t.Helper()
	for i, h := range c.hops {
		if e := h.wait(); e.Cause != want {
			t.Errorf("pump %d ended with cause %d, want %d", i, e.Cause, want)
		}
	}
}

// Whatever the number of pipes, or connections, in between, an end arrives as what it
// was, behind all bytes, and every pump sees the same cause.
func TestChains(t *testing.T) {
	for _, joint := range []string{"pipe", "socket", looped} {
		t.Run(joint, func(t *testing.T) { testChains(t, joint) })
	}
}

func testChains(t *testing.T, joint string) {
	big := strings.Repeat("0123456789abcdef", 64<<10)
	for _, n := range []int{1, 2, 3, 9} {
		for name, f := range map[string]func(t *testing.T, c *chain){
			"client's half close, late answer": func(t *testing.T, c *chain) {
				write(t, c.client, "question")
				c.client.CloseWrite()
				expect(t, c.host, "question", "EOF")
				go func() { c.host.Write([]byte(big)); c.host.Close() }()
				expect(t, c.client, big, "EOF")
				c.expectAll(t, filter.UpstreamClosed)
			},
			"host ends first, client goes on": func(t *testing.T, c *chain) {
				c.host.CloseWrite()
				expect(t, c.client, "", "EOF")
				go func() { c.client.Write([]byte(big)); c.client.Close() }()
				expect(t, c.host, big, "EOF")
				c.expectAll(t, filter.DownstreamClosed)
			},
			"client's reset behind bytes": func(t *testing.T, c *chain) {
				go func() { c.client.Write([]byte(big)); awaitAcked(t, c.client); c.client.Reset() }()
				expect(t, c.host, big, "reset")
				c.expectAll(t, filter.DownstreamReset)
			},
			"host's reset behind bytes": func(t *testing.T, c *chain) {
				go func() { c.host.Write([]byte(big)); awaitAcked(t, c.host); c.host.Reset() }()
				expect(t, c.client, big, "reset")
				c.expectAll(t, filter.UpstreamReset)
			},
			"client gives up while data waits": func(t *testing.T, c *chain) {
				go io.Copy(c.host, zeros{})
				get(t, c.client, strings.Repeat("\x00", 1000))
				c.client.Reset()
				c.expectAll(t, filter.DownstreamReset)
			},
		} {
			t.Run(fmt.Sprint(n, " ", name), func(t *testing.T) { f(t, newChain(t, n, joint)) })
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// What an inner hop has written reaches the client whole when that hop is closed.
func TestLocalCloseOfAnInnerHopLosesNothing(t *testing.T) {
	c := newChain(t, 2, "pipe")
	answer := strings.Repeat("answer", 50_000)
	write(t, c.client, "some question that nobody reads to its end")
	write(t, c.host, answer)
	for down := uint64(0); down != uint64(len(answer)); _, down = c.hops[1].moved() {
		c.pumps[1].Settle()
	}
	c.pumps[1].CloseLocal(c.hops[1], "filter_chain_is_being_removed")
	expect(t, c.client, answer, "EOF")
	if e := c.hops[0].wait(); e.Cause != filter.UpstreamClosed {
		t.Errorf("outer: %+v", e)
	}
	if e := c.hops[1].wait(); e.Reason != "filter_chain_is_being_removed" {
		t.Errorf("inner: %+v", e)
	}
}
