package http2

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// dialClient returns a client, and its server as a peer that has read the preface.
func dialClient(t testing.TB, o *ClientOptions, settings ...xhttp2.Setting) (*Client, *peer, *owner) {
	a, b := pipe.New(pipe.Options{})
	w := newOwner()
	v := NewClient(a, o, w)
	p := newPeer(t, b)
	preface := make([]byte, len(clientPreface))
	if _, err := io.ReadFull(b, preface); err != nil || string(preface) != clientPreface {
		t.Fatalf("preface is %q: %v", preface, err)
	}
	_ = p.fr.WriteSettings(settings...)
	p.expect() // the settings are obeyed
	t.Cleanup(func() {
		v.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		_ = b.Close()
		<-w.closed
	})
	return v, p, w
}

func begin(t testing.TB, v *Client, r *httpmsg.Request, end bool) httpmsg.Exchange {
	t.Helper()
	x := v.Open()
	if x == nil {
		t.Fatal("no room")
	}
	if err := x.WriteRequest(r, end); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	return x
}

func reasonOf(err error) httpmsg.Reason {
	var why *httpmsg.ResetError
	if errors.As(err, &why) {
		return why.Reason
	}
	return 0
}

// TestClientFrames sends sequences of frames in answer to a request with a body under
// way.
func TestClientFrames(t *testing.T) {
	status := func(s string, end bool, more ...string) func(*peer) {
		return func(p *peer) { p.headers(1, end, append([]string{":status: " + s}, more...)...) }
	}
	reset := func(code xhttp2.ErrCode) func(*peer) {
		return func(p *peer) { _ = p.fr.WriteRSTStream(1, code) }
	}
	goAway := goAwayFor("0", "PROTOCOL_ERROR")
	for _, c := range []struct {
		name   string
		send   func(p *peer)
		reason httpmsg.Reason // of what ReadResponse or the body says; 0: all is well
		want   []string
	}{
		{"200", status("200", true), 0, nil},
		{"1xx first", func(p *peer) { status("103", false)(p); status("200", true)(p) }, 0, nil},
		{"trailers", func(p *peer) { status("200", false)(p); p.headers(1, true, "x-t: 1") }, 0, nil},
		{"no status", func(p *peer) { p.headers(1, true, "a: b") }, httpmsg.ProtocolError, goAway},
		{"bad status", status("20", true), httpmsg.ProtocolError, goAway},
		{"status 101", status("101", false), httpmsg.ProtocolError, goAway},
		{"1xx that ends", status("103", true), httpmsg.ProtocolError, goAway},
		{"connection header", status("200", true, "connection: close"), httpmsg.ProtocolError, goAway},
		{"method in a response", status("200", true, ":method: GET"), httpmsg.ProtocolError, goAway},
		{"length, no content", status("200", true, "content-length: 1"), httpmsg.ProtocolError, goAway},
		{"304 with a length", status("304", true, "content-length: 1"), 0, nil},
		{"204 with content", func(p *peer) { status("204", false)(p); _ = p.fr.WriteData(1, true, []byte("x")) }, httpmsg.ProtocolError, []string{"RST 1 PROTOCOL_ERROR"}},
		{"DATA first", func(p *peer) { _ = p.fr.WriteData(1, true, []byte("x")) }, httpmsg.ProtocolError, []string{"RST 1 PROTOCOL_ERROR"}},
		{"many headers", status("200", true, strings.Split(strings.Repeat("a: b|", 99)+"a: b", "|")...), httpmsg.RemoteReset, []string{"RST 1 INTERNAL_ERROR"}},
		{"many 1xx", func(p *peer) {
			for range 101 {
				status("103", false)(p)
			}
		}, httpmsg.ProtocolError, []string{"RST 1 ENHANCE_YOUR_CALM"}},
		{"cut short", func(p *peer) { status("200", false, "content-length: 2")(p); _ = p.fr.WriteData(1, true, []byte("x")) }, httpmsg.ProtocolError, []string{"RST 1 PROTOCOL_ERROR"}},
		{"CANCEL", reset(xhttp2.ErrCodeCancel), httpmsg.RemoteReset, nil},
		{"REFUSED_STREAM", reset(xhttp2.ErrCodeRefusedStream), httpmsg.RemoteRefused, nil},
		{"PROTOCOL_ERROR", reset(xhttp2.ErrCodeProtocol), httpmsg.ProtocolError, nil},
		{"CONNECT_ERROR", reset(xhttp2.ErrCodeConnect), httpmsg.ConnectError, nil},
		{"NO_ERROR behind the response", func(p *peer) { status("200", true)(p); reset(0)(p) }, 0, nil},
		{"reset in the body", func(p *peer) { status("200", false)(p); reset(2)(p) }, httpmsg.RemoteReset, nil},
		{"end of the connection", func(p *peer) { _ = p.nc.Close() }, httpmsg.ConnectionTermination, []string{"io: read/write on closed pipe"}},
		{"GOAWAY below", func(p *peer) { _ = p.fr.WriteGoAway(0, 0, nil) }, httpmsg.RemoteRefused, nil},
		{"push", func(p *peer) {
			_ = p.fr.WritePushPromise(xhttp2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, httpmsg.ProtocolError, goAway},
		{"ENABLE_PUSH 1", func(p *peer) { _ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 1}) }, httpmsg.ProtocolError, goAway},
		{"HEADERS on an idle stream", func(p *peer) { p.headers(3, true, ":status: 200") }, httpmsg.ProtocolError, goAway},
		{"even stream", func(p *peer) { p.headers(2, true, ":status: 200") }, httpmsg.ProtocolError, goAway},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, p, _ := dialClient(t, nil)
			x := begin(t, v, get("/"), false)
			if got := p.next(); got != "HEADERS 1 " {
				t.Fatal(got)
			}
			c.send(p)
			r, err := x.ReadResponse()
			for err == nil && r.Informational() {
				r, err = x.ReadResponse()
			}
			if err == nil {
				_, _, err = readAll(r.Body)
			}
			if reasonOf(err) != c.reason || (err == nil) != (c.reason == 0) {
				t.Errorf("the response ended with %v", err)
			}
			if c.want != nil && !strings.HasPrefix(c.want[0], "io:") {
				p.expect(c.want...)
			}
			x.Release()
		})
	}
}

