package http1

import (
	"bytes"
	"strings"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// knownMethod returns the method as a constant; "" of one that Envoy does not know.
func knownMethod(s string) string {
	switch s {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "HEAD":
		return "HEAD"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	case "CONNECT":
		return "CONNECT"
	case "PATCH":
		return "PATCH"
	case "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR",
		"MKCOL", "MOVE", "MSEARCH", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "QUERY", "REBIND",
		"REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE":
		return s
	}
	return ""
}

// A framed is how the body behind a head is delimited.
type framed struct {
	kind   framing
	length int64 // of byLength: not 0
}

type framing uint8

const (
	noBody framing = iota
	byLength
	byChunks
	byClose // whatever comes until the end of the connection
	raw     // a tunnel
)

// requestHead parses heads of requests into a Request that is reused.
type requestHead struct {
	block
	rules
	o   *ServerOptions
	hop hop

	req    httpmsg.Request
	body   framed
	keep   bool // the connection may be used for more requests
	hadCL  bool
	fields httpmsg.Header // the storage of req.Header
}

// line is the places of the parts of a request line.
type line struct {
	method, targetEnd int // where they end
	version           httpmsg.Protocol
	end               int // behind the line
}

// target is where it begins. It is no field: four of them go in registers.
func (l line) target() int { return l.method + 1 }

// startLine cuts the request line at the start of b, which holds all of it. The version
// is 0 where HTTP is not what is spoken.
func startLine(b []byte) (l line, err *refusal) {
	n := bytes.IndexByte(b, '\n')
	if n < 1 || b[n-1] != '\r' {
		return l, errBareLF
	}
	l.end = n + 1
	b = b[:n-1]
	l.method = bytes.IndexByte(b, ' ')
	if l.method <= 0 {
		return l, errLine
	}
	last := bytes.LastIndexByte(b, ' ')
	if last == l.method {
		// HTTP/0.9 has no version.
		l.targetEnd, l.version = len(b), httpmsg.HTTP10
		if l.target() == l.targetEnd {
			return l, errLine
		}
		return l, errLowVersion
	}
	l.targetEnd = last
	l.version, err = version(b[last+1:])
	return l, err
}

// version reads HTTP/d.d. The version of an unknown one is 0, beside errVersion.
func version(b []byte) (httpmsg.Protocol, *refusal) {
	switch string(b) {
	case "HTTP/1.1":
		return httpmsg.HTTP11, nil
	case "HTTP/1.0", "HTTP/0.9":
		return httpmsg.HTTP10, nil
	}
	if len(b) == len("HTTP/1.1") && string(b[:5]) == "HTTP/" && isDigit(b[5]) && b[6] == '.' && isDigit(b[7]) {
		return 0, errVersion
	}
	return 0, errLine
}

// parse reads the head b, which endOfBlock has found to be one. What was understood
// stands in req even beside an error.
func (p *requestHead) parse(b []byte) *refusal {
	p.clear()
	l, err := startLine(b)
	old := err == errLowVersion
	if err != nil && !old {
		p.understood(b, l)
		return err
	}
	p.spans = p.spans[:0]
	if !old {
		if err := p.scan(b, l.end, &p.rules); err != nil {
			p.understood(b, l)
			return err
		}
	}
	s, wire := p.text(b, &p.rules)
	if err := p.setStart(s, l); err != nil {
		return err
	}
	p.fields = p.block.fields(p.fields, s, wire)
	return p.meaning(l.version)
}

func (p *requestHead) clear() {
	clear(p.fields)
	p.req = httpmsg.Request{}
	p.body, p.keep, p.hadCL = framed{}, false, false
	p.fields = p.fields[:0]
}

// understood fills in for the log what there is of a request line.
func (p *requestHead) understood(b []byte, l line) {
	p.req.Protocol = httpmsg.HTTP11
	if l.version != 0 {
		p.req.Protocol = l.version
	}
	if l.method > 0 && httptext.Token(string(b[:l.method])) {
		p.req.Method = string(b[:l.method])
	}
	if l.targetEnd > l.target() && isTarget(string(b[l.target():l.targetEnd])) {
		p.req.Path = string(b[l.target():l.targetEnd])
	}
}

// setStart takes the request line into the request.
func (p *requestHead) setStart(s string, l line) *refusal {
	p.req.Protocol = l.version
	method := s[:l.method]
	p.req.Method = knownMethod(method)
	if p.req.Method == "" {
		p.req.Method = method
		if !httptext.Token(method) {
			p.req.Method = ""
			return errMethod
		}
		if !p.o.AllowCustomMethods {
			return errMethod
		}
	}
	return p.setTarget(s[l.target():l.targetEnd])
}

// setTarget takes the target apart, in one of its four forms.
func (p *requestHead) setTarget(t string) *refusal {
	if !isTarget(t) {
		if strings.IndexByte(t, 0x7f) >= 0 {
			return errTargetDel
		}
		return errTarget
	}
	switch {
	case p.req.Method == "CONNECT":
		p.req.Authority = t
		if !httptext.HostPort(t) {
			return errURL
		}
	case t[0] == '/':
		p.req.Path = t
	case t == "*":
		p.req.Path = t
		if p.req.Method != "OPTIONS" {
			return errURL
		}
	default:
		return p.setURL(t)
	}
	return nil
}

// setURL takes a target in absolute form.
func (p *requestHead) setURL(t string) *refusal {
	p.req.Path = t
	scheme, rest, ok := strings.Cut(t, "://")
	if !ok || !isScheme(scheme) {
		return errTarget
	}
	if !p.o.AllowAbsoluteURL {
		return nil // as a path that is none, as in Envoy
	}
	switch {
	case equalFold(scheme, "http"):
		p.req.Scheme = "http"
	case equalFold(scheme, "https"):
		p.req.Scheme = "https"
	default:
		return errScheme
	}
	host, path := rest, "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	host, ok = httptext.URLHost(host)
	if !ok || path[0] == '#' {
		return errURL
	}
	p.req.Authority, p.req.Path = host, path
	return nil
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := httptext.Lower[s[i]]
		if !('a' <= c && c <= 'z') && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// meaning is what the lines of the head say together.
func (p *requestHead) meaning(v httpmsg.Protocol) (err *refusal) {
	h := p.fields
	p.req.Header = h
	if p.underscores != Allow {
		if h, err = dropUnderscored(h, &p.rules); err != nil {
			return err
		}
	}
	h, err = p.hop.split(h, true)
	p.req.Header = h
	if err != nil {
		return err
	}
	if err := p.framing(v == httpmsg.HTTP10); err != nil {
		return err
	}
	if v == httpmsg.HTTP10 && !p.o.AcceptHTTP10 {
		return errLowVersion
	}
	p.keep = !p.hop.close && (v == httpmsg.HTTP11 || p.hop.keepAlive)
	if v == httpmsg.HTTP11 {
		if err := p.upgrade(); err != nil {
			return err
		}
	}
	return p.authority(v)
}

// framing finds out how long the body is.
func (p *requestHead) framing(http10 bool) *refusal {
	if p.req.Method == "CONNECT" {
		return p.connectFraming()
	}
	chunked, err := p.hop.encoding(http10, &p.rules)
	switch {
	case err != nil:
		return err
	case chunked:
		p.body.kind = byChunks
		if p.hop.lengths > 0 {
			p.req.Header.Del("content-length")
		}
	case p.hop.length > 0:
		p.body = framed{byLength, p.hop.length}
	}
	return nil
}

func (p *requestHead) connectFraming() *refusal {
	switch {
	case p.hop.codings > 0:
		return errCoding
	case p.hop.length > 0:
		return errConnectBody
	case p.hop.lengths > 0:
		p.req.Header.Del("content-length")
	}
	p.body.kind = raw
	return nil
}

// upgrade takes an upgrade that the client may ask for. What follows the head is then
// neither a body nor another request until somebody has answered.
func (p *requestHead) upgrade() *refusal {
	to := p.hop.upgrade
	if p.hop.upgrades != 1 || to == "" || !p.hop.upgradeToken || p.req.Method == "CONNECT" {
		if p.hop.upgrades > 1 && p.hop.upgradeToken {
			return errConnection
		}
		return nil
	}
	if equalFold(to, "h2c") {
		p.req.Header.Del("http2-settings")
		return nil
	}
	if p.o.IgnoreUpgrade != nil && p.o.IgnoreUpgrade(to) {
		return nil
	}
	switch p.body.kind {
	case byChunks:
		return errCodingHere
	case byLength:
		return errLengthHere // the host would wait for what waits for the host
	}
	p.req.Upgrade = to
	p.body = framed{kind: raw}
	return nil
}

// authority finds out whom the request is for.
func (p *requestHead) authority(v httpmsg.Protocol) *refusal {
	switch {
	case p.hop.hosts > 1:
		return errTwoHosts
	case !httptext.Authority(p.hop.host):
		return errHost
	case p.req.Authority != "":
		return nil // that of the target
	case p.hop.hosts == 1:
		p.req.Authority = p.hop.host
		return nil
	case v == httpmsg.HTTP10 && p.o.DefaultHostForHTTP10 != "":
		p.req.Authority = p.o.DefaultHostForHTTP10
		return nil
	}
	return errNoHost
}
