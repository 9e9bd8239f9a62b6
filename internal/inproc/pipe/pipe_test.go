package pipe_test

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

func TestNetConn(t *testing.T) {
	for _, limit := range []int{0, 1, 1 << 10, 64 << 10} {
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			a, b := pipe.New(pipe.Options{LimitBytes: limit})
			return a, b, func() { a.Close(); b.Close() }, nil
		})
	}
}
