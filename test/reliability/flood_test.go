package reliability

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ginnel/ginnel/test/proxy"
)

// A client2 speaks HTTP/2 frame by frame. Writes may fail once the server has closed.
type client2 struct {
	net.Conn
	*http2.Framer
	block strings.Builder
	enc   *hpack.Encoder
}

func dialPlain(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, addr)
}

func dial2(t *testing.T, addr string) *client2 {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client2{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	c.enc = hpack.NewEncoder(&c.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// head is the block of a request.
func (c *client2) head(path string) []byte {
	c.block.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", path}} {
		_ = c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return []byte(c.block.String())
}

func (c *client2) get(id int, path string, end bool) error {
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(id), BlockFragment: c.head(path), EndStream: end, EndHeaders: true})
}

// discard reads until the end.
func (c *client2) discard() { _, _ = io.Copy(io.Discard, c.Conn) }

// goAway reads until a GOAWAY for an error, and returns its code.
func (c *client2) goAway() (code http2.ErrCode, err error) {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return 0, err
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			return g.ErrCode, nil
		}
	}
}

// TestFloods: a flood ends its connection, with a code that says why, while others are
// served.
func TestFloods(t *testing.T) {
	h := newHost(t)
	p := proxy.Start(t, proxy.Build(t), config(h))
	for _, f := range []struct {
		name string
		to   string // the listener
		one  func(c *client2, i int) error
	}{
		{"rapid reset", "one", rapidReset},
		{"rapid reset, HTTP/2 to the host", "two", rapidReset},
		{"MadeYouReset by windows", "one", func(c *client2, i int) error {
			return errors.Join(c.get(2*i+1, "/stuck", true), c.WriteRawFrame(http2.FrameWindowUpdate, 0, uint32(2*i+1), make([]byte, 4)))
		}},
		{"MadeYouReset by lengths of priorities", "one", func(c *client2, i int) error {
			return errors.Join(c.get(2*i+1, "/stuck", true), c.WriteRawFrame(http2.FramePriority, 0, uint32(2*i+1), make([]byte, 4)))
		}},
		{"CONTINUATION", "one", func(c *client2, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.head("/")})
			}
			return c.WriteContinuation(1, false, []byte("\x00\x01a\x01b"))
		}},
		{"empty CONTINUATION", "one", func(c *client2, i int) error {
			if i == 0 {
				return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.head("/")})
			}
			return c.WriteContinuation(1, false, nil)
		}},
		{"empty DATA", "one", func(c *client2, i int) error {
			if i == 0 {
				return c.get(1, "/stuck", false)
			}
			return c.WriteData(1, false, nil)
		}},
		{"SETTINGS", "one", func(c *client2, _ int) error { return c.WriteSettings() }},
		{"PING", "one", func(c *client2, _ int) error { return c.WritePing(false, [8]byte{}) }},
		{"PRIORITY", "one", func(c *client2, _ int) error {
			return c.WritePriority(1, http2.PriorityParam{StreamDep: 3})
		}},
		{"WINDOW_UPDATE", "one", func(c *client2, i int) error { return c.WriteWindowUpdate(0, 1) }},
	} {
		t.Run(f.name, func(t *testing.T) {
			over := make(chan struct{})
			go func() {
				defer close(over)
				flood(t, p.Addr(f.to), f.one, http2.ErrCodeEnhanceYourCalm)
			}()
			for flooded := false; !flooded; {
				served(t, p.Addr(f.to)) // at least once in the flood's time, or after it
				select {
				case <-over:
					flooded = true
				default:
				}
			}
			served(t, p.Addr(f.to))
		})
	}
	p.Await(t, "http.one.downstream_rq_active", 0)
	p.Await(t, "http.two.downstream_rq_active", 0)
	p.Await(t, "cluster.two.upstream_rq_active", 0)
}

func rapidReset(c *client2, i int) error {
	return errors.Join(c.get(2*i+1, "/stuck", true), c.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel))
}

// flood sends frames until the connection is closed, and requires a code.
func flood(t *testing.T, addr string, one func(c *client2, i int) error, want http2.ErrCode) {
	c := dial2(t, addr)
	defer c.Close()
	got := make(chan struct{})
	var code http2.ErrCode
	var err error
	go func() {
		code, err = c.goAway()
		close(got)
	}()
	const most = 1_000_000
	_ = c.SetDeadline(time.Now().Add(answerWithin))
	for sent := 0; sent < most && one(c, sent) == nil; sent++ {
		select {
		case <-got:
			sent = most
		default:
		}
	}
	<-got
	if code != want {
		t.Errorf("ended with %v (%v), not with %v", code, err, want)
		return
	}
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, c.Conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("still open")
	}
}
