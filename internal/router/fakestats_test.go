package router

import (
	"sync"

	"github.com/ginnel/ginnel/filter"
)

// counts are statistics by their whole names.
type counts struct {
	prefix string
	root   *counts // nil: itself

	mu sync.Mutex
	of map[string]*number
}

type number struct{ n int64 }

func (c *counts) top() *counts {
	if c.root != nil {
		return c.root
	}
	return c
}

func (c *counts) get(name string) *count {
	return &count{c.top(), c.prefix + name}
}

// value returns what a statistic has come to; a histogram counts its records.
func (c *counts) value(name string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.of[name]; n != nil {
		return n.n
	}
	return 0
}

func (c *counts) Scope(p string) filter.Scope         { return &counts{prefix: c.prefix + p, root: c.top()} }
func (c *counts) Counter(n string) filter.Counter     { return counter{c.get(n)} }
func (c *counts) Gauge(n string) filter.Gauge         { return c.get(n) }
func (c *counts) Histogram(n string) filter.Histogram { return c.get(n) }
func (c *counts) Close()                              {}

type count struct {
	in   *counts
	name string
}

func (c *count) Add(n int64) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.of[c.name] == nil {
		c.in.of[c.name] = new(number)
	}
	c.in.of[c.name].n += n
}

func (c *count) Record(uint64) { c.Add(1) }

type counter struct{ *count }

func (c counter) Add(n uint64) { c.count.Add(int64(n)) }
