package http2

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// An handler is a ServerHandler of functions.
type handler struct {
	answer func(r *httpmsg.Request, w httpmsg.Responder)
	refuse func(r *httpmsg.Request, status int, why *httpmsg.ResetError)
	quiet  bool // active is not kept
	mu     sync.Mutex
	active []int
}

func (h *handler) Answer(r *httpmsg.Request, w httpmsg.Responder) { h.answer(r, w) }

func (h *handler) Refuse(r *httpmsg.Request, _ httpmsg.Responder, status int, why *httpmsg.ResetError) {
	if h.refuse != nil {
		h.refuse(r, status, why)
	}
}

func (h *handler) Active(n int) {
	if h.quiet {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.active = append(h.active, n)
}

// An owner is a ClientOwner that tells what it was told.
type owner struct {
	changed, draining chan struct{}
	closed            chan *httpmsg.ResetError
}

func newOwner() *owner {
	return &owner{make(chan struct{}, 1000), make(chan struct{}, 10), make(chan *httpmsg.ResetError, 10)}
}

func (o *owner) Changed() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}
func (o *owner) Draining()                      { o.draining <- struct{}{} }
func (o *owner) Closed(why *httpmsg.ResetError) { o.closed <- why }

// A pair is a client and a server that talk.
type pair struct {
	t      testing.TB
	client *Client
	server *Server
	owner  *owner
	h      *handler
	served chan error
}

func newPair(t testing.TB, so *ServerOptions, co *ClientOptions, h *handler) *pair {
	a, b := pipe.New(pipe.Options{})
	p := &pair{t: t, owner: newOwner(), h: h, served: make(chan error, 1)}
	p.server = NewServer(b, so, h)
	go func() { p.served <- p.server.Serve() }()
	p.client = NewClient(a, co, p.owner)
	t.Cleanup(func() {
		p.client.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		<-p.owner.closed
		<-p.served
	})
	return p
}

func get(path string) *httpmsg.Request {
	return &httpmsg.Request{Method: "GET", Scheme: "http", Authority: "a.test", Path: path}
}

// roundTrip sends a request and returns the response with its body.
func (p *pair) roundTrip(r *httpmsg.Request) (*httpmsg.Response, []byte, httpmsg.Header, error) {
	x := p.client.Open()
	if x == nil {
		return nil, nil, nil, errors.New("no room")
	}
	defer x.Release()
	if err := x.WriteRequest(r, r.Body == nil); err != nil {
		return nil, nil, nil, err
	}
	sent := make(chan error, 1)
	if r.Body != nil {
		go func() {
			_, _, err := httpmsg.Copy(x, r.Body)
			sent <- err
		}()
	} else {
		sent <- nil
	}
	resp, err := x.ReadResponse()
	if err != nil {
		<-sent
		return nil, nil, nil, err
	}
	out := *resp
	out.Header = resp.Header.Clone()
	body, trailer, err := readAll(resp.Body)
	<-sent
	return &out, body, trailer.Clone(), err
}

func readAll(b httpmsg.Body) ([]byte, httpmsg.Header, error) {
	if b == nil {
		return nil, nil, nil
	}
	var all bytes.Buffer
	for {
		p, err := b.Next()
		all.Write(p)
		if err == io.EOF {
			return all.Bytes(), b.Trailer(), nil
		}
		if err != nil {
			return all.Bytes(), nil, err
		}
	}
}

// echo answers with the body and the trailers of the request.
func echo(r *httpmsg.Request, w httpmsg.Responder) {
	_ = w.WriteResponse(&httpmsg.Response{Status: 200, Header: r.Header}, r.Body == nil)
	if r.Body != nil {
		_, _, _ = httpmsg.Copy(w, r.Body)
	}
}

func TestEcho(t *testing.T) {
	p := newPair(t, nil, nil, &handler{answer: echo})
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // more than queues and pieces
	for _, body := range [][]byte{nil, []byte("x"), []byte("hello"), large} {
		r := get("/")
		r.Method = "POST"
		r.Header = httpmsg.Header{{Name: "x-a", Value: "1"}, {Name: "x-b", Value: "2"}}
		if body != nil {
			b := httpmsg.Bytes(body)
			r.Body = &b
		}
		resp, got, _, err := p.roundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Status != 200 || resp.Header.Get("x-a") != "1" || resp.Header.Get("x-b") != "2" || !bytes.Equal(got, body) {
			t.Fatalf("body of %d: %d, %v, %d bytes", len(body), resp.Status, resp.Header, len(got))
		}
	}
}

func TestConcurrent(t *testing.T) {
	p := newPair(t, nil, nil, &handler{answer: echo})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 20 {
				body := bytes.Repeat([]byte{byte(i), byte(j)}, 5000*(j%5)+1)
				b := httpmsg.Bytes(body)
				r := get("/")
				r.Method, r.Body = "POST", &b
				_, got, _, err := p.roundTrip(r)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes of %d: %v", len(got), len(body), err)
				}
			}
		})
	}
	wg.Wait()
}
