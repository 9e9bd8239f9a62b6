package http1

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/inproc/pipe"
)

// asks returns what a server makes of bytes that a client sends, after which it ends its
// direction: the requests that arrive, one a line, a refusal as "! status details", and
// the responses as they were written.
func asks(t *testing.T, o *ServerOptions, in string) (saw, out string) {
	t.Helper()
	c, s := pipe.New(pipe.Options{})
	defer c.Close()
	var log strings.Builder
	h := &handler{
		answer: func(r *httpmsg.Request, w httpmsg.Responder) {
			log.WriteString(describe(t, r))
			_ = w.WriteResponse(&httpmsg.Response{Status: 200}, true)
		},
		refuse: func(r *httpmsg.Request, w httpmsg.Responder, status int, why *httpmsg.ResetError) {
			fmt.Fprintf(&log, "! %d %s\n", status, why.Details)
			_ = w.WriteResponse(&httpmsg.Response{Status: status}, true)
		},
	}
	_, wait := serve(s, o, h)
	if _, err := io.WriteString(c, in); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("responses: %v", err)
	}
	_ = wait()
	return log.String(), string(b)
}

// describe is a request on a line.
func describe(t *testing.T, r *httpmsg.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s://%s %s", r.Method, r.Scheme, r.Authority, r.Path)
	if r.Upgrade != "" {
		fmt.Fprintf(&b, " upgrade=%s", r.Upgrade)
	}
	for _, f := range r.Header {
		fmt.Fprintf(&b, " %s=%q", f.Name, f.Value)
	}
	if r.Body != nil {
		for {
			p, err := r.Body.Next()
			b.Write(append([]byte(" +"), p...))
			if err == io.EOF {
				break
			}
			if err != nil {
				fmt.Fprintf(&b, " !%v", err)
				break
			}
		}
		for _, f := range r.Body.Trailer() {
			fmt.Fprintf(&b, " trailer:%s=%q", f.Name, f.Value)
		}
	}
	return b.String() + "\n"
}

// get is a request with some lines, chunked that of a body of chunks.
func get(lines string) string { return "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n" }

