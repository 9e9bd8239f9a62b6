package reliability

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ginnel/ginnel/test/proxy"
)

// TestStalledStreams: what ginnel holds of a stream whose receiver takes nothing is at
// most the buffers that are configured, and 16 KiB: with both protocols on both sides, in
// both directions.
func TestStalledStreams(t *testing.T) {
	h := newHost(t)
	p := proxy.Start(t, proxy.Build(t), config(h))
	for _, to := range []string{"one", "two"} {
		for _, c := range []struct {
			name string
			do   func(t *testing.T, addr string) (end func())
		}{
			{"HTTP/1, slow reader", readNothing1},
			{"HTTP/1, stuck host", writeMuch1},
			{"HTTP/2, slow reader", readNothing2},
			{"HTTP/2, stuck host", writeMuch2},
		} {
			t.Run(to+"/"+c.name, func(t *testing.T) {
				served(t, p.Addr(to))
				before := heap(t, p)
				end := c.do(t, p.Addr(to))
				defer end()
				p.Await(t, "http."+to+".downstream_rq_active", streams)
				held := settled(t, p) - before
				t.Logf("%d KiB a stream", held/streams>>10)
				if most := streams * (limitBytes + spareBytes); held > most {
					t.Errorf("%d streams hold %d KiB, more than %d KiB", streams, held>>10, most>>10)
				}
				served(t, p.Addr(to))
			})
			p.Await(t, "http."+to+".downstream_rq_active", 0)
		}
	}
}

// settled is the heap when no more bytes arrive.
func settled(t *testing.T, p *proxy.Proxy) int {
	t.Helper()
	moved := func() int {
		n := 0
		for _, c := range []string{"one", "two"} {
			n += p.Stat(t, "cluster."+c+".upstream_cx_rx_bytes_total") + p.Stat(t, "cluster."+c+".upstream_cx_tx_bytes_total")
		}
		return n
	}
	for last := -1; ; {
		now := moved()
		if now == last {
			return heap(t, p)
		}
		last = now
		time.Sleep(200 * time.Millisecond) // the bytes have no other sign of their end
	}
}

// readNothing1 asks for endless answers and reads none.
func readNothing1(t *testing.T, addr string) func() {
	return each(t, addr, func(c net.Conn) {
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprint(c, "GET /endless HTTP/1.1\r\nHost: h\r\n\r\n")
	})
}

// writeMuch1 sends endless requests until nobody takes more.
func writeMuch1(t *testing.T, addr string) func() {
	return each(t, addr, func(c net.Conn) {
		fmt.Fprint(c, "POST /stuck HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
		piece := fmt.Appendf(nil, "%x\r\n%s\r\n", 64<<10, bytes.Repeat([]byte("x"), 64<<10))
		for {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := c.Write(piece); err != nil {
				if !os.IsTimeout(err) {
					t.Error(err)
				}
				return
			}
		}
	})
}

// each does something on connections of their own, at the same time.
func each(t *testing.T, addr string, do func(net.Conn)) (end func()) {
	var conns []net.Conn
	done := make(chan struct{})
	for range streams {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		go func() {
			do(c)
			done <- struct{}{}
		}()
	}
	for range streams {
		<-done
	}
	return func() {
		for _, c := range conns {
			_ = c.(*net.TCPConn).SetLinger(0) // a FIN would wait behind what nobody reads
			c.Close()
		}
	}
}

// readNothing2 asks for endless answers on the streams of a connection, and opens no
// window for them.
func readNothing2(t *testing.T, addr string) func() {
	c := dial2(t, addr)
	for i := range streams {
		c.get(2*i+1, "/endless", true)
	}
	go c.discard()
	return func() { c.Close() }
}

// writeMuch2 sends endless requests through a client that obeys windows.
func writeMuch2(t *testing.T, addr string) func() {
	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: dialPlain}
	client := http.Client{Transport: transport}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	for range streams {
		go func() {
			req, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/stuck", endless{})
			if err != nil {
				t.Error(err)
			} else if resp, err := client.Do(req); err == nil {
				resp.Body.Close()
			}
			done <- struct{}{}
		}()
	}
	return func() {
		stop()
		for range streams {
			<-done
		}
		transport.CloseIdleConnections()
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
