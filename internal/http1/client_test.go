package http1

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// answers returns what a client makes of the bytes that a server answers r with before
// it ends its direction, and whether the connection could be used for another exchange.
func answers(t *testing.T, o *ClientOptions, r *httpmsg.Request, in string) (saw string, reused bool) {
	t.Helper()
	cc, sc := pipe.New(pipe.Options{})
	defer sc.Close()
	own := newOwner()
	c := NewClient(cc, o, own)
	x := exchangeOf(t, c)
	if err := x.WriteRequest(r, !r.Tunnel()); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(sc, in); err != nil {
		t.Fatal(err)
	}
	_ = sc.CloseWrite()
	var b strings.Builder
	for {
		resp, err := x.ReadResponse()
		if err != nil {
			fmt.Fprintf(&b, "!%v", err)
			break
		}
		fmt.Fprintf(&b, "%d", resp.Status)
		for _, f := range resp.Header {
			fmt.Fprintf(&b, " %s=%q", f.Name, f.Value)
		}
		if resp.Informational() {
			b.WriteString("; ")
			continue
		}
		for err := error(nil); err == nil && resp.Body != nil; {
			var p []byte
			p, err = resp.Body.Next()
			if len(p) > 0 {
				fmt.Fprintf(&b, " +%s", p)
			}
			if err != nil && err != io.EOF {
				fmt.Fprintf(&b, " !%v", err)
			}
		}
		if resp.Body != nil {
			for _, f := range resp.Body.Trailer() {
				fmt.Fprintf(&b, " trailer:%s=%q", f.Name, f.Value)
			}
		}
		break
	}
	x.Release()
	reused = c.Room() == 1
	c.Close(&httpmsg.ResetError{Reason: httpmsg.LocalReset})
	<-own.closed
	return b.String(), reused
}

