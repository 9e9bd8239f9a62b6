package http1

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
)

// TestClientReuse is about exchanges that leave a connection in doubt.
func TestClientReuse(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	tests := []struct {
		name string
		in   string
		use  func(t *testing.T, x httpmsg.Exchange)
		want int
	}{
		{"never used", "", func(*testing.T, httpmsg.Exchange) {}, 1},
		{"whole", ok, func(t *testing.T, x httpmsg.Exchange) {
			mustSend(t, x, true)
			mustRead(t, x, "ok")
		}, 1},
		{"body not read, but there", ok, func(t *testing.T, x httpmsg.Exchange) {
			mustSend(t, x, true)
			if _, err := x.ReadResponse(); err != nil {
				t.Error(err)
			}
		}, 1},
		{"body not read", ok[:len(ok)-1], func(t *testing.T, x httpmsg.Exchange) {
			mustSend(t, x, true)
			if _, err := x.ReadResponse(); err != nil {
				t.Error(err)
			}
		}, 0},
		{"response not read", ok, func(t *testing.T, x httpmsg.Exchange) { mustSend(t, x, true) }, 0},
		{"response before the request's end", ok, func(t *testing.T, x httpmsg.Exchange) {
			mustSend(t, x, false)
			mustRead(t, x, "ok")
		}, 0},
		{"reset", ok, func(t *testing.T, x httpmsg.Exchange) {
			mustSend(t, x, true)
			x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		}, 0},
		{"reset when it was over", ok, func(t *testing.T, x httpmsg.Exchange) {
			mustSend(t, x, true)
			mustRead(t, x, "ok")
			x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cc, sc := pipe.New(pipe.Options{})
			defer sc.Close()
			own := newOwner()
			c := NewClient(cc, nil, own)
			x := exchangeOf(t, c)
			if tt.in != "" {
				if _, err := io.WriteString(sc, tt.in); err != nil {
					t.Fatal(err)
				}
			}
			tt.use(t, x)
			x.Release()
			if got := c.Room(); got != tt.want {
				t.Errorf("room %d, want %d", got, tt.want)
			}
			if tt.want == 1 {
				<-own.changed
				c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
			}
			<-own.draining
			<-own.closed
			if n := len(own.changed) + len(own.draining) + len(own.closed); n > 0 {
				t.Errorf("%d further calls", n)
			}
		})
	}
}

