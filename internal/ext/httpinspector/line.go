package httpinspector

import (
	"bytes"
	"strings"
)

// preface begins every connection of HTTP/2.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// A protocol is what the first bytes are of.
type protocol uint8

const (
	unknown protocol = iota // until there are more
	none                    // not HTTP
	http10                  // and every version of HTTP/1 but 1.1
	http11
	http2
)

// A sniffer looks at the first bytes, as often as there are more of them, and at each once.
type sniffer struct {
	at     int // bytes looked at
	method bool
}

// sniff goes on with p, which begins with what it was given before. The grammar of a
// request line is that of Envoy's parser: lax, for the codec will be strict.
func (s *sniffer) sniff(p []byte) protocol {
	if n := min(len(p), len(preface)); string(p[:n]) == preface[:n] {
		if n == len(preface) {
			return http2
		}
		return unknown
	}
	for ; !s.method && s.at < len(p); s.at++ {
		c := p[s.at]
		if s.method = s.at > 0 && endsMethod(c); !s.method && !isToken(c) {
			return none
		}
	}
	end := bytes.IndexByte(p[s.at:], '\n')
	if s.method && s.at > 0 && p[s.at-1] == '\n' {
		return none
	}
	if end < 0 {
		s.at = len(p)
		return unknown
	}
	return requestLine(string(p[:s.at+end]))
}

// endsMethod is more than the blank that the standard asks for.
func endsMethod(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isToken(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isAlphanumeric(c byte) bool { return isAlpha(c) || '0' <= c && c <= '9' }

// isBlank is what parts the words of a line.
func isBlank(r rune) bool { return r <= ' ' }

// isControl is what parts words only where there is a version.
func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\r' }

// requestLine judges a line whose method is a token.
func requestLine(line string) protocol {
	n := strings.IndexFunc(line, isBlank)
	if n < 0 {
		return none
	}
	method, rest := line[:n], strings.TrimLeftFunc(line[n:], isBlank)
	target, version := rest, ""
	if n := strings.IndexFunc(rest, isBlank); n >= 0 {
		target, version = rest[:n], strings.TrimFunc(rest[n:], isBlank)
	}
	if !isTarget(target, method == "CONNECT") || version == "" && strings.ContainsFunc(line, isControl) {
		return none
	}
	switch {
	case version == "HTTP/1.1", len(target) == len(strings.TrimRight(rest, "\r")) && strings.HasSuffix(target, "HTTP/1.1"):
		return http11 // Envoy looks at how the line ends, be it in a target
	case version == "" || isVersion(version):
		return http10
	}
	return none
}

func isVersion(s string) bool {
	v, ok := strings.CutPrefix(s, "HTTP/")
	isDigit := func(c byte) bool { return '0' <= c && c <= '9' }
	return ok && len(v) == 3 && isDigit(v[0]) && v[1] == '.' && isDigit(v[2])
}

// isTarget takes paths, *, and absolute URIs; of CONNECT an authority in place of them.
func isTarget(s string, connect bool) bool {
	switch {
	case s == "":
		return false
	case s[0] == '/' || s[0] == '*':
		return isPath(s)
	}
	if !connect {
		scheme, rest, ok := strings.Cut(s, "://")
		if !ok || !isScheme(scheme) {
			return false
		}
		s = rest
	}
	host, path := s, ""
	if n := strings.IndexAny(s, "/?"); n >= 0 {
		host, path = s[:n], s[n:]
	}
	return isHost(host) && isPath(path)
}

func isScheme(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlpha(c) && (i == 0 || !isAlphanumeric(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

func isHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("!$%&'()*+,-.:;=@[]_~", c) < 0 {
			return false
		}
	}
	return !strings.Contains(s, "@@")
}

func isPath(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
