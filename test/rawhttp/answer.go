package rawhttp

import (
	"slices"
	"strings"
)

// An answer is what a host answers with.
type answer struct {
	name    string
	text    string // raw; closing may end it
	ask     string // the request; "": a GET
	want    string // what ginnel's client gets
	reused  bool   // whether the connection to the host serves the next request
	differs string // the row of docs/differences.md, where Envoy does something else
	at      string // the listener; "": plain
	n       int    // how many answers there should be; 0: one
	early   bool   // the host answers before it reads the body
}

func okWith(lines, body string) string { return "HTTP/1.1 200 OK\r\n" + lines + "\r\n" + body }

const (
	length3 = "Content-Length: 3\r\n"
	chunks  = "Transfer-Encoding: chunked\r\n"
	failed  = "502 keep"
	cut     = "200 closed" // the client sees that its response is not whole
)

// The answers of reference 5.3 (row 18), 5.4 (row 20) and http-and-upstream 9.2: none may
// be taken for another one, and no connection in doubt serves another request.
var answers = slices.Concat(wholeAnswers, lastAnswers, tunnelAnswers, earlyAnswers, noAnswers, cutAnswers)

// wholeAnswers leave the connection as if it were new.
var wholeAnswers = []answer{
	{name: "length", text: okWith(length3, "abc"), want: ok, reused: true},
	{name: "chunks", text: okWith(chunks, "3\r\nabc\r\n0\r\n\r\n"), want: ok, reused: true},
	{name: "framing trailers", text: okWith(chunks, "3\r\nabc\r\n0\r\nContent-Length: 9\r\nHost: x\r\n\r\n"), want: ok, reused: true},
	{name: "no reason", text: "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", want: ok, reused: true},
	{name: "HEAD", ask: "HEAD /answer HTTP/1.1\r\nHost: h\r\n\r\n", text: okWith(length3, ""), want: ok, reused: true},
	{name: "304 with a length", text: "HTTP/1.1 304 Not Modified\r\n" + length3 + "\r\n", want: "304 keep", reused: true},
	{name: "204", text: "HTTP/1.1 204 No Content\r\n\r\n", want: "204 keep", reused: true},
	{name: "status 600", text: "HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n", want: "600 keep", reused: true},
	{name: "status 999", text: "HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n", want: "999 keep", reused: true},
	{name: "103 before", text: "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + okWith(length3, "abc"), want: ok, reused: true},
	{name: "103 before, passed on", at: "informed", n: 2, text: "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + okWith(length3, "abc"), want: "103 200 keep", reused: true},
}

// lastAnswers are whole, but the connection ends with them, or must.
var lastAnswers = []answer{
	{name: "connection: close", text: okWith(length3+"Connection: close\r\n", "abc"), want: ok},
	{name: "HTTP/1.0", text: "HTTP/1.0 200 OK\r\n" + length3 + "\r\nabc", want: ok},
	{name: "until the end", text: okWith("", "abc") + closing, want: ok},
	{name: "until the end, HTTP/1.0", text: "HTTP/1.0 200 OK\r\n\r\nabc" + closing, want: ok},
	{name: "more than the length", text: okWith(length3, "abcHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"), want: ok},
	{name: "more than the chunks", text: okWith(chunks, "3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"), want: ok},
	{name: "204 and a body", text: "HTTP/1.1 204 No Content\r\n\r\nabc", want: "204 keep"},
	{name: "304 and a body", text: "HTTP/1.1 304 Not Modified\r\n\r\nabc", want: "304 keep"},
	{name: "HEAD and a body", ask: "HEAD /answer HTTP/1.1\r\nHost: h\r\n\r\n", text: okWith(length3, "abc"), want: ok},
	{name: "two answers", text: strings.Repeat(okWith(length3, "abc"), 2), want: ok},
}

// tunnelAnswers are to who wants a tunnel, or make one of what wants none.
var tunnelAnswers = []answer{
	{name: "upgrade refused", at: "upgrades", ask: "GET /answer HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nPOISON", text: okWith(length3, "abc"), want: "200 close"},
	{name: "CONNECT refused", at: "upgrades", ask: "CONNECT answer:1 HTTP/1.1\r\nHost: answer:1\r\n\r\nGET /poison HTTP/1.1\r\n\r\n", text: "HTTP/1.1 405 X\r\ncontent-length: 0\r\n\r\n", want: "405 close"},
	{name: "101 that nobody asked for", text: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", want: failed, differs: "http1-unasked-101"},
	{name: "101 to another protocol", at: "upgrades", ask: "GET /answer HTTP/1.1\r\nHost: h\r\n\r\n", text: "HTTP/1.1 101 Switching Protocols\r\n\r\n", want: failed, differs: "http1-unasked-101"},
}

// earlyAnswers come before the request is complete.
var earlyAnswers = []answer{
	{name: "early", early: true, ask: "POST /answer HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc", text: okWith(length3, "abc"), want: "200 close"},
}

// noAnswers are refused as a whole.
var noAnswers = []answer{
	{name: "status 99", text: "HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n", want: failed, differs: "http1-unasked-101"},
	{name: "101 informational answers", text: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 101) + okWith(length3, "abc"), want: failed, differs: "http1-informational"},
	{name: "length and chunks", text: okWith(length3+chunks, "3\r\nabc\r\n0\r\n\r\n"), want: failed},
	{name: "two lengths", text: okWith(length3+"Content-Length: 4\r\n", "abc"), want: failed},
	{name: "two equal lengths", text: okWith(length3+length3, "abc"), want: failed},
	{name: "length 3, 3", text: okWith("Content-Length: 3, 3\r\n", "abc"), want: failed},
	{name: "length -3", text: okWith("Content-Length: -3\r\n", "abc"), want: failed},
	{name: "gzip, chunked", text: okWith("Transfer-Encoding: gzip, chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), want: failed},
	{name: "204 with chunks", text: "HTTP/1.1 204 No Content\r\n" + chunks + "\r\n0\r\n\r\n", want: failed},
	{name: "NUL", text: okWith("A: b\x00c\r\n"+length3, "abc"), want: failed},
	{name: "space before the colon", text: okWith("A : b\r\n"+length3, "abc"), want: failed},
	{name: "obs-fold", text: okWith("A: b\r\n c\r\n"+length3, "abc"), want: failed, differs: "http1-strict"},
	{name: "bare LF", text: "HTTP/1.1 200 OK\ncontent-length: 3\n\nabc", want: failed, differs: "http1-strict"},
	{name: "bare CR", text: okWith("A: b\rc\r\n"+length3, "abc"), want: failed, differs: "http1-strict"},
	{name: "HTTP/2.0", text: "HTTP/2.0 200 OK\r\n" + length3 + "\r\nabc", want: failed, differs: "http-version"},
	{name: "no HTTP", text: "SSH-2.0-x\r\n", want: failed},
	{name: "nothing", text: closing, want: "503 keep"},
	{name: "half a head", text: "HTTP/1.1 200 OK\r\ncont" + closing, want: failed},
	{name: "101 lines", text: okWith(strings.Repeat("A: b\r\n", 101)+length3, "abc"), want: failed},
}

// cutAnswers go wrong when they have begun.
var cutAnswers = []answer{
	{name: "less than the length", text: okWith("Content-Length: 10\r\n", "abc") + closing, want: cut},
	{name: "less than the chunks", text: okWith(chunks, "3\r\nabc\r\n") + closing, want: cut},
	{name: "malformed chunk", text: okWith(chunks, "3\r\nabc\r\nx\r\n"), want: cut},
	{name: "chunk data ended by LF", text: okWith(chunks, "3\r\nabc\n0\r\n\r\n"), want: cut, differs: "http1-strict"},
	{name: "chunk data longer than its size", text: okWith(chunks, "3\r\nabcdef\r\n0\r\n\r\n"), want: cut, differs: "http1-strict"},
}

func (a *answer) request() string {
	if a.ask != "" {
		return a.ask
	}
	return "GET /answer HTTP/1.1\r\nHost: h\r\n\r\n"
}
