package http1

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/ginnel/ginnel/httpmsg"
	"github.com/ginnel/ginnel/internal/httptext"
)

// A serialiser writes heads.
type serialiser struct {
	format KeyFormat
	head   sentHead
}

// sentHead is what was found out about a head while its headers were written.
type sentHead struct {
	lines     int
	hasLength bool
	length    int64
	close     bool   // connection: close was among them
	upgrade   string // the upgrade header
	wire      bool   // a name has the case that its peer wrote
}

// fields appends the headers of a message, but for those that speak of a connection: the
// codec writes these. length tells whether a content-length may be among them.
func (z *serialiser) fields(dst []byte, h httpmsg.Header, length bool) ([]byte, error) {
	z.head = sentHead{}
	for i := range h {
		f := &h[i]
		switch f.Name {
		case "connection":
			z.head.close = z.head.close || hasToken(f.Value, "close")
			continue
		case "upgrade":
			z.head.upgrade = f.Value
			continue
		case "keep-alive", "proxy-connection", "transfer-encoding", "host":
			continue
		case "content-length":
			if z.head.hasLength || !length {
				continue
			}
			n, ok := httptext.Length(f.Value)
			if !ok {
				return dst, errLength
			}
			z.head.hasLength, z.head.length = true, n
		}
		z.head.wire = z.head.wire || f.Wire != ""
		dst = z.field(dst, f)
		z.head.lines++
	}
	return dst, nil
}

func (z *serialiser) field(dst []byte, f *httpmsg.Field) []byte {
	if f.Wire != "" {
		dst = append(dst, f.Wire...)
	} else {
		dst = z.name(dst, f.Name)
	}
	dst = append(dst, ": "...)
	dst = append(dst, f.Value...)
	return append(dst, "\r\n"...)
}

// line appends a header of the codec's own.
func (z *serialiser) line(dst []byte, name, value string) []byte {
	dst = append(z.name(dst, name), ": "...)
	dst = append(dst, value...)
	z.head.lines++
	return append(dst, "\r\n"...)
}

// host appends the host. In a head whose names have the case of the client it has that
// which nearly all clients write.
func (z *serialiser) host(dst []byte, value string, wire bool) []byte {
	if wire {
		dst = append(dst, "Host: "...)
		dst = append(dst, value...)
		return append(dst, "\r\n"...)
	}
	dst = append(z.name(dst, "host"), ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// name appends a name as header_key_format wants it.
func (z *serialiser) name(dst []byte, name string) []byte {
	if !z.format.ProperCase {
		return append(dst, name...)
	}
	start := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := 'a' <= c && c <= 'z'
		if start && letter {
			c -= 'a' - 'A'
		}
		start = !letter && !isDigit(c) && !('A' <= c && c <= 'Z')
		dst = append(dst, c)
	}
	return dst
}

// intact reports whether b is as many lines as were meant: no value can have brought one
// of its own.
func intact(b []byte, lines int) bool {
	return bytes.Count(b, lf) == lines && bytes.Count(b, cr) == lines && bytes.IndexByte(b, 0) < 0
}

var lf, cr = []byte{'\n'}, []byte{'\r'}

func hasToken(v, token string) bool {
	if len(v) == len(token) {
		return equalFold(v, token)
	}
	var p hop
	_ = p.options(v, false)
	return token == "close" && p.close
}

// appendStatus appends a status line; phrase "" is that of the status.
func appendStatus(dst []byte, v httpmsg.Protocol, status int, phrase string) []byte {
	if v == httpmsg.HTTP11 && status == 200 && phrase == "" {
		return append(dst, "HTTP/1.1 200 OK\r\n"...)
	}
	if v == httpmsg.HTTP10 {
		dst = append(dst, "HTTP/1.0 "...)
	} else {
		dst = append(dst, "HTTP/1.1 "...)
	}
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	if phrase == "" {
		phrase = reason(status)
	}
	dst = append(dst, phrase...)
	return append(dst, "\r\n"...)
}

// reason is the reason phrase, in Envoy's words.
func reason(status int) string {
	switch status {
	case 413:
		return "Payload Too Large"
	case 416:
		return "Range Not Satisfiable"
	}
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "Unknown"
}
