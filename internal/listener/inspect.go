package listener

import (
	"errors"
	"io"
	"net"
	"os"

	"github.com/ginnel/ginnel/filter"
)

// inspect runs the listener filters. A connection that fails here is logged, but
// counted only by how it failed.
func (v *version) inspect(c *conn) error {
	if len(v.filters) == 0 {
		return nil
	}
	l := v.listener
	l.stats.preActive.Add(1)
	defer l.stats.preActive.Add(-1)
	p := l.peeker(c)
	for _, f := range v.filters {
		if err := f.Inspect(&c.Info, p); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && l.plan.ContinueOnTimeout {
				l.stats.preTimeout.Add(1)
				break
			}
			return l.uninspected(c, err)
		}
	}
	return nil
}

func (l *Listener) uninspected(c *conn, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		l.stats.preTimeout.Add(1)
	case errors.Is(err, io.EOF):
		l.stats.preRemoteClose.Add(1)
	case errors.Is(err, filter.ErrDenied): // the filter has counted it
	case errors.Is(err, net.ErrClosed): // the listener ends
	default:
		l.stats.preError.Add(1)
	}
	for _, log := range l.logs {
		log.Log(&c.Info, filter.NotSet)
	}
	c.drop()
	return err
}
