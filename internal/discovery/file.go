package discovery

import (
	"context"
	"fmt"
	"sync"

	"github.com/ginnel/ginnel/internal/filewatch"
	"github.com/ginnel/ginnel/internal/plan"
	"github.com/ginnel/ginnel/internal/resource"
)

// Run delivers what the files of the sources have whenever they change, until ctx ends.
func (c *Config) Run(ctx context.Context) {
	c.mu.Lock()
	if c.untold {
		c.untold = false
		if err := c.again(ctx); err != nil {
			c.log.Error(err.Error(), "logger", "config")
		}
	}
	c.mu.Unlock()
	var watching sync.WaitGroup
	defer watching.Wait()
	for k := range kinds {
		if s := &c.kinds[k]; s.source != nil {
			o := options(s.source)
			o.Since, o.Log = s.seen, c.log
			watching.Go(func() { filewatch.Watch(ctx, o, nil, func() { c.read(ctx, k) }) })
		}
	}
}

// options are those of Envoy's watch: what is written in place is not looked at.
func options(s *plan.ConfigSource) filewatch.Options {
	return filewatch.Options{File: s.Path, Dir: s.WatchedDir, Moved: true}
}

// read delivers the file of a source. What is wrong with it has been logged.
func (c *Config) read(ctx context.Context, k Kind) {
	s := c.kinds[k].source
	if s == nil {
		return
	}
	d, err := resource.ReadFile(s.Path)
	if err != nil {
		c.failed(k, err)
		return
	}
	_ = c.Deliver(ctx, k, d)
}

// failed counts and logs what was no delivery at all.
func (c *Config) failed(k Kind, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kinds[k].counts.Attempt()
	c.kinds[k].counts.Failed()
	c.log.Warn(fmt.Sprintf("Filesystem config update failure: in %s, %v", c.kinds[k].source.Path, err), "logger", "config")
}