func chunked(body string) string {
	return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

// TestRawInputs is the tables of reference dependencies-and-reliability.md 4.3 and 5.4,
// and http-and-upstream.md 9.2.
func TestRawInputs(t *testing.T) {
	long := strings.Repeat("x", 61<<10)
	absolute := ServerOptions{AllowAbsoluteURL: true}
	old := ServerOptions{AcceptHTTP10: true, DefaultHostForHTTP10: "default"}
	tests := []struct {
		name string
		o    ServerOptions
		in   string
		saw  string
	}{
		{"plain", absolute, get(""), "GET ://a /\n"},
		{"values", absolute, get("A:  b \t\r\nX: \t\x80\xff\r\nEmpty:\r\n"), "GET ://a / a=\"b\" x=\"\\x80\\xff\" empty=\"\"\n"},
		{"pipelined", absolute, get("") + get("B: 2\r\n") + get("C: 3\r\n"), "GET ://a /\nGET ://a / b=\"2\"\nGET ://a / c=\"3\"\n"},
		{"length", absolute, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + get(""), "POST ://a / content-length=\"3\" +abc\nGET ://a /\n"},
		{"length 0", absolute, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + get(""), "POST ://a / content-length=\"0\"\nGET ://a /\n"},

		// How long is the body?
		{"CL and TE", absolute, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get(""), "! 400 http1.content_length_and_chunked_not_allowed\n"},
		{"TE and CL", absolute, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + get(""), "! 400 http1.content_length_and_chunked_not_allowed\n"},
		{"CL and TE allowed", ServerOptions{AllowChunkedLength: true}, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "POST ://a / +x\n"},
		{"CL twice, different", absolute, get("Content-Length: 3\r\nContent-Length: 4\r\n"), "! 400 http1.codec_error\n"},
		{"CL twice, same", absolute, get("Content-Length: 3\r\nContent-Length: 3\r\n"), "! 400 http1.codec_error\n"},
		{"CL list", absolute, get("Content-Length: 3, 3\r\n"), "! 400 http1.codec_error\n"},
		{"CL plus", absolute, get("Content-Length: +3\r\n"), "! 400 http1.codec_error\n"},
		{"CL minus", absolute, get("Content-Length: -1\r\n"), "! 400 http1.codec_error\n"},
		{"CL hex", absolute, get("Content-Length: 0x3\r\n"), "! 400 http1.codec_error\n"},
		{"CL empty", absolute, get("Content-Length:\r\n"), "! 400 http1.codec_error\n"},
		{"CL 2^64", absolute, get("Content-Length: 18446744073709551616\r\n"), "! 400 http1.codec_error\n"},
		{"CL 2^63", absolute, get("Content-Length: 9223372036854775808\r\n"), "! 400 http1.codec_error\n"},
		{"TE xchunked", absolute, get("Transfer-Encoding: xchunked\r\n"), "! 501 http1.invalid_transfer_encoding\n"},
		{"TE chunked, identity", absolute, get("Transfer-Encoding: chunked, identity\r\n"), "! 501 http1.invalid_transfer_encoding\n"},
		{"TE gzip, chunked", absolute, get("Transfer-Encoding: gzip, chunked\r\n"), "! 501 http1.invalid_transfer_encoding\n"},
		{"TE empty", absolute, get("Transfer-Encoding:\r\n"), "! 501 http1.invalid_transfer_encoding\n"},
		{"TE with VT", absolute, get("Transfer-Encoding: \x0bchunked\r\n"), "! 400 http1.invalid_characters\n"},
		{"TE twice", absolute, get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "! 400 http1.invalid_transfer_encoding\n"},
		{"TE any case", absolute, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", "POST ://a / +\n"},
		{"HTTP/1.0 and TE", absolute, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "! 400 http1.transfer_encoding_not_allowed\n"},
		{"HTTP/1.0 and TE, 1.0 allowed", old, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "! 400 http1.transfer_encoding_not_allowed\n"},
		{"Connection: content-length", absolute, "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 3\r\n\r\nabc", "POST ://a / content-length=\"3\" +abc\n"},
		{"Connection: transfer-encoding", absolute, "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST ://a / +\n"},

		// Lines.
		{"space before colon", absolute, get("A : b\r\n"), "! 400 http1.codec_error\n"},
		{"empty name", absolute, get(": b\r\n"), "! 400 http1.codec_error\n"},
		{"no colon", absolute, get("abc\r\n"), "! 400 http1.codec_error\n"},
		{"name with @", absolute, get("a@b: c\r\n"), "! 400 http1.codec_error\n"},
		{"name with (", absolute, get("a(b: c\r\n"), "! 400 http1.codec_error\n"},
		{"name with 0x80", absolute, get("a\x80b: c\r\n"), "! 400 http1.codec_error\n"},
		{"NUL", absolute, get("A: b\x00c\r\n"), "! 400 http1.invalid_characters\n"},
		{"0x01", absolute, get("A: b\x01c\r\n"), "! 400 http1.invalid_characters\n"},
		{"0x7f", absolute, get("A: b\x7fc\r\n"), "! 400 http1.invalid_characters\n"},
		{"0x7f in a long value", absolute, get("A: 0123456789abcdef\x7f0123456789\r\n"), "! 400 http1.invalid_characters\n"},
		{"bare CR", absolute, get("A: a\rb\r\n"), "! 400 http1.invalid_characters\n"},
		{"CR CR LF", absolute, get("A: a\r\r\n"), "! 400 http1.invalid_characters\n"},
		{"obs-fold", absolute, get("A: a\r\n\tb\r\n"), "! 400 http1.codec_error\n"},
		{"obs-fold before a header", absolute, "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"bare LF", absolute, "GET / HTTP/1.1\nHost: a\n\n", "! 400 http1.codec_error\n"},
		{"bare LF in a header", absolute, get("A: b\nC: d\r\n"), "! 400 http1.codec_error\n"},
		{"last line ends with LF", absolute, "GET / HTTP/1.1\r\nHost: a\r\n\n", "! 400 http1.codec_error\n"},
		{"empty lines before", absolute, "\r\n\r\n" + get(""), "GET ://a /\n"},
		{"many empty lines before", absolute, strings.Repeat("\r\n", 9) + get(""), "! 400 http1.codec_error\n"},
		{"LF before", absolute, "\n" + get(""), "! 400 http1.codec_error\n"},
		{"TLS with a line in it", absolute, "\x16\x03\x01\x02\r\n\x01", "! 400 http1.codec_error\n"},
		{"CR as line end", absolute, "GET / HTTP/1.1\rHost: a\r\r", "! 400 http1.codec_error\n"},
		{"Upgrade with a length", absolute, get("Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n"), "! 400 http1.content_length_not_allowed\n"},
		{"TLS", absolute, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "! 400 http1.codec_error\n"},

		// Underscores.
		{"underscore allowed", absolute, get("a_b: c\r\n"), "GET ://a / a_b=\"c\"\n"},
		{"underscore refused", ServerOptions{HeadersWithUnderscoresAction: RejectRequest}, get("a_b: c\r\n"), "! 400 http1.unexpected_underscore\n"},
		{"underscore dropped", ServerOptions{HeadersWithUnderscoresAction: DropHeader}, get("a_b: c\r\nd: e\r\n"), "GET ://a / d=\"e\"\n"},

		// The request line.
		{"QUERY", absolute, "QUERY / HTTP/1.1\r\nHost: a\r\n\r\n", "QUERY ://a /\n"},
		{"M-SEARCH", absolute, "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"lower case", absolute, "get / HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"custom method", ServerOptions{AllowCustomMethods: true}, "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH ://a /\n"},
		{"HTTP/1.0", absolute, "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "! 426 low_version\n"},
		{"HTTP/0.9", absolute, "GET /\r\n", "! 426 low_version\n"},
		{"HTTP/1.2", absolute, "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "! 505 http1.codec_error\n"},
		{"HTTP/2.0", absolute, "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "! 505 http1.codec_error\n"},
		{"HTTP/1.10", absolute, "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"HTTP/1", absolute, "GET / HTTP/1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"http/1.1", absolute, "GET / http/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"two spaces", absolute, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"tab", absolute, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"leading space", absolute, " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"space in the target", absolute, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"0x80 in the target", absolute, "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"0x7f in the target", absolute, "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.invalid_characters\n"},
		{"odd target", absolute, "GET /\"<>^`{|}#x HTTP/1.1\r\nHost: a\r\n\r\n", "GET ://a /\"<>^`{|}#x\n"},
		{"no slash", absolute, "GET foo HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.codec_error\n"},
		{"OPTIONS *", absolute, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS ://a *\n"},
		{"GET *", absolute, "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.invalid_url\n"},

		// Whom it is for.
		{"absolute", absolute, "GET http://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://b:80 /x?y\n"},
		{"absolute without path", absolute, "GET HTTPS://u@b HTTP/1.1\r\nHost: a\r\n\r\n", "GET https://b /\n"},
		{"absolute with a query alone", absolute, "GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://b ?q\n"},
		{"absolute with a fragment alone", absolute, "GET http://b#q HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"absolute with a bad port", absolute, "GET http://b:1:2/ HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"absolute with an odd host", absolute, "GET http://a,b/ HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"absolute without Host", absolute, "GET http://b/ HTTP/1.1\r\n\r\n", "GET http://b /\n"},
		{"absolute without host", absolute, "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"ftp", absolute, "GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "! 400 http1.invalid_scheme\n"},
		{"absolute not allowed", ServerOptions{}, "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET ://a http://b/\n"},
		{"no Host", absolute, "GET / HTTP/1.1\r\n\r\n", "! 400 missing_host_header\n"},
		{"empty Host", absolute, "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET :// /\n"},
		{"two Hosts", absolute, get("Host: b\r\n"), "! 400 http.invalid_authority\n"},
		{"blank in Host", absolute, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "! 400 http.invalid_authority\n"},
		{"slash in Host", absolute, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "! 400 http.invalid_authority\n"},
		{"user in Host", absolute, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "! 400 http.invalid_authority\n"},
		{"IPv6", absolute, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET ://[::1]:80 /\n"},

		// Chunks.
		{"chunks", absolute, chunked("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n") + get(""), "POST ://a / +abc0123456789\nGET ://a /\n"},
		{"16 digits", absolute, chunked("0000000000000003\r\nabc\r\n0\r\n\r\n"), "POST ://a / +abc\n"},
		{"17 digits", absolute, chunked("00000000000000003\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"chunk overflow", absolute, chunked("8000000000000000\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"chunk 0x3", absolute, chunked("0x3\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"chunk -3", absolute, chunked("-3\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"chunk without a size", absolute, chunked("\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"leading space of a chunk", absolute, chunked(" 3\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"trailing space of a chunk", absolute, chunked("3 \r\nabc\r\n0\r\n\r\n"), "POST ://a / +abc\n"},
		{"chunk line ended by LF", absolute, chunked("3\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"LF in an extension", absolute, chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"CR in an extension", absolute, chunked("3;a\rb\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"extension", absolute, chunked("3;a=\"b\"\r\nabc\r\n0;x\r\n\r\n"), "POST ://a / +abc\n"},
		{"long extension", absolute, chunked("3;" + strings.Repeat("x", 2000) + "\r\nabc\r\n0\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"many extensions", absolute, chunked(strings.Repeat("1;"+strings.Repeat("x", 900)+"\r\na\r\n", 20) + "0\r\n\r\n"), "POST ://a / +" + strings.Repeat("a", 18) + " + !protocol_error (http1.codec_error): chunks of hardly any data\n"},
		{"data ended by LF", absolute, chunked("3\r\nabc\n0\r\n\r\n"), "POST ://a / +abc + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"data longer than its size", absolute, chunked("3\r\nabcdef\r\n0\r\n\r\n"), "POST ://a / +abc + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"last chunk ended by LF", absolute, chunked("0\n\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed chunk\n"},
		{"last line ended by LF", absolute, chunked("0\r\n\n"), "POST ://a / + !protocol_error (http1.codec_error): a line that ends without CR\n"},
		{"cut", absolute, chunked("5\r\nabc"), "POST ://a / +abc + !connection_termination: unexpected EOF\n"},

		// Trailers.
		{"trailers dropped", absolute, chunked("0\r\nX: y\r\n\r\n") + get(""), "POST ://a / +\nGET ://a /\n"},
		{"trailers", ServerOptions{EnableTrailers: true}, chunked("0\r\nX: y\r\nHost: z\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nX-Forwarded-For: 1\r\n\r\n") + get(""), "POST ://a / + trailer:x=\"y\"\nGET ://a /\n"},
		{"bad trailer", absolute, chunked("0\r\nX y\r\n\r\n"), "POST ://a / + !protocol_error (http1.codec_error): malformed header name\n"},
		{"large trailers", absolute, chunked("0\r\nX: " + long + "\r\n\r\n"), "POST ://a / + !protocol_error (http1.headers_too_large): trailers too large\n"},

		// Limits.
		{"100 headers", absolute, get(strings.Repeat("a: b\r\n", 99)), "GET ://a /" + strings.Repeat(" a=\"b\"", 99) + "\n"},
		{"101 headers", absolute, get(strings.Repeat("a: b\r\n", 100)), "! 431 http1.too_many_headers\n"},
		{"large header", absolute, get("a: " + long + "\r\n"), "! 431 http1.headers_too_large\n"},
		{"long target", absolute, "GET /" + long + " HTTP/1.1\r\nHost: a\r\n\r\n", "! 431 http1.headers_too_large\n"},
		{"exactly as large as may be", ServerOptions{MaxRequestHeadersBytes: 32}, "GET / HTTP/1.1\r\nHost: a\r\nbb:\r\n\r\n"[:32], "GET ://a / bb=\"\"\n"},
		{"a byte too large", ServerOptions{MaxRequestHeadersBytes: 31}, "GET / HTTP/1.1\r\nHost: a\r\nbb:\r\n\r\n", "! 431 http1.headers_too_large\n"},

		// One connection's own.
		{"hop-by-hop", absolute, get("Connection: keep-alive, X-A , te\r\nKeep-Alive: 1\r\nProxy-Connection: keep-alive\r\nX-A: 1\r\nX-B: 2\r\nTE: trailers;q=1, deflate\r\n"), "GET ://a / x-b=\"2\" te=\"trailers\"\n"},
		{"TE without trailers", absolute, get("TE: deflate\r\n"), "GET ://a /\n"},
		{"nine tokens", absolute, get("Connection: a,b,c,d,e,f,g,h,i\r\n"), "GET ://a /\n"},
		{"ten tokens", absolute, get("Connection: a,b,c,d,e,f,g,h,i,j\r\n"), "! 400 http1.connection_header_rejected\n"},
		{"ten tokens on two lines", absolute, get("Connection: a,b,c,d,e\r\nConnection: f,g,h,i,j\r\n"), "! 400 http1.connection_header_rejected\n"},
		{"Connection: x-forwarded-for", absolute, get("Connection: X-Forwarded-For\r\n"), "! 400 http1.connection_header_rejected\n"},
		{"Connection: :path", absolute, get("Connection: :path\r\n"), "! 400 http1.connection_header_rejected\n"},
		{"Connection: host", absolute, get("Connection: host\r\n"), "! 400 missing_host_header\n"},
		{"h2c", absolute, get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n") + get(""), "GET ://a /\nGET ://a /\n"},
		{"upgrade without connection", absolute, get("Upgrade: websocket\r\n") + get(""), "GET ://a /\nGET ://a /\n"},
		{"upgrade ignored", ServerOptions{IgnoreUpgrade: func(p string) bool { return p == "TLS/1.0" }}, get("Connection: upgrade\r\nUpgrade: TLS/1.0\r\n") + get(""), "GET ://a /\nGET ://a /\n"},
		{"upgrade and a pipelined request", absolute, get("Connection: upgrade\r\nUpgrade: websocket\r\n") + "rest", "GET ://a / upgrade=websocket +rest +\n"},
		{"two upgrades", absolute, get("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: foo\r\n"), "! 400 http1.connection_header_rejected\n"},
		{"upgrade with a chunked body", absolute, get("Connection: upgrade\r\nUpgrade: foo\r\nTransfer-Encoding: chunked\r\n"), "! 400 http1.transfer_encoding_not_allowed\n"},

		// HTTP/1.0.
		{"HTTP/1.0 allowed", old, "GET / HTTP/1.0\r\n\r\n" + get(""), "GET ://default /\n"},
		{"HTTP/1.0 with Host", old, "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET ://a /\n"},
		{"HTTP/1.0 kept alive", old, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get(""), "GET ://default /\nGET ://a /\n"},
		{"HTTP/1.0 without default", ServerOptions{AcceptHTTP10: true}, "GET / HTTP/1.0\r\n\r\n", "! 400 missing_host_header\n"},
		{"HTTP/0.9 allowed", old, "GET /\r\n", "GET ://default /\n"},
		{"HTTP/1.0 upgrade", old, "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "GET ://default /\n"},

		// CONNECT.
		{"CONNECT", absolute, "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\nbytes", "CONNECT ://b:443  +bytes +\n"},
		{"CONNECT without Host", absolute, "CONNECT [::1]:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "CONNECT ://[::1]:443  +\n"},
		{"CONNECT with a body", absolute, "CONNECT b:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "! 400 http1.body_disallowed\n"},
		{"CONNECT with chunks", absolute, "CONNECT b:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "! 501 http1.invalid_transfer_encoding\n"},
		{"CONNECT without port", absolute, "CONNECT b HTTP/1.1\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"CONNECT with a bad port", absolute, "CONNECT b:x HTTP/1.1\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"CONNECT with a large port", absolute, "CONNECT b:65536 HTTP/1.1\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"CONNECT with a user", absolute, "CONNECT u@b:443 HTTP/1.1\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"CONNECT with an odd host", absolute, "CONNECT a,b:443 HTTP/1.1\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"CONNECT with a scheme", absolute, "CONNECT http://b:443 HTTP/1.1\r\n\r\n", "! 400 http1.invalid_url\n"},
		{"CONNECT with a path", absolute, "CONNECT b:443/x HTTP/1.1\r\n\r\n", "! 400 http1.invalid_url\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			saw, out := asks(t, &tt.o, tt.in)
			if saw != tt.saw {
				t.Errorf("saw %q\nwant %q", saw, tt.saw)
			}
			if strings.Contains(saw, "! ") && !strings.Contains(saw, "+") {
				refused(t, out)
			}
		})
	}
}

// refused checks that the last response announces the end of the connection.
func refused(t *testing.T, out string) {
	t.Helper()
	last := out[max(strings.LastIndex(out, "HTTP/1."), 0):]
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(last)), nil)
	if err != nil {
		t.Fatalf("response %q: %v", out, err)
	}
	if !resp.Close || resp.StatusCode < 400 {
		t.Errorf("response %q does not refuse and close", last)
	}
}

var _ filter.Stream = plain{}