func TestRawResponses(t *testing.T) {
	plainGet := httpmsg.Request{Method: "GET", Path: "/", Authority: "a"}
	head := httpmsg.Request{Method: "HEAD", Path: "/", Authority: "a"}
	connect := httpmsg.Request{Method: "CONNECT", Authority: "a:1"}
	upgrade := httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Upgrade: "foo"}
	const refused = "!protocol_error (http1.codec_error): "
	long := strings.Repeat("x", 81<<10)
	tests := []struct {
		name   string
		r      httpmsg.Request
		in     string
		saw    string
		reused bool
	}{
		{"length", plainGet, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", `200 content-length="3" +abc`, true},
		{"no reason", plainGet, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", `200 content-length="0"`, true},
		{"chunks", plainGet, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", `200 +abc`, true},
		{"until close", plainGet, "HTTP/1.1 200 OK\r\nA: b\r\n\r\nabc", `200 a="b" +abc`, false},
		{"connection: close", plainGet, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", `200 content-length="0"`, false},
		{"HTTP/1.0", plainGet, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", `200 content-length="0"`, false},
		{"HTTP/1.0 kept alive", plainGet, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", `200 content-length="0"`, true},
		{"extra bytes", plainGet, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabHTTP/1.1 200 OK\r\n\r\n", `200 content-length="1" +a`, false},
		{"HEAD", head, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", `200 content-length="3"`, true},
		{"HEAD, chunked", head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", `200`, true},
		{"HEAD with a body", head, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", `200 content-length="3"`, false},
		{"304", plainGet, "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", `304 content-length="3"`, true},
		{"204", plainGet, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", `204`, true},
		{"204 with a body", plainGet, "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", "!protocol_error (http1.content_length_not_allowed): content-length where none may be", false},
		{"204 with chunks", plainGet, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "!protocol_error (http1.transfer_encoding_not_allowed): transfer-encoding where none may be", false},
		{"informational", plainGet, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", `100; 103 link="x"; 200 content-length="0"`, true},
		{"informational storm", plainGet, strings.Repeat("HTTP/1.1 102 P\r\n\r\n", 101), strings.Repeat("102; ", 100) + refused + "too many informational responses", false},
		{"101 unasked", plainGet, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\n\r\n", refused + "101 that nobody asked for", false},
		{"upgraded", upgrade, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\nbytes", `101 upgrade="foo" +bytes`, false},
		{"upgrade refused", upgrade, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", `200 content-length="1" +a`, false},
		{"CONNECT", connect, "HTTP/1.1 299 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nbytes", `299 +bytes`, false},
		{"CONNECT on HTTP/1.0", connect, "HTTP/1.0 200 OK\r\n\r\nbytes", `200 +bytes`, false},
		{"CONNECT refused", connect, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", `403 content-length="2" +no`, false},
		{"600", plainGet, "HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", `600 content-length="0"`, true},
		{"099", plainGet, "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", refused + "malformed status line", false},
		{"two digits", plainGet, "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", refused + "malformed status line", false},
		{"HTTP/2", plainGet, "\x00\x00\x12\x04\x00\x00\x00\x00\x00", refused + "malformed status line", false},
		{"HTTP/1.2", plainGet, "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", refused + "malformed status line", false},
		{"nothing", plainGet, "", "!connection_termination: unexpected EOF", false},
		{"part of a head", plainGet, "HTTP/1.1 200 OK\r\nContent-", "!protocol_error (http1.codec_error): a head that ends in its middle", false},
		{"cut length", plainGet, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", `200 content-length="3" +ab !protocol_error: unexpected EOF`, false},
		{"cut chunks", plainGet, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", `200 +abc !protocol_error: unexpected EOF`, false},
		{"bad chunk", plainGet, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", `200 +abc !protocol_error (http1.codec_error): malformed chunk`, false},
		{"CL and TE", plainGet, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "!protocol_error (http1.content_length_and_chunked_not_allowed): content-length and transfer-encoding", false},
		{"two CLs", plainGet, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc", refused + "malformed content-length", false},
		{"TE gzip", plainGet, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", "!protocol_error (http1.invalid_transfer_encoding): unknown transfer-encoding", false},
		{"NUL", plainGet, "HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "!protocol_error (http1.invalid_characters): control character in a header", false},
		{"bare LF", plainGet, "HTTP/1.1 200 OK\nA: b\n\n", refused + "a line that ends without CR", false},
		{"100 headers", plainGet, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("a: b\r\n", 99) + "\r\n", `200 content-length="0"` + strings.Repeat(` a="b"`, 99), true},
		{"101 headers", plainGet, "HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 101) + "\r\n", "!protocol_error (http1.too_many_headers): too many headers", false},
		{"large head", plainGet, "HTTP/1.1 200 OK\r\nA: " + long + "\r\n\r\n", "!protocol_error (http1.headers_too_large): head too large", false},
		{"hop-by-hop", plainGet, "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-a\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n", `200 x-b="2" content-length="0"`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			saw, reused := answers(t, nil, &tt.r, tt.in)
			if saw != tt.saw || reused != tt.reused {
				t.Errorf("saw %q, reused %v\nwant %q, %v", saw, reused, tt.saw, tt.reused)
			}
		})
	}
}

func TestResponseOptions(t *testing.T) {
	r := &httpmsg.Request{Method: "GET", Path: "/", Authority: "a"}
	saw, _ := answers(t, &ClientOptions{AllowChunkedLength: true, EnableTrailers: true}, r,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\nHost: z\r\n\r\n")
	if want := `200 +a trailer:x="y"`; saw != want {
		t.Errorf("saw %q, want %q", saw, want)
	}
}

// requestBytes returns what a client sends for a request.
func requestBytes(t *testing.T, o *ClientOptions, r *httpmsg.Request, body string, trailer httpmsg.Header) (string, error) {
	t.Helper()
	cc, sc := pipe.New(pipe.Options{})
	own := newOwner()
	c := NewClient(cc, o, own)
	x := exchangeOf(t, c)
	err := x.WriteRequest(r, body == "" && trailer == nil)
	if err == nil && body != "" {
		err = x.WriteData([]byte(body), trailer == nil)
	}
	if err == nil && trailer != nil {
		err = x.WriteTrailer(trailer)
	}
	if err == nil {
		err = x.Flush()
	}
	_ = cc.CloseWrite()
	b, _ := io.ReadAll(sc)
	x.Release()
	<-own.closed
	_ = sc.Close()
	return string(b), err
}

func TestRequestBytes(t *testing.T) {
	tests := []struct {
		name    string
		o       ClientOptions
		r       httpmsg.Request
		body    string
		trailer httpmsg.Header
		want    string // "": an error, and nothing
	}{
		{"plain", ClientOptions{}, httpmsg.Request{Method: "GET", Path: "/x?y", Authority: "a:1", Header: httpmsg.Header{{Name: "x-a", Value: "1"}}}, "", nil,
			"GET /x?y HTTP/1.1\r\nhost: a:1\r\nx-a: 1\r\n\r\n"},
		{"proper case", ClientOptions{HeaderKeyFormat: KeyFormat{ProperCase: true}}, httpmsg.Request{Method: "POST", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "x-a_b$c", Value: "1"}}}, "", nil,
			"POST / HTTP/1.1\r\nHost: a\r\nX-A_B$C: 1\r\nContent-Length: 0\r\n\r\n"},
		{"preserved case", ClientOptions{}, httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "x-a", Value: "1", Wire: "x-A"}, {Name: "x-b", Value: "2"}}}, "", nil,
			"GET / HTTP/1.1\r\nHost: a\r\nx-A: 1\r\nx-b: 2\r\n\r\n"},
		{"full URL", ClientOptions{SendFullyQualifiedURL: true}, httpmsg.Request{Method: "GET", Scheme: "https", Path: "/x", Authority: "a"}, "", nil,
			"GET https://a/x HTTP/1.1\r\nhost: a\r\n\r\n"},
		{"length", ClientOptions{}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "content-length", Value: "3"}}}, "abc", nil,
			"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"},
		{"chunked", ClientOptions{}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a"}, "abc", nil,
			"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"trailers off", ClientOptions{}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a"}, "abc", httpmsg.Header{{Name: "x", Value: "y"}},
			"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"trailers on", ClientOptions{EnableTrailers: true}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a"}, "abc", httpmsg.Header{{Name: "x", Value: "y"}, {Name: "host", Value: "z"}},
			"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n"},
		{"a line in a trailer", ClientOptions{EnableTrailers: true}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a"}, "abc", httpmsg.Header{{Name: "x", Value: "y\r\n\r\nGET / HTTP/1.1"}},
			"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"hop-by-hop", ClientOptions{}, httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "connection", Value: "x"}, {Name: "transfer-encoding", Value: "gzip"}, {Name: "host", Value: "b"}, {Name: "keep-alive", Value: "1"}, {Name: "proxy-connection", Value: "x"}, {Name: "te", Value: "trailers"}}}, "", nil,
			"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n"},
		{"CONNECT", ClientOptions{}, httpmsg.Request{Method: "CONNECT", Authority: "a:1", Header: httpmsg.Header{{Name: "content-length", Value: "0"}}}, "", nil,
			"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n"},
		{"upgrade", ClientOptions{}, httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Upgrade: "websocket"}, "", nil,
			"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"},
		{"a line in a value", ClientOptions{}, httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "x", Value: "y\r\nz: 1"}}}, "", nil, ""},
		{"NUL in a value", ClientOptions{}, httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "x", Value: "y\x00"}}}, "", nil, ""},
		{"space in the path", ClientOptions{}, httpmsg.Request{Method: "GET", Path: "/ HTTP/1.1", Authority: "a"}, "", nil, ""},
		{"no path", ClientOptions{}, httpmsg.Request{Method: "GET", Authority: "a"}, "", nil, ""},
		{"bad method", ClientOptions{}, httpmsg.Request{Method: "GET /", Path: "/", Authority: "a"}, "", nil, ""},
		{"bad authority", ClientOptions{}, httpmsg.Request{Method: "GET", Path: "/", Authority: "a\r\nb"}, "", nil, ""},
		{"length without body", ClientOptions{}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "content-length", Value: "3"}}}, "", nil, ""},
		{"body shorter than its length", ClientOptions{}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "content-length", Value: "3"}}}, "ab", nil, ""},
		{"body longer than its length", ClientOptions{}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "content-length", Value: "3"}}}, "abcd", nil, ""},
		{"bad length", ClientOptions{}, httpmsg.Request{Method: "PUT", Path: "/", Authority: "a", Header: httpmsg.Header{{Name: "content-length", Value: "+3"}}}, "abc", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := requestBytes(t, &tt.o, &tt.r, tt.body, tt.trailer)
			var why *httpmsg.ResetError
			if got != tt.want || (err != nil) != (tt.want == "") || err != nil && !errors.As(err, &why) {
				t.Errorf("%q, %v\nwant %q", got, err, tt.want)
			}
		})
	}
}

