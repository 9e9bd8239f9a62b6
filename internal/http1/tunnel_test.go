package http1

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
)

// TestTunnel: bytes pass both ways, and each direction ends by itself.
func TestTunnel(t *testing.T) {
	requests := map[string]httpmsg.Request{
		"CONNECT": {Method: "CONNECT", Authority: "b:1"},
		"upgrade": {Method: "GET", Path: "/", Authority: "b", Upgrade: "foo"},
	}
	for name, r := range requests {
		for _, clientFirst := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				eachPair(t, func(t *testing.T, cc, sc filter.Stream) { tunnel(t, cc, sc, &r, clientFirst) })
			})
		}
	}
}

func tunnel(t *testing.T, cc, sc filter.Stream, r *httpmsg.Request, clientFirst bool) {
	big := strings.Repeat("0123456789abcdef", 20_000)
	status := 200
	if r.Upgrade != "" {
		status = 101
	}
	clientEnded := make(chan struct{})
	_, wait := serve(sc, &ServerOptions{}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		if err := w.WriteResponse(&httpmsg.Response{Status: status}, false); err != nil {
			t.Error(err)
		}
		if err := w.Flush(); err != nil {
			t.Error(err)
		}
		if !clientFirst {
			if err := w.WriteData([]byte(big), true); err != nil {
				t.Error(err)
			}
		}
		if got, _ := readBody(t, r.Body); got != big {
			t.Errorf("%d bytes arrived, want %d", len(got), len(big))
		}
		close(clientEnded)
		if clientFirst {
			if err := w.WriteData([]byte(big), true); err != nil {
				t.Error(err)
			}
		}
	}})
	own := newOwner()
	c := NewClient(cc, nil, own)
	x := exchangeOf(t, c)
	if err := x.WriteRequest(r, false); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	resp, err := x.ReadResponse()
	if err != nil || resp.Status != status {
		t.Fatalf("%v, %v", resp, err)
	}
	if clientFirst {
		if err := x.WriteData([]byte(big), true); err != nil {
			t.Fatal(err)
		}
		<-clientEnded
	}
	if got, _ := readBody(t, resp.Body); got != big {
		t.Errorf("%d bytes came back, want %d", len(got), len(big))
	}
	if !clientFirst {
		if err := x.WriteData([]byte(big), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := wait(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	x.Release()
	<-own.closed
}

// TestTunnelEarlyEnd: the end of a tunnel that is not accepted yet is kept until it is.
func TestTunnelEarlyEnd(t *testing.T) {
	cc, sc := pipe.New(pipe.Options{})
	defer sc.Close()
	own := newOwner()
	c := NewClient(cc, nil, own)
	x := exchangeOf(t, c)
	if err := x.WriteRequest(&httpmsg.Request{Method: "CONNECT", Authority: "b:1"}, true); err != nil {
		t.Fatal(err)
	}
	expect(t, sc, "CONNECT b:1 HTTP/1.1\r\nhost: b:1\r\n\r\n")
	if err := sc.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	if _, err := sc.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("%v, want nothing yet", err)
	}
	_ = sc.SetReadDeadline(never)
	_, _ = io.WriteString(sc, "HTTP/1.1 200 OK\r\n\r\n")
	if _, err := x.ReadResponse(); err != nil {
		t.Fatal(err)
	}
	ends(t, sc)
	x.Release()
	<-own.closed
}

// TestTunnelReset: a tunnel that is cut off does not look like one that ended.
func TestTunnelReset(t *testing.T) {
	for _, kind := range []string{"pipe", "socket"} {
		t.Run(kind, func(t *testing.T) {
			c, s := pairs[kind](t)
			defer c.Close()
			_, wait := serve(s, &ServerOptions{}, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
				_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
				_ = w.Flush()
				_, _ = c.Read(make([]byte, 19))
				w.Reset(&httpmsg.ResetError{Reason: httpmsg.RemoteReset})
			}})
			_, _ = io.WriteString(c, "CONNECT b:1 HTTP/1.1\r\n\r\n")
			_ = wait()
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v, want a reset", err)
			}
		})
	}
}