func mustSend(t *testing.T, x httpmsg.Exchange, end bool) {
	t.Helper()
	if err := x.WriteRequest(&httpmsg.Request{Method: "POST", Path: "/", Authority: "a"}, end); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, x httpmsg.Exchange, want string) {
	t.Helper()
	resp, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := readBody(t, resp.Body); got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

// whole has a request answered, and returns when the connection is idle again.
func whole(t *testing.T, c *Client, own *owner, server io.ReadWriter) {
	t.Helper()
	x := exchangeOf(t, c)
	go func() {
		_, _ = server.Read(make([]byte, 1000))
		_, _ = io.WriteString(server, okResponse)
	}()
	mustSend(t, x, true)
	mustRead(t, x, "ok")
	x.Release()
	<-own.changed
}

// TestStaleConnection: what a server sends unasked is not taken for the next response,
// and an idle connection that it has closed is not used.
func TestStaleConnection(t *testing.T) {
	for _, kind := range []string{"pipe", "socket"} {
		for name, stir := range map[string]func(io.WriteCloser){
			"bytes": func(w io.WriteCloser) { _, _ = io.WriteString(w, okResponse) },
			"end":   func(w io.WriteCloser) { _ = w.Close() },
		} {
			t.Run(name+" on a "+kind, func(t *testing.T) {
				cc, sc := pairs[kind](t)
				defer sc.Close()
				own := newOwner()
				c := NewClient(cc, nil, own)
				whole(t, c, own, sc)
				stir(sc) // on the loopback interface what was sent has arrived
				if x := c.Open(); x != nil {
					t.Fatal("the connection was used again")
				}
				<-own.draining
				<-own.closed
			})
		}
	}
}

// TestWatchedConnection: an idle connection that its server closes is given up at once,
// and bytes that nobody asked for are found when the next request is sent.
func TestWatchedConnection(t *testing.T) {
	var hangups netconn.Hangups
	defer hangups.Close()
	for _, kind := range []string{"pipe", "socket"} {
		t.Run("end of a "+kind, func(t *testing.T) {
			cc, sc := pairs[kind](t)
			own := newOwner()
			c := NewClient(cc, &ClientOptions{Hangups: &hangups}, own)
			whole(t, c, own, sc)
			_ = sc.Close()
			<-own.draining
			if why := <-own.closed; why.Reason != httpmsg.ConnectionTermination {
				t.Error(why)
			}
			if c.Open() != nil {
				t.Error("the connection was used again")
			}
		})
	}
	for _, end := range []bool{true, false} {
		t.Run(fmt.Sprint("bytes, whole request: ", end), func(t *testing.T) {
			cc, sc := socketPair(t)
			defer sc.Close()
			own := newOwner()
			c := NewClient(cc, &ClientOptions{Hangups: &hangups}, own)
			whole(t, c, own, sc)
			_, _ = io.WriteString(sc, okResponse)
			rest(c, -time.Hour) // it is used again before anybody looks
			x := exchangeOf(t, c)
			err := x.WriteRequest(&httpmsg.Request{Method: "POST", Path: "/", Authority: "a"}, end)
			if err == nil {
				_, err = x.ReadResponse()
			}
			if err == nil || !strings.Contains(err.Error(), "nobody asked") {
				t.Errorf("%v", err)
			}
			x.Release()
			<-own.closed
			if b, _ := io.ReadAll(sc); len(b) > 0 {
				t.Errorf("%q was sent", b)
			}
		})
	}
}

// watchedClient returns a client on a socket that hears of hang-ups, and the server's end.
func watchedClient(t *testing.T) (*Client, filter.Stream, *owner) {
	hangups := new(netconn.Hangups)
	cc, sc := socketPair(t)
	t.Cleanup(func() {
		sc.Close()
		hangups.Close()
	})
	own := newOwner()
	return NewClient(cc, &ClientOptions{Hangups: hangups}, own), sc, own
}

// TestRestedConnection: bytes that came to a connection while it rested cost no request.
func TestRestedConnection(t *testing.T) {
	c, sc, own := watchedClient(t)
	whole(t, c, own, sc)
	_, _ = io.WriteString(sc, "\r\n") // as old servers send behind an answer
	rest(c, time.Hour)
	if c.Open() != nil {
		t.Error("the connection was used again")
	}
	<-own.closed
}

// TestLookedAt: a connection that has rested is looked at before it is used again, and
// serves as one that has not.
func TestLookedAt(t *testing.T) {
	c, sc, own := watchedClient(t)
	for range 20 { // as often as it takes for others to go first, or not
		whole(t, c, own, sc)
		rest(c, time.Hour)
		whole(t, c, own, sc)
		rest(c, -time.Hour)
	}
	c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	<-own.closed
}

// rest has c rest for so long.
func rest(c *Client, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rested = time.Since(c.born) - d
}

// TestHangupUnderWay: a server that ends the connection behind its response, without
// saying so in it, may do so before the exchange is released.
func TestHangupUnderWay(t *testing.T) {
	for _, kind := range []string{"pipe", "socket"} {
		t.Run(kind, func(t *testing.T) {
			cc, sc := pairs[kind](t)
			own, watch := newOwner(), &hangups{}
			c := NewClient(cc, &ClientOptions{Hangups: watch}, own)
			x := exchangeOf(t, c)
			go func() {
				_, _ = sc.Read(make([]byte, 1000))
				_, _ = io.WriteString(sc, okResponse)
				_ = sc.Close()
			}()
			mustSend(t, x, true)
			mustRead(t, x, "ok")
			watch.f()
			x.Release()
			if c.Room() != 0 {
				t.Fatal("the connection is kept")
			}
			if why := <-own.closed; why.Reason != httpmsg.ConnectionTermination {
				t.Error(why)
			}
		})
	}
}

// hangups keeps the function that it is given.
type hangups struct{ f func() }

func (h *hangups) Watch(_ filter.Stream, f func()) (stop func()) {
	h.f = f
	return func() {}
}
