// Package echo is the network filter that sends back what it receives
// (envoy.extensions.filters.network.echo.v3.Echo).
package echo

import (
	"errors"
	"io"
	"sync"

	echov3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/echo/v3"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/filter"
)

type echo struct{}

// Register adds the filter to a registry.
func Register(r *extension.Registry) {
	extension.Register(r, extension.TerminalFilter,
		func(*extension.Scope, *echov3.Echo) filter.TerminalFactory { return echo{} })
}

// Support returns what is done with the fields of the messages read here.
func Support() []*extension.Fields {
	return []*extension.Fields{{Message: &echov3.Echo{}}}
}

// NewTerminal implements filter.TerminalFactory.
func (echo) NewTerminal(*filter.Env) (filter.Terminal, error) { return echo{}, nil }

// ServeConn implements filter.ConnHandler. The end of what the client sends ends the
// connection, after all of it has been sent back.
func (echo) ServeConn(c *filter.Conn) error {
	return filter.ServeBytes(c, func(s *filter.Counted) error {
		c.Accept()
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		for {
			n, err := s.Read(*buf)
			if n > 0 {
				if _, err := s.Write((*buf)[:n]); err != nil {
					return err
				}
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}
