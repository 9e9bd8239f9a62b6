package http1

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
	"github.com/ginnel/ginnel/internal/netconn"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler answers by functions; nil ones do what most tests want.
type handler struct {
	answer func(r *httpmsg.Request, w httpmsg.Responder)
	refuse func(r *httpmsg.Request, w httpmsg.Responder, status int, why *httpmsg.ResetError)
	active func(n int)
}

func (h *handler) Answer(r *httpmsg.Request, w httpmsg.Responder) {
	if h.answer == nil {
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, true)
		return
	}
	h.answer(r, w)
}

func (h *handler) Refuse(r *httpmsg.Request, w httpmsg.Responder, status int, why *httpmsg.ResetError) {
	if h.refuse != nil {
		h.refuse(r, w, status, why)
		return
	}
	_ = w.WriteResponse(&httpmsg.Response{Status: status, Header: httpmsg.Header{{Name: "x-details", Value: why.Details}}}, true)
}

func (h *handler) Active(n int) {
	if h.active != nil {
		h.active(n)
	}
}

// owner remembers what a Client has told.
type owner struct {
	changed, draining chan struct{}
	closed            chan *httpmsg.ResetError
}

func newOwner() *owner {
	return &owner{make(chan struct{}, 100), make(chan struct{}, 100), make(chan *httpmsg.ResetError, 100)}
}

func (o *owner) Changed()                       { o.changed <- struct{}{} }
func (o *owner) Draining()                      { o.draining <- struct{}{} }
func (o *owner) Closed(why *httpmsg.ResetError) { o.closed <- why }

// pairs are the kinds of connections under a codec.
var pairs = map[string]func(testing.TB) (client, server filter.Stream){
	"pipe": func(testing.TB) (client, server filter.Stream) {
		c, s := pipe.New(pipe.Options{})
		return c, s
	},
	"socket": socketPair,
	"plain": func(testing.TB) (client, server filter.Stream) {
		c, s := pipe.New(pipe.Options{})
		return plain{c}, plain{s}
	},
}

// plain hides what a stream can do beyond its interface.
type plain struct{ filter.Stream }

func socketPair(t testing.TB) (client, server filter.Stream) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type accepted struct {
		c   net.Conn
		err error
	}
	ch := make(chan accepted, 1)
	go func() {
		c, err := l.Accept()
		ch <- accepted{c, err}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a := <-ch
	if a.err != nil {
		t.Fatal(a.err)
	}
	return detach(t, c), detach(t, a.c)
}

// detach makes a socket of ours of one of package net's.
func detach(t testing.TB, c net.Conn) *netconn.Socket {
	t.Helper()
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	c.Close()
	s, err := netconn.New(fd, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve runs a server on conn; wait returns what Serve did.
func serve(conn filter.Stream, o *ServerOptions, h *handler) (s *Server, wait func() error) {
	s = NewServer(conn, o, h)
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	return s, func() error { return <-done }
}

func eachPair(t *testing.T, f func(t *testing.T, client, server filter.Stream)) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			c, s := pair(t)
			defer c.Close()
			defer s.Close()
			f(t, c, s)
		})
	}
}

// readBody returns a body and its trailers.
func readBody(t testing.TB, b httpmsg.Body) (string, httpmsg.Header) {
	t.Helper()
	if b == nil {
		return "", nil
	}
	var out bytes.Buffer
	for {
		p, err := b.Next()
		out.Write(p)
		switch {
		case err == io.EOF:
			return out.String(), b.Trailer()
		case err != nil:
			t.Errorf("body: %v", err)
			return out.String(), nil
		}
	}
}

