package rawhttp

import (
	"slices"
	"strings"
)

// An input is what a client sends over a connection.
type input struct {
	name    string
	text    string
	want    string // what ginnel answers
	saw     string // the requests that then arrive whole at the host, but for the probe
	differs string // the row of docs/differences.md, where Envoy does something else
	at      string // the listener; "": plain
	n       int    // how many answers there should be; 0: one
}

// get is a request with some lines, chunked one with a body of chunks.
func get(lines string) string { return "GET / HTTP/1.1\r\nHost: h\r\n" + lines + "\r\n" }

func post(lines, body string) string {
	return "POST / HTTP/1.1\r\nHost: h\r\n" + lines + "\r\n" + body
}

func chunked(body string) string { return post("Transfer-Encoding: chunked\r\n", body) }

func line(start string) string { return start + "\r\nHost: h\r\n\r\n" }

func target(t string) string { return line("GET " + t + " HTTP/1.1") }

// second is a request that must not be answered, nor arrive, where the one before it is
// refused.
const second = "GET /second HTTP/1.1\r\nHost: h\r\n\r\n"

const (
	bad    = "400 close"
	ok     = "200 keep"
	old    = "426 close"
	coding = "501 close"

	plainGet = "GET / host=h"
	abc      = `POST / host=h transfer-encoding=chunked "abc"`
)

// The inputs of reference 4.3, 5.4 (rows 1-3, 5, 6, 12-14) and http-and-upstream 9.2.
var inputs = slices.Concat(plainRequests, bodyLengths, headerLines, chunkings, requestLines, authorities, paths, upgrades)

// plainRequests are what nobody could misread.
var plainRequests = []input{
	{name: "plain", text: get(""), want: ok, saw: plainGet},
	{name: "pipelined", text: strings.Repeat(get(""), 6), n: 6, want: "200 200 200 200 200 200 keep", saw: strings.Repeat(plainGet+"\n", 5) + plainGet},
	{name: "HEAD", text: line("HEAD / HTTP/1.1"), want: ok, saw: "HEAD / host=h"},
}

