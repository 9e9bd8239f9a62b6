package http2

import "github.com/ginnel/ginnel/internal/httptext"

// A class is what a field is to a connection: which name, and whether it is well-formed.
// Entries of a table keep it, so that a field that comes again is not looked at again.
type class uint16

// The names that mean something here. plain ones mean nothing.
const (
	plain class = iota + 1
	pseudoMethod
	pseudoScheme
	pseudoAuthority
	pseudoPath
	pseudoProtocol
	pseudoStatus
	pseudoUnknown
	host
	cookie
	contentLength
	te
	hopByHop // names that belong to HTTP/1's connections

	kindMask class = 0xff
	// What may be added to a name.
	badName    class = 1 << 8 // not a token in lower case
	badValue   class = 1 << 9
	underscore class = 1 << 10 // in the name
	obsText    class = 1 << 11 // bytes from 0x80 in the value
)

func (c class) kind() class  { return c & kindMask }
func (c class) pseudo() bool { k := c.kind(); return k >= pseudoMethod && k <= pseudoUnknown }

// classify looks at a field.
func classify(name, value string) class {
	return kindOf(name) | flagsOfName(name) | flagsOfValue(value)
}

func kindOf(name string) class {
	if name != "" && name[0] == ':' {
		return pseudoKind(name)
	}
	switch name {
	case "host":
		return host
	case "cookie":
		return cookie
	case "content-length":
		return contentLength
	case "te":
		return te
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return hopByHop
	}
	return plain
}

func pseudoKind(name string) class {
	switch name {
	case ":method":
		return pseudoMethod
	case ":scheme":
		return pseudoScheme
	case ":authority":
		return pseudoAuthority
	case ":path":
		return pseudoPath
	case ":protocol":
		return pseudoProtocol
	case ":status":
		return pseudoStatus
	}
	return pseudoUnknown
}

func flagsOfName(name string) (c class) {
	if name == "" {
		return badName
	}
	if name[0] == ':' {
		return 0 // it is known as a whole, or refused
	}
	for i := range len(name) {
		switch b := name[i]; {
		case b == '_':
			c |= underscore
		case httptext.Lower[b] != b, b == 0:
			c |= badName
		}
	}
	return c
}

func flagsOfValue(value string) (c class) {
	for i := range len(value) {
		switch b := value[i]; {
		case b >= 0x80:
			c |= obsText
		case b < ' ' && b != '\t', b == 0x7f:
			c |= badValue
		}
	}
	if value != "" && (blank(value[0]) || blank(value[len(value)-1])) {
		c |= badValue // RFC 9113 section 8.2.1
	}
	return c
}

func blank(b byte) bool { return b == ' ' || b == '\t' }
