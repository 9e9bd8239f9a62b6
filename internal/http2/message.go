package http2

import (
	"slices"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

func (b *block) has(kind class) bool { return b.seen&(1<<kind) != 0 }

// checkRequest checks the head of a request: RFC 9113 section 8.3.1, RFC 8441.
func (b *block) checkRequest() {
	switch {
	case !b.has(pseudoMethod):
		b.bad(detailRule, "no :method")
	case !httptext.Token(b.method):
		b.bad(detailField, "bad :method")
	case b.has(pseudoProtocol):
		b.checkExtendedConnect()
	case b.method == "CONNECT":
		b.checkConnect()
	default:
		b.checkPlain()
	}
	if b.end && b.content > 0 && b.method != "CONNECT" {
		b.bad(detailRule, "content-length without content")
	}
}

func (b *block) checkPlain() {
	if !b.has(pseudoScheme) || !b.has(pseudoPath) {
		b.bad(detailRule, "no :scheme or :path")
	}
	b.checkTarget()
}

func (b *block) checkTarget() {
	if !validScheme(b.scheme) {
		b.bad(detailField, "bad :scheme")
	}
	asterisk := b.path == "*" && b.method == "OPTIONS"
	if !asterisk && (b.path == "" || b.path[0] != '/') || !visible(b.path) {
		b.bad(detailField, "bad :path")
	}
	if !httptext.Authority(b.authority) || !httptext.Authority(b.host) {
		b.bad(detailField, "bad authority")
	}
}

func (b *block) checkConnect() {
	switch {
	case b.has(pseudoScheme), b.has(pseudoPath):
		b.bad(detailRule, "CONNECT with :scheme or :path")
	case b.authority == "", !httptext.Authority(b.authority):
		b.bad(detailRule, "CONNECT without :authority")
	}
}

func (b *block) checkExtendedConnect() {
	switch {
	case !b.c.o.AllowConnect:
		b.bad(detailRule, ":protocol is not allowed")
	case b.method != "CONNECT", !httptext.Token(b.protocol):
		b.bad(detailRule, "bad :protocol")
	case !b.has(pseudoScheme), !b.has(pseudoPath), b.authority == "":
		b.bad(detailRule, "extended CONNECT without target")
	}
	b.checkTarget()
}

// visible reports whether s has no blanks; control characters were looked for before.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' {
			return false
		}
	}
	return true
}

// validScheme is RFC 3986 section 3.1.
func validScheme(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case b|0x20 >= 'a' && b|0x20 <= 'z':
		case i > 0 && (b >= '0' && b <= '9' || b == '+' || b == '-' || b == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// bytestream is the protocol of an extended CONNECT that is a tunnel like a plain one's.
const bytestream = "bytestream"

// request fills in what the block says. An extended CONNECT becomes what HTTP/1 has in
// its place.
func (b *block) request(r *httpmsg.Request) {
	b.joinCookies()
	*b.lines = slices.Grow(*b.lines, spareFields)
	*r = httpmsg.Request{
		Method: b.method, Scheme: b.scheme, Authority: b.authority, Path: b.path,
		Protocol: httpmsg.HTTP2, Header: *b.lines,
	}
	if r.Authority == "" && b.method != "CONNECT" {
		r.Authority = b.host
	}
	if b.protocol != "" && b.protocol != bytestream {
		r.Method, r.Upgrade = "GET", b.protocol
	}
}

// checkResponse checks the head of a response and returns its status.
func (b *block) checkResponse() (status int) {
	for i := range len(b.status) {
		if b.status[i] < '0' || b.status[i] > '9' {
			b.bad(detailField, "bad :status")
			return 0
		}
		status = status*10 + int(b.status[i]-'0')
	}
	switch {
	case len(b.status) != 3, status < 100, status == 101:
		b.bad(detailField, "bad :status")
	case status < 200 && b.end:
		b.bad(detailRule, "informational response that ends the stream")
	}
	return status
}

// encodeRequest writes the head of a request. What is an upgrade in HTTP/1 is an extended
// CONNECT here. It holds mu.
func (c *conn) encodeRequest(r *httpmsg.Request) {
	method, protocol := r.Method, r.Upgrade
	if protocol != "" {
		method = "CONNECT"
	} else if r.Connect() && r.Path != "" {
		protocol = bytestream
	}
	c.out = c.enc.field(c.out, ":method", method)
	if method != "CONNECT" || protocol != "" {
		scheme := r.Scheme
		if scheme == "" {
			scheme = "http"
		}
		c.out = c.enc.field(c.out, ":scheme", scheme)
		c.out = c.enc.field(c.out, ":path", r.Path)
	}
	if r.Authority != "" {
		c.out = c.enc.field(c.out, ":authority", r.Authority)
	}
	if protocol != "" {
		c.out = c.enc.field(c.out, ":protocol", protocol)
	}
	c.encodeLines(r.Header)
}

// encodeResponse writes the head of a response. It holds mu.
func (c *conn) encodeResponse(status int, h httpmsg.Header) {
	c.out = c.enc.field(c.out, ":status", statusText(status))
	c.encodeLines(h)
}

func (c *conn) encodeLines(h httpmsg.Header) {
	for i := range h {
		c.encode(h[i].Name, h[i].Value)
	}
}
