package http1

import (
	"bytes"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// responseHead parses heads of responses into a Response that is reused.
type responseHead struct {
	block
	rules
	hop hop

	resp     httpmsg.Response
	body     framed
	keep     bool // the connection may be used for more exchanges
	last     bool // the server says that it may not
	upgraded bool // the bytes that follow are a tunnel's
	fields   httpmsg.Header
}

// asked is what a response depends on of its request.
type asked struct {
	head, connect, upgrade bool
}

// tunnel reports whether the request asked for one: then it may have sent bytes that are
// not of a message, whatever the answer was.
func (a asked) tunnel() bool { return a.connect || a.upgrade }

func askedBy(r *httpmsg.Request) asked {
	return asked{head: r.Method == "HEAD", connect: r.Connect(), upgrade: r.Upgrade != ""}
}

func (p *responseHead) clear() {
	clear(p.fields)
	p.resp = httpmsg.Response{}
	p.body, p.keep, p.last, p.upgraded = framed{}, false, false, false
	p.fields = p.fields[:0]
}

// statusLine reads the line at the start of b.
func statusLine(b []byte) (v httpmsg.Protocol, status, end int, err *refusal) {
	n := bytes.IndexByte(b, '\n')
	if n < len("HTTP/1.1 200\r") || b[n-1] != '\r' {
		return 0, 0, 0, errStatus
	}
	switch string(b[:9]) {
	case "HTTP/1.1 ":
		v = httpmsg.HTTP11
	case "HTTP/1.0 ":
		v = httpmsg.HTTP10
	default:
		return 0, 0, 0, errStatus
	}
	for _, c := range b[9:12] {
		if !isDigit(c) {
			return 0, 0, 0, errStatus
		}
		status = status*10 + int(c-'0')
	}
	reason := b[12 : n-1]
	if status < 100 || len(reason) > 0 && reason[0] != ' ' || !httptext.Value(reason) {
		return 0, 0, 0, errStatus
	}
	return v, status, n + 1, nil
}

// parse reads the head b, which endOfBlock has found to be one, as the answer to what
// was asked.
func (p *responseHead) parse(b []byte, a asked) *refusal {
	p.clear()
	v, status, end, err := statusLine(b)
	if err != nil {
		return err
	}
	if err := p.scan(b, end, &p.rules); err != nil {
		return err
	}
	s, wire := p.text(b, &p.rules)
	p.fields = p.block.fields(p.fields, s, wire)
	p.resp.Status = status
	if p.phrases {
		p.resp.Phrase = trim(s[len("HTTP/1.1 200") : end-len("\r\n")])
	}
	if p.resp.Header, err = p.hop.split(p.fields, false); err != nil {
		return err
	}
	p.keep = !p.hop.close && (v == httpmsg.HTTP11 || p.hop.keepAlive)
	p.last = !p.keep
	return p.framing(v == httpmsg.HTTP10, a)
}

// framing finds out what follows: RFC 9112, section 6.3.
func (p *responseHead) framing(http10 bool, a asked) *refusal {
	status := p.resp.Status
	if status == 101 && !a.upgrade {
		return errUpgraded
	}
	if status == 101 || a.connect && status/100 == 2 {
		return p.tunnel()
	}
	chunked, err := p.hop.encoding(http10, &p.rules)
	if err != nil {
		return err
	}
	if chunked && p.hop.lengths > 0 {
		p.resp.Header.Del("content-length")
	}
	switch {
	case status < 200 || status == 204:
		return p.bare()
	case a.head || status == 304:
	case chunked:
		p.body.kind = byChunks
	case p.hop.lengths == 0:
		p.body.kind, p.keep = byClose, false
	case p.hop.length > 0:
		p.body = framed{byLength, p.hop.length}
	}
	return nil
}

// tunnel is the response that accepts one: no header of it says what follows.
func (p *responseHead) tunnel() *refusal {
	p.body.kind, p.keep, p.upgraded = raw, false, true
	p.resp.Header.Del("content-length")
	if p.hop.upgrade != "" {
		p.resp.Header.Add("upgrade", p.hop.upgrade)
	}
	return nil
}

// bare is a response that must not speak of a body.
func (p *responseHead) bare() *refusal {
	switch {
	case p.hop.codings > 0:
		return errCodingHere
	case p.hop.length > 0:
		return errLengthHere
	}
	p.resp.Header.Del("content-length")
	return nil
}