// echo answers with what was asked: the head in headers, the body as it is.
func echo(t testing.TB) func(r *httpmsg.Request, w httpmsg.Responder) {
	return func(r *httpmsg.Request, w httpmsg.Responder) {
		resp := &httpmsg.Response{Status: 200}
		resp.Header.Add("x-start", r.Method+" "+r.Path+" "+r.Authority)
		for _, f := range r.Header {
			if strings.HasPrefix(f.Name, "x-") || f.Name == "content-length" {
				resp.Header = append(resp.Header, f)
			}
		}
		if r.Body == nil {
			_ = w.WriteResponse(resp, true)
			return
		}
		body, trailer := readBody(t, r.Body)
		if err := w.WriteResponse(resp, false); err != nil {
			t.Errorf("WriteResponse: %v", err)
			return
		}
		if err := w.WriteData([]byte(body), trailer == nil); err != nil {
			t.Errorf("WriteData: %v", err)
		}
		if trailer != nil {
			if err := w.WriteTrailer(trailer); err != nil {
				t.Errorf("WriteTrailer: %v", err)
			}
		}
	}
}

func exchangeOf(t testing.TB, c *Client) httpmsg.Exchange {
	t.Helper()
	x := c.Open()
	if x == nil {
		t.Fatal("no room")
	}
	return x
}

// send sends a request, its body from a goroutine of its own; wait tells when all of it
// was sent.
func send(t testing.TB, x httpmsg.Exchange, r *httpmsg.Request, body string, trailer httpmsg.Header) (wait func()) {
	t.Helper()
	if err := x.WriteRequest(r, body == "" && trailer == nil); err != nil {
		t.Fatalf("WriteRequest: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := []byte(body); len(p) > 0; {
			n := min(len(p), 64<<10)
			if err := x.WriteData(p[:n], n == len(p) && trailer == nil); err != nil {
				t.Errorf("WriteData: %v", err)
				return
			}
			p = p[n:]
		}
		if trailer != nil {
			if err := x.WriteTrailer(trailer); err != nil {
				t.Errorf("WriteTrailer: %v", err)
			}
		}
	}()
	return func() { <-done }
}

func TestRoundTrips(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 100_000)
	tests := []struct {
		name, body string
		length     string // content-length; "": chunked
		trailer    httpmsg.Header
	}{
		{name: "no body"},
		{name: "length", body: "hello", length: "5"},
		{name: "chunked", body: "hello"},
		{name: "big length", body: big, length: "1600000"},
		{name: "big chunked", body: big},
		{name: "trailers", body: "hello", trailer: httpmsg.Header{{Name: "x-sum", Value: "5"}}},
		{name: "trailers alone", trailer: httpmsg.Header{{Name: "x-sum", Value: "0"}}},
	}
	eachPair(t, func(t *testing.T, cc, sc filter.Stream) {
		_, wait := serve(sc, &ServerOptions{EnableTrailers: true}, &handler{answer: echo(t)})
		o := newOwner()
		c := NewClient(cc, &ClientOptions{EnableTrailers: true}, o)
		for _, tt := range tests {
			x := exchangeOf(t, c)
			r := &httpmsg.Request{Method: "POST", Path: "/" + strings.ReplaceAll(tt.name, " ", "-"), Authority: "host:1"}
			r.Header.Add("x-a", "1")
			if tt.length != "" {
				r.Header.Add("content-length", tt.length)
			}
			sent := send(t, x, r, tt.body, tt.trailer)
			resp, err := x.ReadResponse()
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if got, want := resp.Header.Get("x-start"), "POST "+r.Path+" host:1"; got != want || resp.Status != 200 {
				t.Errorf("%s: %d %q, want 200 %q", tt.name, resp.Status, got, want)
			}
			body, trailer := readBody(t, resp.Body)
			if body != tt.body {
				t.Errorf("%s: body of %d bytes, want %d", tt.name, len(body), len(tt.body))
			}
			if got, want := trailer.Get("x-sum"), tt.trailer.Get("x-sum"); got != want {
				t.Errorf("%s: trailer %q, want %q", tt.name, got, want)
			}
			sent()
			x.Release()
			if c.Room() != 1 {
				t.Fatalf("%s: the connection is not used again", tt.name)
			}
		}
		c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		<-o.closed
		if err := wait(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}
