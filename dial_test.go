package ginnel

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/ginnel/ginnel/filter"
)

// A mute handler neither accepts nor answers.
type mute struct{ served chan struct{} }

func (m mute) ServeConn(c *filter.Conn) error {
	close(m.served)
	io.Copy(io.Discard, c.Stream)
	c.Stream.Close()
	c.End()
	return nil
}

func TestDialEndsWithItsContext(t *testing.T) {
	p := &Proxy{}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	m := mute{make(chan struct{})}
	if _, err := p.HandleConn("mute", m); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-m.served
		cancel()
	}()
	_, err := p.Dial(ctx, "internal", "mute")
	var op *net.OpError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("%v", err)
	}
}
