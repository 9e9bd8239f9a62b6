package httpinspector

import (
	"strings"
	"testing"
)

// TestLines has what Envoy 1.40.0 made of the same bytes.
func TestLines(t *testing.T) {
	for want, lines := range map[protocol][]string{
		http11: {"GET / HTTP/1.1\r\n", "GET / HTTP/1.1\n", "GET  /  HTTP/1.1\r\n", "GET / HTTP/1.1 \r\n", "GET\t/\tHTTP/1.1\r\n",
			"FOOBAR / HTTP/1.1\r\n", "get / HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "CONNECT a:1 HTTP/1.1\r\n",
			"GET http://a/ HTTP/1.1\r\n", "GET /\x01 HTTP/1.1\r\n", "GET /\x00 HTTP/1.1\r\n", "GET /\rHTTP/1.1\r\n",
			"GET / HTTP/1.1\r\r\n", "PRI / HTTP/1.1\r\n", "CONNECT /x HTTP/1.1\r\n", "GET http:// HTTP/1.1\r\n",
			"CONNECT http://a/ HTTP/1.1\r\n", "GET http://a?x{y HTTP/1.1\r\n", "GET *x HTTP/1.1\r\n", "GET /#a{ HTTP/1.1\r\n",
			"GET a+b-.1://x HTTP/1.1\r\n", "CONNECT ?x HTTP/1.1\r\n", "A /\x01HTTP/1.1\x01\r\n", "A / HTTP/1.1\x00\x00\n",
			"GET /HTTP/1.1\r\n", "GET http://a/xHTTP/1.1\r\n", "GET *HTTP/1.1\n", "GET /?a=HTTP/1.1\r\n", "CONNECT aHTTP/1.1\r\n",
			"A\x0b/ HTTP/1.1\n", "GET http://a%@b/ HTTP/1.1\r\n", "GET / HTTP/1.1\r\nmore"},
		http10: {"GET / HTTP/1.0\r\n", "GET / HTTP/1.2\r\n", "GET / HTTP/2.0\r\n", "GET /\r\n", "GET / \r\n", "GET / HTTP/0.9\r\n",
			preface[:23] + "x", preface[:18] + "GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "PRI * HTTP/2.0\n",
			"GET /\t\n", "hello /there\r\n", "GET\r/\r\n", "GET /xHTTP/1.1 \r\n", "GET /xHTTP/1.1\t\n", "GET /HTTP/1.1 HTTP/1.0\r\n"},
		http2: {preface, preface + "more"},
		none: {"GET / HTTP/1.1x\r\n", "GET / HTTP/1.10\r\n", "GET / HTTP/11\r\n", "GET / http/1.1\r\n", "GET / HTTP/1.\r\n",
			"GET / HTTPS/1.1\r\n", "GET / XHTTP/1.1\r\n", "GET / a HTTP/1.1\r\n", "GET\r\n", "GET \r\n", " GET / HTTP/1.1\r\n",
			"\tGET / HTTP/1.1\r\n", "\r\nGET / HTTP/1.1\r\n", "\n", "G@T / HTTP/1.1\r\n", "G{T", "G\x01T", "G\x80T", "G:T",
			"GET /\x80 HTTP/1.1\r\n", "GET a HTTP/1.1\r\n", "GET ? HTTP/1.1\r\n", "SSH-2.0-x\r\n", "SSH-2.0-x y z\r\n",
			"hello there\r\n", "hello there you\r\n", "HELO x\r\n", "EHLO x.example\r\n", "\x16\x03\x01\x00\x10", "\x00", "{",
			"A{", "A(", "A\x7f", "A\xff", "A\"", "A,", "A/", "A;", "A<", "A=", "A?", "A@", "A[", "A\\", "A]", "A}", "A:",
			"G\rT / HTTP/1.1\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK HTTP/1.1\r\n", "POST /a b HTTP/1.1\r\n",
			"PRI * HTTP\r\n", "PRI\r\n", "\t", "A\x01", "A\x00", "A\n", " ", "\r", "A\x1f", "GET http:/a HTTP/1.1\r\n",
			"GET 1http://a/ HTTP/1.1\r\n", "GET http://a@@b/ HTTP/1.1\r\n", "GET http://a{b/ HTTP/1.1\r\n",
			"CONNECT a{:1 HTTP/1.1\r\n", "GET http://a/\x7f HTTP/1.1\r\n", "GET /\x7f HTTP/1.1\r\n", "connect a:1 HTTP/1.1\r\n",
			"A /\x00\n", "GET\x0b/\r\n", "GET \x0c/ \r\n", "GET /\x0b\r\n", "GET\x0b/HTTP/1.1\r\n", "GET \x01/\r\n", "GET\t\x00/\n",
			"A\x00/\x00HTTP/1.1\n", "GET http://a#b HTTP/1.1\r\n", "GET http://\"/ HTTP/1.1\r\n"},
		unknown: {"A", "A!#$%&'*+-.^_`|~09", "GET {", "GET /\x01", "GET / HTTP/1.1\x01", "GET / HTTP/1.1\r", preface[:23],
			preface[:16], "P", "A\t", "A\r", "A ", "A b", "A \x01{"},
	} {
		for _, line := range lines {
			if got := new(sniffer).sniff([]byte(line)); got != want {
				t.Errorf("%q is %d, want %d", line, got, want)
			}
			var s sniffer
			got := unknown
			for n := 1; n <= len(line) && got == unknown; n++ {
				got = s.sniff([]byte(line[:n]))
			}
			if got != want {
				t.Errorf("%q byte by byte is %d, want %d", line, got, want)
			}
		}
	}
}

// FuzzSniff: what is found does not depend on the pieces.
func FuzzSniff(f *testing.F) {
	f.Add(preface)
	f.Add("GET / HTTP/1.1\r\n")
	f.Fuzz(func(t *testing.T, line string) {
		if line == "" {
			return
		}
		whole, s, got := new(sniffer).sniff([]byte(line)), sniffer{}, unknown
		for n := 1; n <= len(line) && got == unknown; n++ {
			got = s.sniff([]byte(line[:n]))
		}
		if got != whole {
			t.Errorf("%q is %d, byte by byte %d", line, whole, got)
		}
	})
}

func BenchmarkSniff(b *testing.B) {
	line := []byte("GET /" + strings.Repeat("a", 60) + " HTTP/1.1\r\nHost: a.example\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if new(sniffer).sniff(line) != http11 {
			b.Fatal("not found")
		}
	}
}