// TestBeforeReset: what came before the server's reset is delivered first, what a reset of
// this side's own drops is not.
func TestBeforeReset(t *testing.T) {
	for _, ours := range []bool{false, true} {
		v, p, _ := dialClient(t, nil)
		x := begin(t, v, get("/"), true)
		p.expect("HEADERS 1  END")
		p.headers(1, false, ":status: 103")
		p.headers(1, false, ":status: 200", "a: b")
		_ = p.fr.WriteData(1, false, []byte("part"))
		_ = p.fr.WriteRSTStream(1, xhttp2.ErrCodeInternal)
		p.expect() // all of that has come
		if ours {
			x.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
			if r, err := x.ReadResponse(); err == nil {
				t.Errorf("a response came after the reset: %v", r)
			}
			x.Release()
			continue
		}
		early, _ := x.ReadResponse()
		r, err := x.ReadResponse()
		if err != nil || early.Status != 103 || r.Status != 200 || r.Header.Get("a") != "b" {
			t.Fatal(r, err)
		}
		if all, _, err := readAll(r.Body); string(all) != "part" || reasonOf(err) != httpmsg.RemoteReset {
			t.Errorf("the body was %q, and ended with %v", all, err)
		}
		x.Release()
	}
}

// TestRefusedBehindResponse: a server that has answered and takes no more is heard of, and
// its response stays whole.
func TestRefusedBehindResponse(t *testing.T) {
	v, p, _ := dialClient(t, nil)
	x := begin(t, v, get("/"), false)
	defer x.Release()
	told := make(chan *httpmsg.ResetError, 1)
	x.(httpmsg.Watched).OnReset(func(why *httpmsg.ResetError) { told <- why })
	p.expect("HEADERS 1 ")
	p.headers(1, false, ":status: 200")
	_ = p.fr.WriteData(1, true, []byte("all"))
	_ = p.fr.WriteRSTStream(1, xhttp2.ErrCodeNo)
	if why := <-told; why.Reason != httpmsg.RemoteReset || why.Code != 0 {
		t.Error(why)
	}
	r, err := x.ReadResponse()
	if err != nil {
		t.Fatal(err)
	}
	if all, _, err := readAll(r.Body); string(all) != "all" || err != nil {
		t.Errorf("the body was %q, and ended with %v", all, err)
	}
	if err := x.WriteData([]byte("x"), false); reasonOf(err) != httpmsg.RemoteReset {
		t.Errorf("writing ended with %v", err)
	}
}

// TestRequestBeforeReset: a server, too, gets what came of a request before its reset.
func TestRequestBeforeReset(t *testing.T) {
	type read struct {
		body string
		err  error
	}
	took, reset := make(chan read, 1), make(chan bool)
	p := dialServer(t, nil, &handler{answer: func(r *httpmsg.Request, _ httpmsg.Responder) {
		<-reset
		all, _, err := readAll(r.Body)
		took <- read{string(all), err}
	}})
	p.post(1)
	_ = p.fr.WriteData(1, false, []byte("part"))
	_ = p.fr.WriteRSTStream(1, xhttp2.ErrCodeCancel)
	p.expect()
	close(reset)
	if got := <-took; got.body != "part" || reasonOf(got.err) != httpmsg.RemoteReset {
		t.Errorf("the body was %q, and ended with %v", got.body, got.err)
	}
}

// TestRoom: the smaller of both limits holds, and what began before the server named
// its own waits.
func TestRoom(t *testing.T) {
	v, p, w := dialClient(t, &ClientOptions{Options{MaxConcurrentStreams: 3}}, xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 2})
	if v.Room() != 2 {
		t.Fatalf("room for %d", v.Room())
	}
	x, y := begin(t, v, get("/"), true), v.Open()
	if v.Room() != 0 || v.Open() != nil {
		t.Error("room for a third one")
	}
	_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 1})
	p.expect("HEADERS 1  END")
	sent := make(chan error, 1)
	go func() { sent <- y.WriteRequest(get("/"), true) }()
	p.expect()
	p.headers(1, true, ":status: 200")
	if got := p.next(); got != "HEADERS 3  END" || <-sent != nil {
		t.Error(got)
	}
	drain(w.changed)
	x.Release()
	y.Release()
	<-w.changed
	<-w.changed
	_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 100})
	<-w.changed
	if v.Room() != 3 {
		t.Errorf("room for %d", v.Room())
	}
}

func drain(c chan struct{}) {
	for len(c) > 0 {
		<-c
	}
}

// TestGoAway: streams that the server took are finished, then the connection ends.
func TestGoAway(t *testing.T) {
	v, p, w := dialClient(t, nil)
	x, y := begin(t, v, get("/"), true), begin(t, v, get("/"), true)
	p.expect("HEADERS 1  END", "HEADERS 3  END")
	_ = p.fr.WriteGoAway(1, xhttp2.ErrCodeNo, nil)
	<-w.draining
	if v.Open() != nil || v.Room() != 0 {
		t.Error("there is room")
	}
	if _, err := y.ReadResponse(); reasonOf(err) != httpmsg.RemoteRefused {
		t.Error(err)
	}
	p.headers(1, true, ":status: 200")
	if r, err := x.ReadResponse(); err != nil || r.Status != 200 {
		t.Error(r, err)
	}
	y.Release()
	x.Release()
	if why := <-w.closed; why.Reason != httpmsg.ConnectionTermination {
		t.Error(why)
	}
	w.closed <- nil // for the cleanup
	if got := p.next(); got != "GOAWAY 0 NO_ERROR" {
		t.Error(got)
	}
}

// TestClientHead: how requests look on the wire.
func TestClientHead(t *testing.T) {
	v, p, _ := dialClient(t, nil)
	for _, c := range []struct {
		r    httpmsg.Request
		want string
	}{
		{*get("/x"), ":method GET|:scheme http|:path /x|:authority a.test"},
		{httpmsg.Request{Method: "CONNECT", Authority: "a:1"}, ":method CONNECT|:authority a:1"},
		{httpmsg.Request{Method: "CONNECT", Scheme: "https", Authority: "a", Path: "/"}, ":method CONNECT|:scheme https|:path /|:authority a|:protocol bytestream"},
		{httpmsg.Request{Method: "GET", Upgrade: "websocket", Scheme: "http", Authority: "a", Path: "/"}, ":method CONNECT|:scheme http|:path /|:authority a|:protocol websocket"},
		{httpmsg.Request{Method: "GET", Scheme: "http", Authority: "a", Path: "/", Header: httpmsg.Header{
			{Name: "connection", Value: "x"}, {Name: "te", Value: "gzip"}, {Name: "te", Value: "trailers"}, {Name: "a", Value: "b"},
		}}, ":method GET|:scheme http|:path /|:authority a|te trailers|a b"},
	} {
		x := begin(t, v, &c.r, true)
		f, err := p.fr.ReadFrame()
		for err == nil && f.Header().Type != xhttp2.FrameHeaders {
			f, err = p.fr.ReadFrame()
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range f.(*xhttp2.MetaHeadersFrame).Fields {
			got = append(got, h.Name+" "+h.Value)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%+v became %s", c.r, s)
		}
		x.Release()
	}
}

// TestUpgradeAccepted: 200 to an extended CONNECT is what 101 is in HTTP/1, and bytes go
// both ways, each way until its own end.
func TestUpgradeAccepted(t *testing.T) {
	v, p, _ := dialClient(t, nil)
	r := get("/")
	r.Upgrade = "websocket"
	x := begin(t, v, r, false)
	defer x.Release()
	p.expect("HEADERS 1 ")
	p.headers(1, false, ":status: 200")
	resp, err := x.ReadResponse()
	if err != nil || resp.Status != 101 || resp.Body == nil {
		t.Fatal(resp, err)
	}
	_ = p.fr.WriteData(1, true, []byte("far"))
	if all, _, err := readAll(resp.Body); string(all) != "far" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
	_ = x.WriteData([]byte("near"), false)
	_ = x.Flush()
	p.expect("DATA 1 4")
	_ = x.WriteData(nil, true)
	p.expect("DATA 1 0 END")
}

// TestReleaseUnread: what was not read is reset, and its window given back.
func TestReleaseUnread(t *testing.T) {
	v, p, _ := dialClient(t, &ClientOptions{Options{StreamWindow: 65535, ConnectionWindow: 65535}})
	for id := uint32(1); id < 40; id += 2 {
		x := begin(t, v, get("/"), true)
		if got := p.next(); !strings.HasPrefix(got, "HEADERS") {
			t.Fatal(got)
		}
		p.headers(id, false, ":status: 200")
		_ = p.fr.WriteData(id, false, make([]byte, 10000))
		p.expect()
		x.Release()
		p.expect(fmt.Sprintf("RST %d INTERNAL_ERROR", id))
		_ = p.fr.WriteData(id, false, make([]byte, 10000)) // was under way
		p.expect()
	}
}

// TestIdlePing: after idle time a PING precedes the request, and no answer ends the
// connection.
func TestIdlePing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.Options{})
		w := newOwner()
		o := &ClientOptions{Options{Keepalive: Keepalive{IdleInterval: time.Minute, Timeout: time.Second}}}
		v := NewClient(a, o, w)
		p := newPeer(t, b)
		_ = b.SetDeadline(time.Time{})
		_, _ = io.ReadFull(b, make([]byte, len(clientPreface)))
		_ = p.fr.WriteSettings()
		p.expect()
		x := begin(t, v, get("/"), true)
		p.expect("HEADERS 1  END")
		x.Release()
		p.expect("RST 1 INTERNAL_ERROR")
		time.Sleep(time.Hour)
		x = begin(t, v, get("/"), true)
		start := time.Now()
		for _, want := range []string{"PING 67", "HEADERS 3  END", "GOAWAY 0 NO_ERROR", "EOF"} {
			if got := p.next(); got != want {
				t.Errorf("%s, not %s", got, want)
			}
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("given up after %v", d)
		}
		if _, err := x.ReadResponse(); reasonOf(err) != httpmsg.ConnectionTermination {
			t.Error(err)
		}
		x.Release()
		<-w.closed
		_ = b.Close()
	})
}

// TestGoAwayBeforeRequest: an exchange that was opened before GOAWAY came, and not used yet,
// is refused to who writes the request and to who reads the response.
func TestGoAwayBeforeRequest(t *testing.T) {
	v, p, w := dialClient(t, nil)
	x := v.Open()
	_ = p.fr.WriteGoAway(0, xhttp2.ErrCodeNo, nil)
	<-w.draining
	if err := x.WriteRequest(get("/"), true); reasonOf(err) != httpmsg.RemoteRefused {
		t.Error(err)
	}
	if _, err := x.ReadResponse(); reasonOf(err) != httpmsg.RemoteRefused {
		t.Error(err)
	}
	x.Release()
	<-w.closed
	w.closed <- nil // for the cleanup
}
