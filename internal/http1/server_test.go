package http1

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// TestResponseBytes is what is written for responses.
func TestResponseBytes(t *testing.T) {
	const (
		get11 = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		get10 = "GET / HTTP/1.0\r\n\r\n"
		keep  = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
		head  = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
	)
	length := func(n string) httpmsg.Header { return httpmsg.Header{{Name: "content-length", Value: n}} }
	tests := []struct {
		name    string
		o       ServerOptions
		in      string
		status  int
		h       httpmsg.Header
		body    string // "": the head ends the response
		trailer httpmsg.Header
		want    string
	}{
		{"empty", ServerOptions{}, get11, 200, nil, "", nil, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"},
		{"length", ServerOptions{}, get11, 200, length("3"), "abc", nil, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"},
		{"chunked", ServerOptions{}, get11, 404, nil, "abc", nil, "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"unknown status", ServerOptions{}, get11, 999, nil, "", nil, "HTTP/1.1 999 Unknown\r\ncontent-length: 0\r\n\r\n"},
		{"close asked", ServerOptions{}, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, nil, "", nil, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"},
		{"proxy-connection: close", ServerOptions{}, "GET / HTTP/1.1\r\nHost: a\r\nProxy-Connection: close\r\n\r\n", 200, nil, "", nil, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"},
		{"close set", ServerOptions{}, get11, 200, httpmsg.Header{{Name: "connection", Value: "close"}}, "", nil, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"},
		{"hop-by-hop", ServerOptions{}, get11, 200, httpmsg.Header{{Name: "keep-alive", Value: "x"}, {Name: "transfer-encoding", Value: "gzip"}, {Name: "upgrade", Value: "x"}, {Name: "x", Value: "y"}}, "", nil, "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 0\r\n\r\n"},
		{"proper case", ServerOptions{HeaderKeyFormat: KeyFormat{ProperCase: true}}, get11, 200, httpmsg.Header{{Name: "x-abc", Value: "y"}}, "", nil, "HTTP/1.1 200 OK\r\nX-Abc: y\r\nContent-Length: 0\r\n\r\n"},
		{"HEAD", ServerOptions{}, head, 200, length("3"), "", nil, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"},
		{"HEAD with a body", ServerOptions{}, head, 200, length("3"), "abc", nil, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"},
		{"HEAD without length", ServerOptions{}, head, 200, nil, "abc", nil, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"},
		{"204", ServerOptions{}, get11, 204, length("3"), "", nil, "HTTP/1.1 204 No Content\r\n\r\n"},
		{"304", ServerOptions{}, get11, 304, length("3"), "", nil, "HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n"},
		{"trailers", ServerOptions{EnableTrailers: true}, get11, 200, nil, "abc", httpmsg.Header{{Name: "x", Value: "y"}, {Name: "te", Value: "z"}}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n"},
		{"trailers off", ServerOptions{}, get11, 200, nil, "abc", httpmsg.Header{{Name: "x", Value: "y"}}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"trailers behind a length", ServerOptions{EnableTrailers: true}, get11, 200, length("3"), "abc", httpmsg.Header{{Name: "x", Value: "y"}}, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"},
		{"HTTP/1.0", ServerOptions{AcceptHTTP10: true, DefaultHostForHTTP10: "d"}, get10, 200, length("3"), "abc", nil, "HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"},
		{"HTTP/1.0 kept alive", ServerOptions{AcceptHTTP10: true, DefaultHostForHTTP10: "d"}, keep, 200, length("3"), "abc", nil, "HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\nabc"},
		{"HTTP/1.0 without length", ServerOptions{AcceptHTTP10: true, DefaultHostForHTTP10: "d"}, keep, 200, nil, "abc", nil, "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nabc"},
		{"a line in a value", ServerOptions{}, get11, 200, httpmsg.Header{{Name: "x", Value: "y\r\nz: 1"}}, "", nil, ""},
		{"length without body", ServerOptions{}, get11, 200, length("3"), "", nil, ""},
		{"101 unasked", ServerOptions{}, get11, 101, nil, "", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s := pipe.New(pipe.Options{})
			_, wait := serve(s, &tt.o, &handler{answer: func(_ *httpmsg.Request, w httpmsg.Responder) {
				err := w.WriteResponse(&httpmsg.Response{Status: tt.status, Header: tt.h}, tt.body == "")
				if err == nil && tt.body != "" {
					err = w.WriteData([]byte(tt.body), tt.trailer == nil)
				}
				if err == nil && tt.trailer != nil {
					err = w.WriteTrailer(tt.trailer)
				}
				if (err == nil) != (tt.want != "") {
					t.Errorf("error %v", err)
				}
			}})
			_, _ = io.WriteString(c, tt.in)
			_ = c.CloseWrite()
			got, _ := io.ReadAll(c)
			_ = wait()
			_ = c.Close()
			if string(got) != tt.want {
				t.Errorf("%q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestInformational(t *testing.T) {
	eachPair(t, func(t *testing.T, c, s filter.Stream) {
		_, wait := serve(s, &ServerOptions{}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
			if r.Header.Get("expect") != "100-continue" {
				t.Error("no expect")
			}
			if err := w.WriteResponse(&httpmsg.Response{Status: 100}, true); err != nil {
				t.Error(err)
			}
			body, _ := readBody(t, r.Body)
			_ = w.WriteResponse(&httpmsg.Response{Status: 200, Header: httpmsg.Header{{Name: "x", Value: body}}}, true)
		}})
		_, _ = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		expect(t, c, "HTTP/1.1 100 Continue\r\n\r\n")
		_, _ = io.WriteString(c, "abc")
		expect(t, c, "HTTP/1.1 200 OK\r\nx: abc\r\ncontent-length: 0\r\n\r\n")
		_ = c.Close()
		if err := wait(); err != nil {
			t.Error(err)
		}
	})
}

// expect reads exactly what is wanted.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v, want %q", b, err, want)
	}
}

// ends checks that what is read ends in order.
func ends(t *testing.T, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Fatalf("read %q, %v, want the end", b, err)
	}
}

// drainedBy serves a connection in a bubble, has f drain it, and checks that it ends, for
// that reason.
func drainedBy(t *testing.T, why error, f func(t *testing.T, srv *Server, c *pipe.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pipe.New(pipe.Options{})
		defer c.Close()
		srv, wait := serve(s, &ServerOptions{}, &handler{})
		synctest.Wait()
		f(t, srv, c)
		ends(t, c)
		if err := wait(); err != why {
			t.Error(err)
		}
	})
}

func TestDrain(t *testing.T) {
	drainedBy(t, nil, func(t *testing.T, srv *Server, c *pipe.Conn) {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		expect(t, c, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
		synctest.Wait()
		begun := time.Now()
		srv.Drain(time.Minute)
		srv.Drain(0)
		ends(t, c)
		if d := time.Since(begun); d != time.Minute {
			t.Errorf("ended after %v", d)
		}
	})
}

func TestDrainBusy(t *testing.T) {
	drainedBy(t, errParted, func(t *testing.T, srv *Server, c *pipe.Conn) {
		srv.Drain(time.Minute)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		expect(t, c, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
	})
}

// A client whose response had begun before the drain is told with the next one; it has the
// time for that from the response's end on.
func TestDrainBegun(t *testing.T) {
	for name, c := range map[string]struct {
		grace time.Duration
		asks  bool
		after time.Duration
		why   error
	}{
		"asks again": {time.Minute, true, 0, errParted},
		"is idle":    {time.Minute, false, time.Minute, nil},
		"no grace":   {0, false, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, s := pipe.New(pipe.Options{})
				defer client.Close()
				rest := make(chan struct{})
				srv, wait := serve(s, &ServerOptions{}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
					resp := &httpmsg.Response{Status: 200}
					resp.Header.Add("content-length", "1")
					_ = w.WriteResponse(resp, false)
					_ = w.Flush()
					<-rest
					_ = w.WriteData([]byte("x"), true)
				}})
				_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				expect(t, client, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n")
				srv.Drain(c.grace)
				time.Sleep(time.Hour) // longer than any grace
				close(rest)
				expect(t, client, "x")
				begun := time.Now()
				if c.asks {
					time.Sleep(c.grace - 1)
					begun = time.Now()
					_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
					expect(t, client, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx")
				}
				ends(t, client)
				if d := time.Since(begun); d != c.after {
					t.Errorf("ended after %v, want %v", d, c.after)
				}
				if err := wait(); err != c.why {
					t.Error(err)
				}
			})
		})
	}
}

func TestDrainIdleAtOnce(t *testing.T) {
	drainedBy(t, nil, func(_ *testing.T, srv *Server, _ *pipe.Conn) { srv.Drain(0) })
}

func TestRequestHeadersTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pipe.New(pipe.Options{})
		var details string
		_, wait := serve(s, &ServerOptions{RequestHeadersTimeout: time.Second}, &handler{
			answer: func(r *httpmsg.Request, w httpmsg.Responder) {
				_, _ = readBody(t, r.Body)
				_ = w.WriteResponse(&httpmsg.Response{Status: 200}, true)
			},
			refuse: func(_ *httpmsg.Request, w httpmsg.Responder, status int, why *httpmsg.ResetError) {
				details = why.Details
				_ = w.WriteResponse(&httpmsg.Response{Status: status}, true)
			}})
		time.Sleep(time.Hour) // a silent connection is not timed
		_, _ = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-")
		time.Sleep(time.Second - 1)
		_, _ = io.WriteString(c, "Length: 1\r\n\r\n")
		time.Sleep(time.Hour) // nor is a body
		_, _ = io.WriteString(c, "x")
		expect(t, c, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
		_, _ = io.WriteString(c, "G")
		begun := time.Now()
		expect(t, c, "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
		ends(t, c)
		_ = wait()
		if d := time.Since(begun); d != time.Second || details != "request_header_timeout" {
			t.Errorf("%q after %v", details, d)
		}
		_ = c.Close()
	})
}

// TestDelayedClose: a client that is still sending reads the response, and is cut off
// after a while.
func TestDelayedClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pipe.New(pipe.Options{})
		_, wait := serve(s, &ServerOptions{DelayedCloseTimeout: time.Second}, &handler{})
		_, _ = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc")
		begun := time.Now()
		expect(t, c, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
		ends(t, c)
		for range 9 {
			time.Sleep(100 * time.Millisecond)
			if _, err := io.WriteString(c, "more"); err != nil {
				t.Fatalf("after %v: %v", time.Since(begun), err)
			}
		}
		_ = wait()
		if d := time.Since(begun); d != time.Second {
			t.Errorf("closed after %v", d)
		}
		if _, err := io.WriteString(c, "more"); err == nil {
			t.Error("the connection is still there")
		}
		_ = c.Close()
	})
}

// TestStopRequest: a request can be given up and answered all the same.
func TestStopRequest(t *testing.T) {
	eachPair(t, func(t *testing.T, c, s filter.Stream) {
		why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: "enough"}
		_, wait := serve(s, &ServerOptions{DelayedCloseTimeout: time.Minute}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
			if p, err := r.Body.Next(); string(p) != "a" || err != nil {
				t.Errorf("%q, %v", p, err)
			}
			waits := make(chan error)
			go func() {
				_, err := r.Body.Next()
				waits <- err
			}()
			w.StopRequest(why)
			if err := <-waits; err != error(why) {
				t.Errorf("%v, want %v", err, why)
			}
			_ = w.WriteResponse(&httpmsg.Response{Status: 408}, true)
		}})
		_, _ = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
		expect(t, c, "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
		ends(t, c)
		_ = c.Close()
		_ = wait()
	})
}

// TestUnfinished: what a handler leaves undone cannot be taken for a whole response.
func TestUnfinished(t *testing.T) {
	for name, answer := range map[string]func(r *httpmsg.Request, w httpmsg.Responder){
		"nothing": func(*httpmsg.Request, httpmsg.Responder) {},
		"half": func(_ *httpmsg.Request, w httpmsg.Responder) {
			_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
			_ = w.WriteData([]byte("abc"), false)
			_ = w.Flush()
		},
		"reset": func(_ *httpmsg.Request, w httpmsg.Responder) {
			_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
			w.Reset(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachPair(t, func(t *testing.T, c, s filter.Stream) {
				_, wait := serve(s, &ServerOptions{}, &handler{answer: answer})
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				b, _ := io.ReadAll(c)
				if strings.Contains(string(b), "\r\n0\r\n") {
					t.Errorf("%q", b)
				}
				if err := wait(); err == nil {
					t.Error("Serve ended in order")
				}
			})
		})
	}
}

// TestClose: who serves, reads and writes hears why.
func TestClose(t *testing.T) {
	eachPair(t, func(t *testing.T, c, s filter.Stream) {
		why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: "test"}
		started := make(chan struct{})
		srv, wait := serve(s, &ServerOptions{}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
			told := make(chan *httpmsg.ResetError, 1)
			w.OnReset(func(why *httpmsg.ResetError) { told <- why })
			close(started)
			if _, err := r.Body.Next(); err != error(why) {
				t.Errorf("Next: %v", err)
			}
			if got := <-told; got != why {
				t.Errorf("told %v", got)
			}
			if err := w.WriteResponse(&httpmsg.Response{Status: 200}, true); err != error(why) {
				t.Errorf("WriteResponse: %v", err)
			}
		}})
		_, _ = io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
		<-started
		srv.Close(why)
		if err := wait(); err != error(why) {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestCloseIdle(t *testing.T) {
	eachPair(t, func(t *testing.T, _, s filter.Stream) {
		why := &httpmsg.ResetError{Reason: httpmsg.LocalReset}
		srv, wait := serve(s, &ServerOptions{}, &handler{})
		srv.Close(why)
		if err := wait(); err != error(why) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// TestStreaming: both bodies at the same time, each piece as soon as it is there.
func TestStreaming(t *testing.T) {
	eachPair(t, func(t *testing.T, cc, sc filter.Stream) {
		_, wait := serve(sc, &ServerOptions{}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
			_ = w.WriteResponse(&httpmsg.Response{Status: 200}, false)
			if _, _, err := httpmsg.Copy(w, r.Body); err != nil {
				t.Error(err)
			}
		}})
		own := newOwner()
		c := NewClient(cc, nil, own)
		x := exchangeOf(t, c)
		mustSend(t, x, false)
		if err := x.WriteData([]byte("0"), false); err != nil || x.Flush() != nil {
			t.Fatal(err)
		}
		resp, err := x.ReadResponse()
		if err != nil {
			t.Fatal(err)
		}
		for i := range 9 {
			p, err := resp.Body.Next()
			if err != nil || string(p) != string(rune('0'+i)) {
				t.Fatalf("%q, %v, want %d", p, err, i)
			}
			if err := x.WriteData([]byte{byte('1' + i)}, i == 8); err != nil {
				t.Fatal(err)
			}
			if err := x.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := readBody(t, resp.Body); got != "9" {
			t.Errorf("%q", got)
		}
		x.Release()
		<-own.closed
		_ = wait()
	})
}

// TestPreserveCase: names leave as they came.
func TestPreserveCase(t *testing.T) {
	c, s := pipe.New(pipe.Options{})
	defer c.Close()
	_, wait := serve(s, &ServerOptions{HeaderKeyFormat: KeyFormat{PreserveCase: true, ProperCase: true}}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		if r.Header.Get("x-aa") != "1" {
			t.Errorf("%v", r.Header)
		}
		_ = w.WriteResponse(&httpmsg.Response{Status: 200, Header: append(httpmsg.Header{{Name: "own", Value: "2"}}, r.Header...)}, true)
	}})
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nhOsT: a\r\nx-Aa: 1\r\n\r\n")
	expect(t, c, "HTTP/1.1 200 OK\r\nOwn: 2\r\nx-Aa: 1\r\nContent-Length: 0\r\n\r\n")
	_ = c.CloseWrite()
	_ = wait()
}

// TestWire: the bytes of an exchange, and of its heads.
func TestWire(t *testing.T) {
	const in, out = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
	c, s := pipe.New(pipe.Options{})
	defer c.Close()
	srv, wait := serve(s, &ServerOptions{}, &handler{answer: func(r *httpmsg.Request, w httpmsg.Responder) {
		_, _ = readBody(t, r.Body)
		_ = w.WriteResponse(&httpmsg.Response{Status: 200}, true)
		want := httpmsg.Wire{Received: uint64(len(in)), HeaderReceived: uint64(len(in) - 3), Sent: uint64(len(out)), HeaderSent: uint64(len(out))}
		if got := w.(httpmsg.Metered).Wire(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}})
	for range 2 {
		_, _ = io.WriteString(c, in)
		expect(t, c, out)
	}
	_ = c.CloseWrite()
	_ = wait()
	if r, w := srv.Bytes(); r != 2*uint64(len(in)) || w != 2*uint64(len(out)) {
		t.Errorf("%d, %d", r, w)
	}
}
