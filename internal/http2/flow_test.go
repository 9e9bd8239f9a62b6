package http2

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ginnel/ginnel/httpmsg"
)

// TestSmallWindows: many bodies share a connection's window that is smaller than each.
func TestSmallWindows(t *testing.T) {
	o := Options{StreamWindow: 65535, ConnectionWindow: 65535}
	p := newPair(t, &ServerOptions{Options: o}, &ClientOptions{o}, &handler{answer: echo})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte(i)}, 300<<10)
			b := httpmsg.Bytes(body)
			r := get("/")
			r.Method, r.Body = "POST", &b
			_, got, _, err := p.roundTrip(r)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d of %d bytes: %v", len(got), len(body), err)
			}
		})
	}
	wg.Wait()
}

// TestResetsAmongBodies: streams that end in the middle take nothing from the others.
func TestResetsAmongBodies(t *testing.T) {
	o := Options{StreamWindow: 65535, ConnectionWindow: 65535}
	p := newPair(t, &ServerOptions{Options: o, ResetBurst: 1 << 20}, &ClientOptions{o}, &handler{answer: echo})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			for range 30 {
				x := p.client.Open()
				if err := x.WriteRequest(get("/"), false); err != nil {
					t.Error(err)
				}
				sent := make(chan error, 1)
				go func() { sent <- x.WriteData(make([]byte, 200<<10), true) }()
				resp, err := x.ReadResponse()
				for n := r.IntN(5); n > 0 && err == nil; n-- {
					_, err = resp.Body.Next()
				}
				x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
				if err := <-sent; err == nil {
					t.Error("all was sent behind a reset")
				}
				x.Release()
			}
		})
	}
	wg.Wait()
	body := httpmsg.Bytes(bytes.Repeat([]byte("x"), 500<<10))
	r := get("/")
	r.Body = &body
	if _, got, _, err := p.roundTrip(r); len(got) != 500<<10 || err != nil {
		t.Errorf("%d bytes: %v", len(got), err)
	}
}

// TestTrailers: they pass in both directions, but for those that frame a message.
func TestTrailers(t *testing.T) {
	p := newPair(t, nil, nil, &handler{answer: echo})
	r := get("/")
	r.Body = &trailed{httpmsg.Bytes("x"), httpmsg.Header{
		{Name: "grpc-status", Value: "0"}, {Name: "host", Value: "evil"}, {Name: "content-length", Value: "5"}, {Name: "x-t", Value: "1"},
	}}
	_, body, trailer, err := p.roundTrip(r)
	want := httpmsg.Header{{Name: "grpc-status", Value: "0"}, {Name: "x-t", Value: "1"}}
	if err != nil || string(body) != "x" || !slices.Equal(trailer, want) {
		t.Errorf("%q, %v, %v", body, trailer, err)
	}
}

type trailed struct {
	httpmsg.Bytes
	trailer httpmsg.Header
}

func (b *trailed) Trailer() httpmsg.Header { return b.trailer }

// TestLongHead: a head longer than a frame goes on in CONTINUATION.
func TestLongHead(t *testing.T) {
	p := newPair(t, nil, nil, &handler{answer: echo})
	r := get("/")
	for _, c := range "abc" {
		r.Header.Add("x-"+string(c), strings.Repeat(string(c), 15<<10))
	}
	resp, _, _, err := p.roundTrip(r)
	if err != nil || !slices.Equal(resp.Header, r.Header) {
		t.Error(err)
	}
}

// TestWireAndActive: bytes of a stream and of its connection, and how many requests there
// were at a time.
func TestWireAndActive(t *testing.T) {
	wires := make(chan httpmsg.Wire, 1)
	h := &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		echo(r, w)
		wires <- w.(httpmsg.Metered).Wire()
	}}
	p := newPair(t, nil, nil, h)
	x := p.client.Open()
	_ = x.WriteRequest(get("/"), false)
	_ = x.WriteData(make([]byte, 100), true)
	resp, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	_, _, _ = readAll(resp.Body)
	near, far := x.(httpmsg.Metered).Wire(), <-wires
	x.Release()
	mirrored := httpmsg.Wire{Received: far.Sent, Sent: far.Received, HeaderReceived: far.HeaderSent, HeaderSent: far.HeaderReceived,
		PlainReceived: far.PlainSent, PlainSent: far.PlainReceived}
	if near != mirrored || near.Sent-near.HeaderSent != 100+frameHeaderSize {
		t.Errorf("%+v here, %+v there", near, far)
	}
	p.client.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	<-p.owner.closed
	p.owner.closed <- nil
	<-p.served
	p.served <- nil
	if received, _ := p.server.Bytes(); received < near.Sent {
		t.Errorf("%d bytes received, %d of them of the stream", received, near.Sent)
	}
	if !slices.Equal(h.active, []int{1, 0}) {
		t.Errorf("active: %v", h.active)
	}
}

// TestOnReset: f is called once, also for what has happened already, and not after it
// was taken back.
func TestOnReset(t *testing.T) {
	taken, done := make(chan struct{}), make(chan []httpmsg.Reason, 1)
	p := newPair(t, nil, nil, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
		told := make(chan *httpmsg.ResetError, 3)
		w.OnReset(func(*httpmsg.ResetError) { told <- &httpmsg.ResetError{Reason: httpmsg.Overflow} })
		w.OnReset(nil)
		close(taken)
		w.OnReset(func(why *httpmsg.ResetError) { told <- why })
		reasons := []httpmsg.Reason{(<-told).Reason}
		w.OnReset(func(why *httpmsg.ResetError) { told <- why })
		reasons = append(reasons, (<-told).Reason)
		w.OnReset(nil)
		done <- reasons
	}})
	x := p.client.Open()
	_ = x.WriteRequest(get("/"), false)
	<-taken
	x.Release()
	if got := <-done; !slices.Equal(got, []httpmsg.Reason{httpmsg.RemoteReset, httpmsg.RemoteReset}) {
		t.Error(got)
	}
}

// TestOnResetMeanwhile: who asks while another one is told is told, too.
func TestOnResetMeanwhile(t *testing.T) {
	asks, told := make(chan struct{}), make(chan struct{})
	p := newPair(t, nil, nil, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
		under, on := make(chan struct{}), make(chan struct{})
		w.OnReset(func(*httpmsg.ResetError) {
			close(under)
			<-on
		})
		close(asks)
		<-under
		w.OnReset(func(*httpmsg.ResetError) { close(told) })
		close(on)
		<-told
		w.OnReset(nil)
	}})
	x := p.client.Open()
	_ = x.WriteRequest(get("/"), false)
	<-asks
	x.Release()
	<-told
}
