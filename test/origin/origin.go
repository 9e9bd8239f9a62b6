// Package origin is what proxies under test connect to: a listener that serves each
// connection by a function, and nothing else. Backends of scripts are told by package
// script.
package origin

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Listen has serve called with each connection to a free port of 127.0.0.1, in a goroutine
// of its own; the connection is closed when it returns. When t ends nobody listens any more,
// and all connections must have been served.
func Listen(t testing.TB, serve func(*net.TCPConn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr()
}

// Echo sends back what it gets.
func Echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }
