package http2

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// TestSettings: what a server says of itself, and in which order.
func TestSettings(t *testing.T) {
	o := &ServerOptions{Options: Options{
		AllowConnect: true, TableSize: 100, MaxConcurrentStreams: 7, StreamWindow: 70000, ConnectionWindow: 80000,
		Settings: []Setting{{0x4242, 5}},
	}}
	p := dialServer(t, o, &handler{answer: readThenAnswer})
	f, err := p.fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	var got []xhttp2.Setting
	_ = f.(*xhttp2.SettingsFrame).ForeachSetting(func(s xhttp2.Setting) error {
		got = append(got, s)
		return nil
	})
	want := []xhttp2.Setting{{ID: 1, Val: 100}, {ID: 8, Val: 1}, {ID: 3, Val: 7}, {ID: 4, Val: 70000}, {ID: 0x4242, Val: 5}}
	if !slices.Equal(got, want) {
		t.Errorf("settings are %v, not %v", got, want)
	}
	f, _ = p.fr.ReadFrame()
	if w, ok := f.(*xhttp2.WindowUpdateFrame); !ok || w.Increment != 80000-65535 {
		t.Errorf("then %v", f)
	}
}

// TestStreamErrors: with the option set only the stream ends for a bad message.
func TestStreamErrors(t *testing.T) {
	refused := make(chan *httpmsg.ResetError, 1)
	h := &handler{answer: readThenAnswer, refuse: func(r *httpmsg.Request, status int, why *httpmsg.ResetError) {
		if r.Path == "/" && status == 400 {
			refused <- why
		}
	}}
	p := dialServer(t, &ServerOptions{Options: Options{StreamErrors: true}}, h)
	p.get(1, "connection: close")
	p.expect("RST 1 PROTOCOL_ERROR")
	if why := <-refused; why.Reason != httpmsg.ProtocolError || why.Details != "http2.violation.of.messaging.rule" {
		t.Errorf("refused for %+v", why)
	}
	p.get(3)
	p.expect("HEADERS 3 200 END")
}

func TestUnderscores(t *testing.T) {
	got := make(chan httpmsg.Header, 1)
	h := &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		got <- r.Header.Clone()
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, true)
	}}
	for _, c := range []struct {
		u    Underscores
		want []string
		has  bool
	}{
		{AllowUnderscores, []string{ok}, true},
		{DropUnderscores, []string{ok}, false},
		{RejectUnderscores, []string{"RST 1 INTERNAL_ERROR"}, false},
	} {
		p := dialServer(t, &ServerOptions{Options: Options{Underscores: c.u}}, h)
		p.get(1, "x_y: 1", "z: 2")
		p.expect(c.want...)
		if c.u == RejectUnderscores {
			continue
		}
		if h := <-got; h.Has("x_y") != c.has || !h.Has("z") {
			t.Errorf("%v: %v", c.u, h)
		}
	}
}

// TestRequest: what a handler sees of a request.
func TestRequest(t *testing.T) {
	got := make(chan *httpmsg.Request, 1)
	h := &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		c := *r
		c.Header = r.Header.Clone()
		got <- &c
		_ = w.WriteResponse(&httpmsg.Response{Status: 101}, true)
	}}
	p := dialServer(t, &ServerOptions{Options: Options{AllowConnect: true}}, h)
	p.get(1, "host: b.test", "cookie: a=1", "x: y", "cookie: b=2", "te: trailers")
	p.expect("HEADERS 1 101 END")
	r := <-got
	want := httpmsg.Header{{Name: "cookie", Value: "a=1; b=2"}, {Name: "x", Value: "y"}, {Name: "te", Value: "trailers"}}
	if r.Authority != "a.test" || r.Method != "GET" || r.Protocol != httpmsg.HTTP2 || r.Body != nil || !slices.Equal(r.Header, want) {
		t.Errorf("request is %+v", r)
	}
	p.headers(3, false, ":method: CONNECT", ":protocol: websocket", ":scheme: https", ":path: /chat", ":authority: a.test")
	p.expect("HEADERS 3 200 END", "RST 3 NO_ERROR")
	if r := <-got; r.Method != "GET" || r.Upgrade != "websocket" || r.Path != "/chat" || r.Body == nil {
		t.Errorf("upgrade is %+v", r)
	}
	p.headers(5, true, ":method: CONNECT", ":authority: a.test:443")
	p.expect("HEADERS 5 101 END")
	if r := <-got; !r.Connect() || r.Authority != "a.test:443" || r.Path != "" {
		t.Errorf("CONNECT is %+v", r)
	}
}

// TestTooManyStreams: those beyond the limit are refused, and the others are not hurt.
func TestTooManyStreams(t *testing.T) {
	p := dialServer(t, &ServerOptions{Options: Options{MaxConcurrentStreams: 2}}, &handler{answer: readThenAnswer})
	p.post(1)
	p.post(3)
	p.post(5)
	p.expect("RST 5 REFUSED_STREAM")
	_ = p.fr.WriteData(1, true, nil)
	p.expect("HEADERS 1 200 END")
	p.post(7)
	_ = p.fr.WriteData(7, true, nil)
	p.expect("HEADERS 7 200 END")
}

// TestWindows: DATA is sent as far as both windows go, and windows are given back as a
// body is read, not before.
func TestWindows(t *testing.T) {
	read := make(chan struct{})
	h := &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		if r.Body == nil {
			_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
			_ = w.WriteData(make([]byte, 100), true)
			return
		}
		<-read
		readThenAnswer(r, w)
	}}
	p := dialServer(t, &ServerOptions{Options: Options{StreamWindow: 65535}}, h)
	_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 10})
	p.get(1)
	p.expect("HEADERS 1 200", "DATA 1 10")
	_ = p.fr.WriteWindowUpdate(1, 5)
	p.expect("DATA 1 5")
	_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 0})
	_ = p.fr.WriteWindowUpdate(1, 10) // what was sent already counts
	p.expect()
	_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 95})
	p.expect("DATA 1 85 END")

	p.post(3)
	for range 3 {
		_ = p.fr.WriteData(3, false, make([]byte, 1<<14))
	}
	_ = p.fr.WriteData(3, false, make([]byte, 1<<14-1))
	p.expect()
	close(read)
	if got := p.next(); !strings.HasPrefix(got, "WINDOW_UPDATE 3 ") {
		t.Errorf("after the body was read: %s", got)
	}
}

func TestWindowExceeded(t *testing.T) {
	p := dialServer(t, &ServerOptions{Options: Options{StreamWindow: 65535, ConnectionWindow: 1 << 17}}, &handler{
		answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
			gone := make(chan struct{})
			w.OnReset(func(*httpmsg.ResetError) { close(gone) })
			<-gone
		},
	})
	p.post(1)
	for range 4 {
		_ = p.fr.WriteData(1, false, make([]byte, 1<<14))
	}
	p.expect("RST 1 FLOW_CONTROL_ERROR")
}

// TestStalledReader: what waits to be sent to a peer that reads nothing is bounded by the
// queue, whatever windows it gives.
func TestStalledReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.Options{LimitBytes: 1 << 10})
		var s *Server
		why := make(chan error, 1)
		s = NewServer(b, nil, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
			_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
			why <- w.WriteData(make([]byte, 10<<20), true)
		}})
		served := make(chan error, 1)
		go func() { served <- s.Serve() }()
		p := newPeer(t, a)
		_ = a.SetDeadline(time.Time{})
		go func() {
			_, _ = io.WriteString(a, clientPreface)
			_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1<<31 - 1})
			_ = p.fr.WriteWindowUpdate(0, 1<<30)
			p.get(1)
		}()
		synctest.Wait()
		s.mu.Lock()
		queued := len(s.out)
		s.mu.Unlock()
		if queued > queueLimit+maxFrameSize+frameHeaderSize {
			t.Errorf("%d bytes are queued", queued)
		}
		_ = a.Close()
		if err := <-why; err == nil {
			t.Error("WriteData said it was sent")
		}
		<-served
	})
}

// TestReset: a reset wakes who reads, who writes, and who asked to be told.
func TestReset(t *testing.T) {
	type end struct {
		read, write error
		told        *httpmsg.ResetError
	}
	ends := make(chan end, 1)
	p := dialServer(t, nil, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		var e end
		told := make(chan *httpmsg.ResetError, 1)
		w.OnReset(func(why *httpmsg.ResetError) { told <- why })
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
		wrote := make(chan error, 1)
		go func() { wrote <- w.WriteData(make([]byte, 1<<20), true) }()
		_, e.read = r.Body.Next()
		e.write, e.told = <-wrote, <-told
		ends <- e
	}})
	_ = p.fr.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1})
	p.post(1)
	p.expect("HEADERS 1 200", "DATA 1 1")
	_ = p.fr.WriteRSTStream(1, xhttp2.ErrCodeCancel)
	e := <-ends
	for _, err := range []error{e.read, e.write, e.told} {
		why, ok := err.(*httpmsg.ResetError)
		if !ok || why.Reason != httpmsg.RemoteReset || why.Code != uint32(xhttp2.ErrCodeCancel) {
			t.Errorf("end is %v", err)
		}
	}
	p.expect()
}

// TestUnfinished: what an answer leaves undone is reset.
func TestUnfinished(t *testing.T) {
	p := dialServer(t, nil, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		switch r.Path {
		case "/reset":
			w.Reset(&httpmsg.ResetError{Reason: httpmsg.ConnectError})
			w.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
			if err := w.WriteResponse(&httpmsg.Response{Status: 200}, true); err == nil {
				t.Error("a response went out behind a reset")
			}
		case "/half":
			_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
		case "/early":
			_ = w.WriteResponse(&httpmsg.Response{Status: 413}, true)
		case "/stop":
			go w.StopRequest(&httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: "slow"})
			if _, err := r.Body.Next(); err.(*httpmsg.ResetError).Details != "slow" {
				t.Errorf("the body ended with %v", err)
			}
			_ = w.WriteResponse(&httpmsg.Response{Status: 408}, true)
		}
	}})
	head := func(path string) []string { return []string{":method: POST", ":scheme: http", ":path: " + path} }
	p.headers(1, false, head("/nothing")...)
	p.expect("RST 1 INTERNAL_ERROR")
	p.headers(3, false, head("/reset")...)
	p.expect("RST 3 CONNECT_ERROR")
	p.headers(5, false, head("/half")...)
	p.expect("HEADERS 5 200", "RST 5 INTERNAL_ERROR")
	p.headers(7, false, head("/early")...)
	p.expect("HEADERS 7 413 END", "RST 7 NO_ERROR")
	p.headers(9, false, head("/stop")...)
	p.expect("HEADERS 9 408 END", "RST 9 NO_ERROR")
}

// TestHalfClose: after its own end each side goes on receiving.
func TestHalfClose(t *testing.T) {
	p := dialServer(t, nil, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
		_ = w.WriteData([]byte("first"), true)
		all, _, err := readAll(r.Body)
		if string(all) != "later" || err != nil {
			t.Errorf("read %q, %v", all, err)
		}
	}})
	p.headers(1, false, ":method: CONNECT", ":authority: a:1")
	p.expect("HEADERS 1 200", "DATA 1 5 END")
	_ = p.fr.WriteData(1, false, []byte("lat"))
	_ = p.fr.WriteData(1, true, []byte("er"))
	p.expect()
}

// TestDrain: two GOAWAYs, and what was begun is finished.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, served := serve(t, pipe.Options{}, nil, &handler{answer: readThenAnswer})
		_ = p.nc.SetDeadline(time.Time{})
		p.post(1)
		p.expect()
		s.Drain(5 * time.Second)
		s.Drain(5 * time.Second)
		p.expect("GOAWAY 2147483647 NO_ERROR")
		p.post(3)
		p.expect()
		time.Sleep(6 * time.Second)
		p.expect("GOAWAY 3 NO_ERROR")
		p.get(5) // never looked at
		p.expect()
		_ = p.fr.WriteData(1, true, nil)
		_ = p.fr.WriteData(3, true, nil)
		got := []string{p.next(), p.next()}
		slices.Sort(got)
		if !slices.Equal(got, []string{"HEADERS 1 200 END", "HEADERS 3 200 END"}) {
			t.Errorf("answers are %v", got)
		}
		if got := p.next(); got != "EOF" {
			t.Errorf("then %s", got)
		}
		_ = p.nc.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// TestKeepalive: a peer that answers PINGs stays, one that is silent does not.
func TestKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &ServerOptions{Options: Options{Keepalive: Keepalive{Interval: 10 * time.Second, Timeout: 3 * time.Second}}}
		_, p, served := serve(t, pipe.Options{}, o, &handler{answer: readThenAnswer})
		_ = p.nc.SetDeadline(time.Time{})
		start := time.Now()
		for range 3 {
			if got := p.next(); got != "PING 67" {
				t.Fatalf("got %s", got)
			}
			_ = p.fr.WritePing(true, keepaliveData)
		}
		if d := time.Since(start); d < 30*time.Second || d > 31*time.Second {
			t.Errorf("three PINGs took %v", d)
		}
		p.next()
		if got := p.next(); got != "GOAWAY 0 NO_ERROR" {
			t.Errorf("got %s", got)
		}
		if d := time.Since(start); d < 43*time.Second || d > 44*time.Second {
			t.Errorf("given up after %v", d)
		}
		if err := <-served; err == nil || !strings.Contains(err.Error(), "keepalive") {
			t.Errorf("served: %v", err)
		}
		_ = p.nc.Close()
	})
}

// counts is a scope that remembers.
type counts struct{ m map[string]*count }

type count struct{ n int64 }

func (c *count) Add(n uint64) { c.n += int64(n) }

type gauge struct{ *count }

func (g gauge) Add(n int64) { g.n += n }

func (c counts) get(name string) *count {
	if c.m[name] == nil {
		c.m[name] = new(count)
	}
	return c.m[name]
}
func (c counts) Scope(string) filter.Scope          { return c }
func (c counts) Counter(name string) filter.Counter { return c.get(name) }
func (c counts) Gauge(name string) filter.Gauge     { return gauge{c.get(name)} }
func (c counts) Histogram(string) filter.Histogram  { return nil }
func (c counts) Close()                             {}

func TestCounters(t *testing.T) {
	raw := func(kind xhttp2.FrameType, n int) func(*peer) {
		return func(p *peer) {
			p.post(1)
			for range n {
				_ = p.fr.WriteRawFrame(kind, 0, 1, nil)
			}
		}
	}
	for name, send := range map[string]func(*peer){
		"inbound_empty_frames_flood": raw(xhttp2.FrameData, 2),
		"rx_messaging_error":         func(p *peer) { p.get(1, "connection: x") },
		"inbound_window_update_frames_flood": func(p *peer) {
			for range 6 {
				_ = p.fr.WriteWindowUpdate(0, 1)
			}
		},
		"outbound_control_flood": func(p *peer) {
			var all bytes.Buffer
			fr := xhttp2.NewFramer(&all, nil)
			for range 1500 {
				_ = fr.WriteSettings()
			}
			_, _ = p.nc.Write(all.Bytes())
		},
	} {
		c := counts{m: map[string]*count{}}
		a, b := pipe.New(pipe.Options{})
		s := NewServer(b, &ServerOptions{Options: Options{Stats: NewStats(c)}}, &handler{answer: readThenAnswer})
		p := newPeer(t, a)
		served := make(chan error, 1)
		go func() { served <- s.Serve() }()
		_, _ = io.WriteString(a, clientPreface)
		_ = p.fr.WriteSettings()
		send(p)
		for p.next() != "EOF" {
		}
		_ = a.Close()
		<-served
		if c.get(name).n != 1 || c.get("goaway_sent").n != 1 || c.get("streams_active").n != 0 {
			t.Errorf("%s: %d, goaway_sent: %d, streams_active: %d", name, c.get(name).n, c.get("goaway_sent").n, c.get("streams_active").n)
		}
	}
}
