package http1

import (
	"io"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
)

// TestHostGone: who sends to a tunnel whose host has ended its direction hears when the
// host then takes nothing any more, and of no half close.
func TestHostGone(t *testing.T) {
	connect := &httpmsg.Request{Method: "CONNECT", Authority: "a:1"}
	upgrade := &httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Upgrade: "foo"}
	for _, kind := range []string{"pipe", "socket"} {
		for name, end := range map[string]func(filter.Stream) error{"close": filter.Stream.Close, "reset": filter.Stream.Reset} {
			if kind == "socket" && name == "close" {
				continue // nothing tells it from a half close
			}
			for _, r := range []*httpmsg.Request{connect, upgrade} {
				t.Run(kind+"/"+name+"/"+r.Method, func(t *testing.T) { hostGone(t, kind, r, end) })
			}
		}
	}
}

func hostGone(t *testing.T, kind string, r *httpmsg.Request, end func(filter.Stream) error) {
	var hangups netconn.Hangups
	defer hangups.Close()
	cc, sc := pairs[kind](t)
	defer sc.Close()
	own := newOwner()
	c := NewClient(cc, &ClientOptions{Hangups: &hangups}, own)
	x := exchangeOf(t, c)
	if err := x.WriteRequest(r, false); err != nil || x.Flush() != nil {
		t.Fatal(err)
	}
	answer := "HTTP/1.1 200 OK\r\n\r\n"
	if r.Upgrade != "" {
		answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n"
	}
	_, _ = io.WriteString(sc, answer+"bytes")
	_ = sc.CloseWrite()
	mustRead(t, x, "bytes")
	told := make(chan *httpmsg.ResetError, 2)
	x.(httpmsg.Watched).OnReset(func(why *httpmsg.ResetError) { told <- why })
	if len(told) > 0 {
		t.Error("a half close is taken for a close")
	}
	_ = end(sc)
	if why := <-told; why.Reason != httpmsg.ConnectionTermination {
		t.Error(why)
	}
	x.(httpmsg.Watched).OnReset(func(why *httpmsg.ResetError) { told <- why })
	if len(told) != 1 {
		t.Errorf("who asks later is told %d times", len(told))
	}
	x.Release()
	<-own.closed
}

// TestHostOfWholeExchange: an end behind a whole exchange is none of it.
func TestHostOfWholeExchange(t *testing.T) {
	var hangups netconn.Hangups
	defer hangups.Close()
	cc, sc := pairs["pipe"](t)
	own := newOwner()
	c := NewClient(cc, &ClientOptions{Hangups: &hangups}, own)
	x := exchangeOf(t, c)
	x.(httpmsg.Watched).OnReset(func(why *httpmsg.ResetError) { t.Error(why) })
	mustSend(t, x, true)
	_, _ = io.WriteString(sc, okResponse)
	_ = sc.Close()
	mustRead(t, x, "ok")
	x.Release()
	<-own.closed
}

// TestClientOfTunnelGone: a client that ends its direction of a tunnel, and then resets it,
// is heard of though nobody reads any more; so is one whose reset comes while its tunnel
// is answered, and nobody reads yet.
func TestClientOfTunnelGone(t *testing.T) {
	for _, kind := range []string{"pipe", "socket"} {
		for name, answered := range map[string]bool{"half closed": true, "not answered": false} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				var hangups netconn.Hangups
				defer hangups.Close()
				c, s := pairs[kind](t)
				_, wait := serve(s, &ServerOptions{Hangups: &hangups}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
					gone := make(chan *httpmsg.ResetError, 1)
					w.OnReset(func(why *httpmsg.ResetError) { gone <- why })
					if answered {
						_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
						_ = w.Flush()
						_ = c.CloseWrite()
						_, _ = readBody(t, r.Body)
					}
					if len(gone) > 0 {
						t.Error("a half close is taken for a close")
					}
					_ = c.Reset()
					if why := <-gone; why.Reason != httpmsg.ConnectionTermination {
						t.Error(why)
					}
				}})
				_, _ = io.WriteString(c, "CONNECT b:1 HTTP/1.1\r\n\r\n")
				if wait() == nil {
					t.Error("Serve ended in order")
				}
			})
		}
	}
}

// A slowEnd is a server's end of a pipe: who ends its direction comes back when the other
// side has seen that, and done what afterwards waits for.
type slowEnd struct {
	*pipe.Conn
	afterwards func()
}

func (c slowEnd) CloseWrite() error {
	err := c.Conn.CloseWrite()
	c.afterwards()
	return err
}

// TestClientOfTunnelDone: a client that ends its direction of a tunnel, and then closes it,
// because the host has ended its own, is not gone: nothing of the tunnel is missing, though
// who sends the host's end may not have come back from that.
func TestClientOfTunnelDone(t *testing.T) {
	var hangups netconn.Hangups
	defer hangups.Close()
	c, s := pipe.New(pipe.Options{})
	read := make(chan struct{})
	end := slowEnd{s, func() {
		_ = c.CloseWrite()
		_ = c.Close()
		<-read
	}}
	_, wait := serve(end, &ServerOptions{Hangups: &hangups}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		w.OnReset(func(why *httpmsg.ResetError) { t.Error(why) })
		var reader sync.WaitGroup
		defer reader.Wait()
		reader.Go(func() {
			defer close(read)
			if _, err := r.Body.Next(); err != io.EOF {
				t.Error(err)
			}
		})
		if err := w.WriteResponse(&httpmsg.Response{Status: 200}, true); err != nil {
			t.Error(err)
		}
	}})
	_, _ = io.WriteString(c, "CONNECT b:1 HTTP/1.1\r\n\r\n")
	if err := wait(); err != nil {
		t.Error(err)
	}
}