// TestRefusedTunnel: what came for the tunnel is not taken for a request.
func TestRefusedTunnel(t *testing.T) {
	for name, in := range map[string]string{
		"CONNECT": "CONNECT b:1 HTTP/1.1\r\n\r\n",
		"upgrade": "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			saw, out := "", ""
			c, s := pipe.New(pipe.Options{})
			defer c.Close()
			_, wait := serve(s, &ServerOptions{}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
				saw += r.Method
				_ = w.WriteResponse(&httpmsg.Response{Status: 403}, true)
			}})
			_, _ = io.WriteString(c, in+"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n")
			b, _ := io.ReadAll(c)
			out = string(b)
			_ = wait()
			if want := "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"; out != want {
				t.Errorf("%q, want %q", out, want)
			}
			if len(saw) > len("CONNECT") || strings.HasPrefix(saw, "GETGET") {
				t.Errorf("saw %s", saw)
			}
		})
	}
}

// TestHangup: a client that goes away is noticed while its request is answered.
func TestHangup(t *testing.T) {
	for name, leave := range map[string]func(filter.Stream){
		"close": func(c filter.Stream) { _ = c.Close() },
		"reset": func(c filter.Stream) { _ = c.Reset() },
		"end":   func(c filter.Stream) { _ = c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []string{"pipe", "socket"} {
				t.Run(kind, func(t *testing.T) {
					c, s := pairs[kind](t)
					defer c.Close()
					var hangups netconn.Hangups
					defer hangups.Close()
					_, wait := serve(s, &ServerOptions{Hangups: &hangups}, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
						gone := make(chan *httpmsg.ResetError, 1)
						w.OnReset(func(why *httpmsg.ResetError) { gone <- why })
						leave(c)
						why := <-gone
						if why.Reason != httpmsg.ConnectionTermination {
							t.Errorf("%v", why)
						}
						w.OnReset(nil)
						late := 0
						w.OnReset(func(*httpmsg.ResetError) { late++ })
						if late != 1 {
							t.Error("who asks late is not told")
						}
						if err := w.WriteResponse(&httpmsg.Response{Status: 200}, true); err != error(why) {
							t.Errorf("%v, want %v", err, why)
						}
					}})
					_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
					if err := wait(); err == nil {
						t.Error("Serve ended in order")
					}
				})
			}
		})
	}
}

// TestTunnelHangup: half a close leaves a tunnel alone, a whole one ends it.
func TestTunnelHangup(t *testing.T) {
	inTunnel(t, func(c *pipe.Conn, r *httpmsg.Request, w httpmsg.Responder, gone chan *httpmsg.ResetError) {
		_ = c.CloseWrite()
		if got, _ := readBody(t, r.Body); got != "bytes" {
			t.Errorf("%q", got)
		}
		if err := w.WriteData([]byte("more"), false); err != nil || w.Flush() != nil {
			t.Error(err)
		}
		if len(gone) > 0 {
			t.Error("an end of one direction was taken for one of both")
		}
		_ = c.Reset()
		if err := w.WriteData(make([]byte, 64<<10), false); err == nil {
			t.Error("wrote to nobody")
		}
	})
}

// TestTunnelClosed: a client that has closed the whole connection is gone when its last
// bytes were read, not before.
func TestTunnelClosed(t *testing.T) {
	inTunnel(t, func(c *pipe.Conn, r *httpmsg.Request, w httpmsg.Responder, gone chan *httpmsg.ResetError) {
		_ = c.Close()
		if len(gone) > 0 {
			t.Error("bytes that were sent are lost")
		}
		if got, _ := readBody(t, r.Body); got != "bytes" {
			t.Errorf("%q", got)
		}
		<-gone
	})
}

// inTunnel has f serve a tunnel that its client c has sent bytes through; gone tells that
// the client has left.
func inTunnel(t *testing.T, f func(c *pipe.Conn, r *httpmsg.Request, w httpmsg.Responder, gone chan *httpmsg.ResetError)) {
	t.Helper()
	c, s := pipe.New(pipe.Options{})
	var hangups netconn.Hangups
	defer hangups.Close()
	_, wait := serve(s, &ServerOptions{Hangups: &hangups}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		gone := make(chan *httpmsg.ResetError, 1)
		w.OnReset(func(why *httpmsg.ResetError) { gone <- why })
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
		_, _ = io.WriteString(c, "bytes")
		f(c, r, w, gone)
	}})
	_, _ = io.WriteString(c, "CONNECT b:1 HTTP/1.1\r\n\r\n")
	_ = wait()
}
