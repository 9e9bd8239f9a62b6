package ginnel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A gone is a way for the client of a tunnel to go away. Each is in time to be told from a
// timeout: the next one that could end the stream is a minute away.
type gone struct {
	name   string
	asking bool // the tunnel is still being asked for
	inside bool // the client is in this process
	leave  func(net.Conn) error
}

func resetTCP(c net.Conn) error { return resets(c.(*net.TCPConn)) }

var waysToGo = []gone{
	{"reset while asking", true, false, resetTCP},
	{"close while asking", true, false, net.Conn.Close},
	{"reset", false, false, resetTCP},
	{"close inside", false, true, net.Conn.Close},
	{"reset inside", false, true, func(c net.Conn) error { return c.(interface{ Reset() error }).Reset() }},
	{"reset inside while asking", true, true, func(c net.Conn) error { return c.(interface{ Reset() error }).Reset() }},
	{"close inside while asking", true, true, net.Conn.Close},
}

// TestTunnelDownstreamGone: a downstream that goes away resets the CONNECT stream, with
// either protocol, to a socket and to an internal listener (envoy#38148, #45198).
func TestTunnelDownstreamGone(t *testing.T) {
	everyWay(t, func(t *testing.T, w way) {
		for _, h2 := range []bool{true, false} {
			for _, internal := range []bool{true, false} {
				for _, hops := range []int{0, 1} {
					for _, g := range waysToGo {
						s := tunnelShape{h2: h2, internal: internal, hops: hops}
						t.Run(fmt.Sprintf("%v/%s", s, g.name), func(t *testing.T) { s.goes(t, g, w) })
					}
				}
			}
		}
	})
}

func (s tunnelShape) goes(t *testing.T, g gone, w way) {
	before := leftovers()
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	address, options := socketAddress(host.Addr()), ""
	if s.internal {
		address = listenerAddress("host")
	}
	if s.h2 {
		options = explicitHTTP2
	}
	var y yamlProxy
	y.cluster("tunnel", address, options)
	y.listener("encap", internally, tcp("tunnel", `, tunneling_config: {hostname: "host.example:443"}`))
	y.cluster("first", y.hops("before", s.hops, listenerAddress("encap")), "")
	y.listener("street", onSocket, tcp("first", ""))
	y.listener("inside", internally, tcp("first", ""))
	p := run(t, w.use(&Proxy{Bootstrap: parse(t, y.String())}))
	if s.internal {
		host.Close()
		if host, err = p.Listen("internal", "host"); err != nil {
			t.Fatal(err)
		}
		defer host.Close()
	}

	asked, ended := make(chan struct{}), make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { ended <- s.reset(host, !g.asking, asked) })
	var c net.Conn
	if g.inside {
		c = dialInternal(t, p, "inside")
	} else {
		c = dial(t, p)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	within(t, "asking for the tunnel", func() { <-asked })
	if !g.asking {
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
			t.Fatalf("before it leaves the client got %v", err)
		}
	}
	if err := g.leave(c); err != nil {
		t.Fatal(err)
	}
	within(t, "the stream of a client that is gone", func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	host.Close()
	serving.Wait()
	p.Close()
	backTo(t, before)
}

// reset serves one tunnel, which it accepts with two bytes or never answers, and returns nil
// when its stream was reset. With HTTP/1 the stream is the connection.
func (s tunnelShape) reset(l net.Listener, accept bool, asked chan<- struct{}) error {
	c, err := l.Accept()
	if err != nil {
		close(asked)
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if s.h2 {
		return resetHTTP2(c, accept, asked)
	}
	in := bufio.NewReader(c)
	_, err = http.ReadRequest(in)
	close(asked)
	if err == nil && accept {
		_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhi")
	}
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, in)
	switch {
	case n > 0:
		return fmt.Errorf("%d bytes came", n)
	case errors.Is(err, syscall.ECONNRESET):
		return nil
	case err != nil:
		return fmt.Errorf("the connection ended with %w", err)
	}
	for err == nil { // a FIN is a half close until it is known to be more
		_, err = c.Write(make([]byte, 1000))
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return err
}

func resetHTTP2(c net.Conn, accept bool, asked chan<- struct{}) error {
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		close(asked)
		return err
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(); err != nil {
		close(asked)
		return err
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return fmt.Errorf("the connection ended before the stream: %w", err)
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = f.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			close(asked)
			if accept {
				head := http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: encoded(":status", "200"), EndHeaders: true}
				err = errors.Join(f.WriteHeaders(head), f.WriteData(frame.StreamID, false, []byte("hi")))
			}
		case *http2.RSTStreamFrame:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func encoded(name, value string) []byte {
	var b bytes.Buffer
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: name, Value: value}) // it does not fail
	return b.Bytes()
}
