package listener

import (
	"io"
	"time"

	"github.com/ginnel/ginnel/filter"
)

// A peeker is a new connection as the listener filters see it.
type peeker struct {
	conn     *conn
	deadline time.Time // of all filters together; zero: none
	buf      []byte    // what the last Peek returned
}

func (l *Listener) peeker(c *conn) filter.Peeker {
	p := &peeker{conn: c}
	if t := l.plan.FiltersTimeout; t > 0 {
		p.deadline = c.Info.Start.Add(t)
	}
	return p
}

// Peek implements filter.Peeker. It may block, so an internal connection is accepted
// from now on.
func (p *peeker) Peek(n int) ([]byte, error) {
	p.conn.Accept()
	var err error
	p.buf, err = filter.PeekInto(p.conn.Stream, p.buf, n, p.deadline)
	return p.buf, err
}

// Discard implements filter.Peeker. The bytes have arrived, so reading them from the
// stream does not wait, and the chain, a pipe or a pump begin behind them.
func (p *peeker) Discard(n int) error {
	_, err := io.CopyN(io.Discard, p.conn.Stream, int64(n))
	return err
}

// Stream implements filter.Peeker.
func (p *peeker) Stream() filter.Stream { return p.conn.Stream }