// bodyLengths are about how long the body is.
var bodyLengths = []input{
	{name: "CL and TE", text: post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") + second, want: bad},
	{name: "TE and CL", text: post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n") + second, want: bad},
	{name: "CL and TE, allowed", at: "lengths", text: post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), want: ok, saw: abc},
	{name: "CL and TE gzip", text: post("Content-Length: 3\r\nTransfer-Encoding: gzip\r\n", "abc") + second, want: bad},
	{name: "CL and TE gzip, allowed", at: "lengths", text: post("Content-Length: 3\r\nTransfer-Encoding: gzip\r\n", "abc") + second, want: bad},
	{name: "CL twice, different", text: post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc") + second, want: bad},
	{name: "CL twice, same", text: post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc") + second, want: bad},
	{name: "CL 3, 3", text: post("Content-Length: 3, 3\r\n", "abc") + second, want: bad},
	{name: "CL +3", text: post("Content-Length: +3\r\n", "abc") + second, want: bad},
	{name: "CL -1", text: post("Content-Length: -1\r\n", "abc") + second, want: bad},
	{name: "CL 0x3", text: post("Content-Length: 0x3\r\n", "abc") + second, want: bad},
	{name: "CL empty", text: post("Content-Length:\r\n", "") + second, want: bad},
	{name: "CL 2^64", text: post("Content-Length: 18446744073709551616\r\n", "abc") + second, want: bad},
	{name: "CL with blanks around", text: post("Content-Length:  3 \t\r\n", "abc"), want: ok, saw: `POST / content-length=3 host=h "abc"`},
	{name: "TE xchunked", text: post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n") + second, want: coding},
	{name: "TE chunked, identity", text: post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n") + second, want: coding},
	{name: "TE gzip, chunked", text: post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n") + second, want: coding},
	{name: "TE identity", text: post("Transfer-Encoding: identity\r\n", "") + second, want: coding},
	{name: "TE empty", text: post("Transfer-Encoding:\r\n", "") + second, want: coding},
	{name: "TE with VT", text: post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n") + second, want: bad},
	{name: "TE twice", text: post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") + second, want: bad, differs: "http1-te-twice"},
	{name: "TE in capitals", text: post("Transfer-Encoding: CHUNKED\r\n", "3\r\nabc\r\n0\r\n\r\n"), want: ok, saw: abc},
	{name: "TE on HTTP/1.0", text: "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, want: bad, differs: "http1-te-twice"},
	{name: "TE on HTTP/1.0, 1.0 allowed", at: "old", text: "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second, want: bad, differs: "http1-te-twice"},
	{name: "Connection: Content-Length", text: post("Connection: Content-Length\r\nContent-Length: 3\r\n", "abc"), want: ok, saw: `POST / content-length=3 host=h "abc"`, differs: "nominated-length"},
	{name: "Connection: Transfer-Encoding", text: post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"), want: ok, saw: abc},
	{name: "Connection: Host", text: get("Connection: Host\r\n") + second, want: bad},
	{name: "Connection: X", text: get("Connection: X\r\nX: y\r\n"), want: ok, saw: plainGet},
	{name: "GET with a body", text: "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", want: ok, saw: `GET / content-length=3 host=h "abc"`},
	{name: "CONNECT with a length", at: "upgrades", text: "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\nabc", want: bad},
	{name: "CONNECT with chunks", at: "upgrades", text: "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", want: coding},
}

// headerLines are about the lines of the head.
var headerLines = []input{
	{name: "space before the colon", text: get("A : b\r\n") + second, want: bad},
	{name: "NUL", text: get("A: b\x00c\r\n") + second, want: bad},
	{name: "0x01", text: get("A: b\x01c\r\n") + second, want: bad},
	{name: "0x7f", text: get("A: b\x7fc\r\n") + second, want: bad},
	{name: "TAB and 0x80-0xff", text: get("A: b\tc\x80\xff\r\n"), want: ok, saw: `GET / a="b\tc\x80\xff" host=h`},
	{name: "bare CR", text: get("A: b\rc\r\n") + second, want: bad, differs: "http1-strict"},
	{name: "CR CR LF", text: get("A: b\r\r\n") + second, want: bad, differs: "http1-strict"},
	{name: "obs-fold", text: get("A: b\r\n\tc\r\n") + second, want: bad, differs: "http1-strict"},
	{name: "obs-fold before the first", text: "GET / HTTP/1.1\r\n Host: h\r\n\r\n" + second, want: bad},
	{name: "bare LF", text: "GET / HTTP/1.1\nHost: h\n\n" + second, want: bad, differs: "http1-strict"},
	{name: "one bare LF", text: get("A: b\nB: c\r\n") + second, want: bad, differs: "http1-strict"},
	{name: "bare LF at the end", text: "GET / HTTP/1.1\r\nHost: h\r\n\n" + second, want: bad, differs: "http1-strict"},
	{name: "bare CRs", text: "GET / HTTP/1.1\rHost: h\r\r", want: bad, differs: "http1-strict"},
	{name: "empty lines before", text: "\r\n\r\n" + get(""), want: ok, saw: plainGet},
	{name: "bare LF before", text: "\n" + get(""), want: bad, differs: "http1-strict"},
	{name: "no colon", text: get("abc\r\n") + second, want: bad},
	{name: "empty name", text: get(": b\r\n") + second, want: bad},
	{name: "name with @", text: get("a@b: c\r\n") + second, want: bad},
	{name: "name with (", text: get("a(b: c\r\n") + second, want: bad},
	{name: "name with 0x80", text: get("a\x80b: c\r\n") + second, want: bad},
	{name: "empty value", text: get("A:\r\n"), want: ok, saw: `GET / a="" host=h`},
	{name: "underscore", text: get("a_b: c\r\n"), want: ok, saw: "GET / a_b=c host=h"},
	{name: "underscore refused", at: "edge", text: get("a_b: c\r\n") + second, want: bad},
	{name: "101 lines", text: get(strings.Repeat("A: b\r\n", 101)) + second, want: "431 close"},
	{name: "61 KiB of a line", text: get("A: "+strings.Repeat("b", 61<<10)+"\r\n") + second, want: "431 close"},
	{name: "61 KiB of target", text: target("/"+strings.Repeat("b", 61<<10)) + second, want: "431 close"},
}

// chunkings are about chunks, and trailers.
var chunkings = []input{
	{name: "17 digits", text: chunked("00000000000000003\r\nabc\r\n0\r\n\r\n") + second, want: bad, differs: "http1-strict"},
	{name: "chunk overflow", text: chunked("fffffffffffffffff\r\nabc\r\n0\r\n\r\n") + second, want: bad},
	{name: "chunk of 2^63", text: chunked("8000000000000000\r\nabc\r\n0\r\n\r\n") + second, want: bad, differs: "http1-strict"},
	{name: "leading zeros", text: chunked("0003\r\nabc\r\n000\r\n\r\n"), want: ok, saw: abc},
	{name: "chunk 0x3", text: chunked("0x3\r\nabc\r\n0\r\n\r\n") + second, want: bad},
	{name: "chunk -3", text: chunked("-3\r\nabc\r\n0\r\n\r\n") + second, want: bad},
	{name: "chunk without a size", text: chunked("\r\nabc\r\n0\r\n\r\n") + second, want: bad},
	{name: "blank before a size", text: chunked(" 3\r\nabc\r\n0\r\n\r\n") + second, want: bad},
	{name: "blank behind a size", text: chunked("3 \r\nabc\r\n0\r\n\r\n"), want: ok, saw: abc},
	{name: "chunk line ended by LF", text: chunked("3\nabc\r\n0\r\n\r\n") + second, want: bad},
	{name: "LF in an extension", text: chunked("3;a\nb\r\nabc\r\n0\r\n\r\n") + second, want: bad},
	{name: "CR in an extension", text: chunked("3;a\rb\r\nabc\r\n0\r\n\r\n") + second, want: bad},
	{name: "extension", text: chunked("3;a=\"b\"\r\nabc\r\n0;c\r\n\r\n"), want: ok, saw: abc},
	{name: "2 KiB of extension", text: chunked("3;"+strings.Repeat("a", 2<<10)+"\r\nabc\r\n0\r\n\r\n") + second, want: bad, differs: "http1-chunk-extensions"},
	{name: "data ended by LF", text: chunked("3\r\nabc\n0\r\n\r\n") + second, want: bad, differs: "http1-strict"},
	{name: "data longer than its size", text: chunked("3\r\nabcdef\r\n0\r\n\r\n") + second, want: bad, differs: "http1-strict"},
	{name: "last chunk ended by LF", text: chunked("0\n\n") + second, want: bad},
	{name: "trailers dropped", text: chunked("3\r\nabc\r\n0\r\nA: b\r\n\r\n"), want: ok, saw: abc},
	{name: "trailers", at: "trailers", text: chunked("3\r\nabc\r\n0\r\nA: b\r\n\r\n"), want: ok, saw: abc + " +a=b"},
	{name: "framing trailers", at: "trailers", text: chunked("3\r\nabc\r\n0\r\nHost: x\r\nContent-Length: 9\r\nAuthorization: x\r\nA: b\r\n\r\n"),
		want: ok, saw: abc + " +a=b", differs: "http1-trailers"},
	{name: "bad trailer", text: chunked("3\r\nabc\r\n0\r\nA b\r\n\r\n") + second, want: bad},
}

// requestLines are about versions, methods and targets.
var requestLines = []input{
	{name: "HTTP/0.9", text: "GET /\r\n\r\n", want: old},
	{name: "HTTP/1.0", text: line("GET / HTTP/1.0") + second, want: old},
	{name: "HTTP/1.0, allowed", at: "old", text: line("GET / HTTP/1.0") + second, want: "200 close", saw: plainGet},
	{name: "HTTP/1.0 without Host, allowed", at: "old", text: "GET / HTTP/1.0\r\n\r\n" + second, want: "200 close", saw: "GET / host=default"},
	{name: "HTTP/1.2", text: line("GET / HTTP/1.2") + second, want: "505 close", differs: "http-version"},
	{name: "HTTP/2.0", text: line("GET / HTTP/2.0") + second, want: "505 close", differs: "http-version"},
	{name: "HTTP/1.10", text: line("GET / HTTP/1.10") + second, want: bad},
	{name: "HTTP/1", text: line("GET / HTTP/1") + second, want: bad},
	{name: "http/1.1", text: line("GET / http/1.1") + second, want: bad},
	{name: "PRI and other text", text: "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + second, want: "505 close", differs: "http-version"},
	{name: "TLS", text: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 200) + "\r\n", want: bad},
	{name: "lower-case method", text: line("get / HTTP/1.1") + second, want: bad},
	{name: "M-SEARCH", text: line("M-SEARCH / HTTP/1.1") + second, want: bad},
	{name: "QUERY without a type", text: line("QUERY / HTTP/1.1"), want: bad},
	{name: "QUERY", text: "QUERY / HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\n\r\n", want: ok, saw: "QUERY / content-length=0 content-type=a/b host=h"},
	{name: "several blanks", text: line("GET   / HTTP/1.1") + second, want: bad, differs: "http1-strict"},
	{name: "tabs", text: line("GET\t/\tHTTP/1.1") + second, want: bad, differs: "http1-strict"},
	{name: "leading blank", text: line(" GET / HTTP/1.1") + second, want: bad},
	{name: "blank in the target", text: target("/a b") + second, want: bad},
	{name: "TAB in the target", text: target("/a\tb") + second, want: bad},
	{name: "0x80 in the target", text: target("/\x80") + second, want: bad},
	{name: "0x7f in the target", text: target("/\x7f") + second, want: bad},
	{name: "# in the target", text: target("/a#b") + second, want: bad},
	{name: "odd characters", text: target("/\"<>^`{|}"), want: ok, saw: "GET /\"<>^`{|} host=h"},
	{name: "no slash", text: target("foo") + second, want: bad},
	{name: "GET *", text: target("*") + second, want: bad},
	{name: "OPTIONS *", text: line("OPTIONS * HTTP/1.1"), want: "404 keep"},
}

// authorities are about whom a request is for.
var authorities = []input{
	{name: "absolute form, another Host", text: target("http://x/y"), want: ok, saw: "GET /y host=x"},
	{name: "absolute form with a user", text: target("http://u@x/y"), want: ok, saw: "GET /y host=x"},
	{name: "absolute form without a path", text: target("http://x"), want: ok, saw: "GET / host=x"},
	{name: "absolute form, a query alone", text: target("http://x?q"), want: "404 keep"},
	{name: "absolute form, https", text: target("https://x/"), want: ok, saw: "GET / host=x"},
	{name: "absolute form, ftp", text: target("ftp://x/") + second, want: bad},
	{name: "absolute form, a fragment alone", text: target("http://x#q") + second, want: bad},
	{name: "absolute form, an odd host", text: target("http://x,y/") + second, want: bad},
	{name: "absolute form, two ports", text: target("http://x:1:2/") + second, want: bad},
	{name: "absolute form, no port", text: target("http://x:/") + second, want: bad},
	{name: "absolute form, not quite IPv6", text: target("http://[::1/") + second, want: bad},
	{name: "absolute form, an underscore", text: target("http://x_y/"), want: ok, saw: "GET / host=x_y", differs: "url-underscore"},
	{name: "no Host", text: "GET / HTTP/1.1\r\n\r\n" + second, want: bad},
	{name: "empty Host", text: "GET / HTTP/1.1\r\nHost:\r\n\r\n", want: ok, saw: `GET / host=""`},
	{name: "two Hosts", text: get("Host: i\r\n") + second, want: bad, differs: "http1-two-hosts"},
	{name: "two equal Hosts", text: get("Host: h\r\n") + second, want: bad, differs: "http1-two-hosts"},
	{name: "blank in Host", text: "GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + second, want: bad},
	{name: "slash in Host", text: "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" + second, want: bad},
	{name: "user in Host", text: "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n" + second, want: bad, differs: "http1-host-user"},
}

// paths are about what is normalised, and where.
var paths = []input{
	{name: "/a/..;/admin", text: target("/a/..;/admin"), want: ok, saw: "GET /a/..;/admin host=h"},
	{name: "/a/%2e%2e/admin", text: target("/a/%2e%2e/admin"), want: ok, saw: "GET /a/%2e%2e/admin host=h"},
	{name: "/a%2Fb//c", text: target("/a%2Fb//c"), want: ok, saw: "GET /a%2Fb//c host=h"},
	{name: "/a/..;/admin at the edge", at: "edge", text: target("/a/..;/admin"), want: ok, saw: "GET /admin host=h"},
	{name: "/a/%2e%2e/admin at the edge", at: "edge", text: target("/a/%2e%2e/admin"), want: ok, saw: "GET /admin host=h"},
	{name: "/a%2Fb//c at the edge", at: "edge", text: target("/a%2Fb//c"), want: "307 keep"},
	{name: "/.;x/b at the edge", at: "edge", text: target("/.;x/b"), want: ok, saw: "GET /b host=h"},
	{name: "/a;../b at the edge", at: "edge", text: target("/a;../b"), want: ok, saw: "GET /a;../b host=h"},
	{name: "/%41%7e\\b at the edge", at: "edge", text: target("/%41%7e\\b"), want: ok, saw: "GET /A~/b host=h"},
	{name: "/../a at the edge", at: "edge", text: target("/../a"), want: ok, saw: "GET /a host=h"},
	{name: "/%00 at the edge", at: "edge", text: target("/%00"), want: bad},
	{name: "/a/%zz%20 at the edge", at: "edge", text: target("/a/%zz%20"), want: ok, saw: "GET /a/%zz%20 host=h"},
}

// upgrades are about bytes behind a head that are not a body.
var upgrades = []input{
	{name: "Upgrade and a second request", text: get("Connection: Upgrade\r\nUpgrade: websocket\r\n") + second, want: "403 close"},
	{name: "Upgrade, allowed, refused by the host", at: "upgrades", text: get("Connection: Upgrade\r\nUpgrade: websocket\r\n") + second,
		want: "200 close", saw: "GET / connection=upgrade host=h upgrade=websocket"},
	{name: "Upgrade: h2c and a second request", n: 2, text: get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n") + second,
		want: "200 200 keep", saw: plainGet + "\nGET /second host=h"},
	{name: "Upgrade with a length", at: "upgrades", text: post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n", "abc") + second, want: bad, differs: "http1-upgrade-body"},
	{name: "Upgrade with chunks", at: "upgrades", text: post("Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") + second, want: bad, differs: "http1-upgrade-body"},
	{name: "Upgrade twice", at: "upgrades", text: get("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: x\r\n") + second, want: bad, differs: "http1-upgrade-body"},
	{name: "CONNECT, not allowed", text: line("CONNECT h:1 HTTP/1.1") + second, want: "403 close"},
	{name: "CONNECT and more, refused by the host", at: "upgrades", text: line("CONNECT h:1 HTTP/1.1") + second, want: "405 close", saw: "CONNECT h:1 host=h:1"},
	{name: "CONNECT with a path", at: "upgrades", text: line("CONNECT /x HTTP/1.1") + second, want: bad},
	{name: "Expect: 100-continue", n: 2, text: post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"), want: "100 200 keep", saw: `POST / content-length=3 host=h "abc"`},
	{name: "Expect: other", text: get("Expect: other\r\n"), want: ok, saw: "GET / expect=other host=h"},
}
