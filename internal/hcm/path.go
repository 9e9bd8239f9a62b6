package hcm

import (
	"bytes"
	"strings"

	"github.com/ginnel/ginnel/filter"
	"github.com/ginnel/ginnel/httpmsg"
)

// normalize gives the request the one path and authority that everybody after it sees,
// or returns the answer to one that has none.
func (s *stream) normalize() *httpmsg.Response {
	sv, r := s.conn.service, s.handed.Request
	o := &sv.config.Request
	if r.Path != "" || !r.Connect() {
		if r.Path == "" || r.Path[0] != '/' {
			sv.stats.rqNonRelative.Add(1)
			return s.Reply(filter.LocalReply{Status: 404, Details: "absolute_path_rejected"})
		}
		path, verdict := o.path(r.Path)
		r.Path = path
		if verdict == redirectPath && isGRPC(r) {
			verdict = badPath // nobody follows it
		}
		switch verdict {
		case badPath:
			sv.stats.rqBadPath.Add(1)
			return s.Reply(filter.LocalReply{Status: 400, Details: "path_normalization_failed"})
		case redirectPath:
			sv.stats.rqRedirectedPath.Add(1)
			return s.redirect(path)
		}
	}
	if o.stripPort != keepPort || o.stripDot {
		name := o.host(r.Authority, s.conn.port())
		if r.Connect() { // the port is where the tunnel leads
			s.routed = name
		} else {
			r.Authority = name
		}
	}
	return nil
}

// redirect asks the client to come again with the path that was made of its own.
func (s *stream) redirect(path string) *httpmsg.Response {
	return s.Reply(filter.LocalReply{
		Status: 307, Details: "path_normalization_failed",
		Header: httpmsg.Header{{Name: "location", Value: path}},
	})
}

// A verdict is what becomes of a request for its path.
type verdict uint8

const (
	goodPath verdict = iota
	badPath
	redirectPath
)

// path returns a target, which begins with a slash, with its path normalised as
// configured; the query stays as it is.
func (o *requestOptions) path(target string) (string, verdict) {
	end := strings.IndexAny(target, "?#")
	if end < 0 {
		end = len(target)
	} else if strings.IndexByte(target[end:], '#') >= 0 {
		return target, badPath
	}
	path, out := target[:end], goodPath
	if o.escapedSlashes != keepSlashes {
		if p, found := unescapeSlash(path); found {
			switch o.escapedSlashes {
			case rejectSlashes:
				return p + target[end:], badPath // logged like this (Envoy)
			case redirectSlashes:
				out = redirectPath
			}
			path = p
		}
	}
	if o.normalizePath {
		p, ok := canonical(path)
		if !ok {
			return target, badPath
		}
		path = p
	}
	if o.mergeSlashes {
		path = mergeSlash(path)
	}
	if len(path) == end && path == target[:end] {
		return target, out
	}
	return path + target[end:], out
}

// unescapeSlash decodes %2F and %5C, and reports whether there were any.
func unescapeSlash(path string) (string, bool) {
	i := nextSlash(path, 0)
	if i < 0 {
		return path, false
	}
	out, from := make([]byte, 0, len(path)), 0
	for ; i >= 0; i = nextSlash(path, from) {
		out = append(out, path[from:i]...)
		if path[i+1] == '2' {
			out = append(out, '/')
		} else {
			out = append(out, '\\')
		}
		from = i + 3
	}
	return string(append(out, path[from:]...)), true
}

// nextSlash returns the place of the next escaped slash; -1: none.
func nextSlash(path string, from int) int {
	for i := from; i+2 < len(path); i++ {
		if path[i] == '%' && (path[i+1] == '2' && path[i+2]|0x20 == 'f' || path[i+1] == '5' && path[i+2]|0x20 == 'c') {
			return i
		}
	}
	return -1
}

// mergeSlash makes one slash of several.
func mergeSlash(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	out := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			out = append(out, path[i])
		}
	}
	return string(out)
}

// unnested escapes the per cent sign that the last byte of out, just decoded, would make an
// escape of (Envoy): "%2%65" must not pass for "%2e" with who decodes again. rest is what
// follows.
func unnested(out []byte, rest string) []byte {
	n := len(out)
	if !isHex(out[n-1]) {
		return out
	}
	switch {
	case n > 2 && out[n-3] == '%' && isHex(out[n-2]):
		return append(out[:n-2], '2', '5', out[n-2], out[n-1])
	case n > 1 && out[n-2] == '%' && rest != "" && isHex(rest[0]):
		return append(out[:n-1], '2', '5', out[n-1])
	}
	return out
}

// canonical normalises a path as Envoy's URL library does: unreserved characters that
// were escaped are written as they are and those that must be escaped are, backslashes
// are slashes, and the segments . and .. are resolved, also escaped ones. It reports false where
// the path holds an escaped NUL.
func canonical(path string) (string, bool) {
	if isCanonical(path) {
		return path, true
	}
	out := make([]byte, 0, len(path)+8)
	for i := 0; i < len(path); {
		// Here i is at the slash that begins a segment.
		start := len(out)
		out = append(out, '/')
		for i++; i < len(path) && path[i] != '/' && path[i] != '\\'; i++ {
			c := path[i]
			if c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]) {
				d := unhex(path[i+1])<<4 | unhex(path[i+2])
				switch {
				case d == 0:
					return "", false
				case isUnreserved(d):
					out = unnested(append(out, d), path[i+3:])
				default:
					out = append(out, path[i:i+3]...)
				}
				i += 2
				continue
			}
			if mustEscape(c) {
				const hex = "0123456789ABCDEF"
				out = append(out, '%', hex[c>>4], hex[c&15])
				continue
			}
			out = append(out, c)
		}
		out = resolve(out, start, i >= len(path))
	}
	return string(out), true
}

// resolve takes the segment that begins at start, with its slash, from the end of a path if
// it is . or .., which takes the one before, too. The last one leaves its slash.
func resolve(out []byte, start int, last bool) []byte {
	switch segment(out[start+1:]) {
	case "":
		return out
	case ".":
		out = out[:start]
	case "..":
		out = out[:max(bytes.LastIndexByte(out[:start], '/'), 0)]
	}
	if last {
		out = append(out, '/')
	}
	return out
}

// segment returns the dots that a segment is; "": it is something else. Parameters do
// not count: to some servers "..;x" goes up, too.
func segment(b []byte) string {
	switch {
	case len(b) == 0 || b[0] != '.':
	case len(b) == 1 || b[1] == ';':
		return "."
	case b[1] == '.' && (len(b) == 2 || b[2] == ';'):
		return ".."
	}
	return ""
}

// isCanonical reports whether canonical would change nothing.
func isCanonical(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case c == '%' || c == '\\' || mustEscape(c):
			return false
		case c == '.' && path[i-1] == '/': // the first byte is a slash
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// mustEscape reports whether a byte may not stand in a path as it is.
func mustEscape(c byte) bool {
	switch c {
	case '"', '<', '>', '^', '`', '{', '|', '}':
		return true
	}
	return c <= ' ' || c >= 0x7f
}