const okResponse = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestRefusedUpgrade: the connection of a tunnel that was refused ends in order, and is
// not used again.
func TestRefusedUpgrade(t *testing.T) {
	for _, kind := range []string{"pipe", "socket"} {
		t.Run(kind, func(t *testing.T) {
			cc, sc := pairs[kind](t)
			defer sc.Close()
			own := newOwner()
			c := NewClient(cc, nil, own)
			x := exchangeOf(t, c)
			if err := x.WriteRequest(&httpmsg.Request{Method: "GET", Path: "/", Authority: "a", Upgrade: "foo"}, false); err != nil {
				t.Fatal(err)
			}
			if err := x.Flush(); err != nil {
				t.Fatal(err)
			}
			expect(t, sc, "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo\r\n\r\n")
			_, _ = io.WriteString(sc, okResponse)
			mustRead(t, x, "ok")
			x.Release()
			<-own.closed
			ends(t, sc)
		})
	}
}

func TestClientDrain(t *testing.T) {
	cc, sc := pipe.New(pipe.Options{})
	defer sc.Close()
	own := newOwner()
	c := NewClient(cc, nil, own)
	x := exchangeOf(t, c)
	if c.Open() != nil || c.Room() != 0 {
		t.Error("two exchanges at a time")
	}
	c.Drain()
	mustSend(t, x, true)
	if _, err := io.WriteString(sc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
		t.Fatal(err)
	}
	mustRead(t, x, "ok")
	x.Release()
	<-own.closed
	if c.Open() != nil {
		t.Error("an exchange after Drain")
	}
}

// TestClientCloseUnderWay: an exchange hears why its connection was closed.
func TestClientCloseUnderWay(t *testing.T) {
	eachPair(t, func(t *testing.T, cc, sc filter.Stream) {
		own := newOwner()
		c := NewClient(cc, nil, own)
		x := exchangeOf(t, c)
		mustSend(t, x, true)
		why := &httpmsg.ResetError{Reason: httpmsg.LocalReset, Details: "test"}
		got := make(chan error, 1)
		go func() {
			_, err := x.ReadResponse()
			got <- err
		}()
		c.Close(why)
		if err := <-got; err != error(why) {
			t.Errorf("%v, want %v", err, why)
		}
		<-own.closed
		x.Release()
	})
}
